"""What several GPUs at one evaluation gain, for benchmarks/render.py: times alone and shared, and how near they are."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rig import wait
from torch import Tensor

from engine.condition import condition
from engine.denoise import shared
from engine.dit import DiT, DiTConfig, TextContext
from engine.memory import Tier
from engine.models import Models
from engine.settings import EngineSettings
from engine.team.follow import Loads
from engine.team.lead import Lead
from engine.team.orders import Join
from engine.velocity import Networks, Scene, WindowVelocity
from storage.schema import Expert, Phase, Plan, Sampling, Size, Solver

EXCHANGES = "exchanges"  # a model that does nothing else


class Exchanges(DiT):
    """Sends what a shared forward sends, and computes nothing."""

    def encode_text(self, _: Tensor) -> TextContext:
        return TextContext((), ())

    def forward(self, inputs: Tensor, *_: object) -> Tensor:
        """-> zeros of a velocity's form"""
        batch, _, frames, height, width = inputs.shape
        team, sizes = self.team, self.config
        if team is not None:
            tokens = frames * height * width // 4 // team.size
            x = inputs.new_zeros(batch, tokens, sizes.heads, sizes.head_dim, dtype=torch.bfloat16)
            for _ in range(sizes.layers):
                values, keys, queries = (team.sent_to_heads(x) for _ in range(3))
                team.to_tokens(queries())
                keys(), values()
            team.whole(inputs.new_zeros(batch, tokens, 4 * sizes.out_dim))
        return inputs.new_zeros(batch, sizes.out_dim, frames, height, width)


def networks_of(build: Callable[[torch.device], Networks], sizes: DiTConfig) -> Callable[[Join], Loads]:
    """What a follower loads: random networks, once, or none that compute."""

    def loader(join: Join) -> Loads:
        device, built = torch.device(join.device), []

        def load(plan: Plan, _: Tier) -> Networks:
            if plan.model == EXCHANGES:
                return exchanges(sizes, device)
            if not built:
                built.append(build(device))
            return built[0]

        return load

    return loader


def exchanges(sizes: DiTConfig, device: torch.device) -> Networks:
    with torch.device("meta"):
        network = Exchanges(sizes)
    return Networks(experts=dict.fromkeys(Expert, network), device=device)


def lead_of(device: torch.device, gpus: int, script: Path, options: list[str]) -> Lead:
    """A leader on `device` whose followers, on the devices behind it, run `script` with these options."""
    cuda = device.type == "cuda"
    others = [torch.device("cuda", number) if cuda else device for number in range(1, gpus)]
    return Lead(EngineSettings(device=device.type), device, others, (sys.executable, str(script), *options))


@torch.inference_mode()
def compare(models: Models, plan: Plan, size: Size, repeats: int) -> dict[str, float]:
    """Seconds of one evaluation with and without guidance, alone and shared; what was exchanged, alone as well."""
    h, w = size.height // 8, size.width // 8
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, 21, h, w, generator=generator).to(models.device)
    words = (models.text(text).to(models.device) for text in (plan.windows[0].prompt, plan.windows[0].negative))
    scene = Scene(condition(latents[:, :, :1], latents[:, :, 1:2]), *words)
    found = {}
    for name, guidance in (("forward", 1.0), ("two forwards", 3.5)):
        sampling = Sampling(
            solver=Solver.EULER, sigmas=(1.0, 0.0), phases=(Phase(expert=Expert.LOW_NOISE, above=0, guidance=guidance),)
        )
        alone, seconds = timed(scene, sampling, replace(models, lead=None), latents, repeats)
        together, shared_seconds = timed(scene, sampling, models, latents, repeats)
        cosine = torch.cosine_similarity(alone.flatten().double(), together.flatten().double(), dim=0)
        found |= {f"{name} alone_s": seconds, f"{name} shared_s": shared_seconds, f"{name} cosine": float(cosine)}
        print(f"{name:16} {seconds:.3f} s alone, {shared_seconds:.3f} s shared, cosine {float(cosine):.8f}", flush=True)
    assert models.lead is not None
    with models.lead.loading(plan.model_copy(update={"model": EXCHANGES}), Tier.RESIDENT):
        sizes = models.experts[Expert.LOW_NOISE].config
        sending = replace(models, experts=exchanges(sizes, models.device).experts)
    sampling = Sampling(solver=Solver.EULER, sigmas=(1.0, 0.0), phases=(Phase(expert=Expert.LOW_NOISE, above=0),))
    _, found["exchanges alone_s"] = timed(scene, sampling, sending, latents, repeats)
    print(f"exchanges        {found['exchanges alone_s']:.3f} s of a shared forward", flush=True)
    with models.lead.loading(plan, Tier.RESIDENT):
        pass
    return {name: round(value, 8 if "cosine" in name else 4) for name, value in found.items()}


def timed(scene: Scene, sampling: Sampling, models: Models, latents: Tensor, repeats: int) -> tuple[Tensor, float]:
    """A velocity, and the median of its seconds; once to warm up."""
    sigma = torch.tensor([0.7], dtype=torch.float64, device=latents.device)
    predicted, seconds = WindowVelocity(scene, sampling, models), []
    with shared(predicted, models) as velocity:
        out = velocity(latents, sigma)
        for _ in range(repeats):
            wait()
            began = time.perf_counter()
            out = velocity(latents, sigma)
            wait()
            seconds.append(time.perf_counter() - began)
    return out, statistics.median(seconds)
