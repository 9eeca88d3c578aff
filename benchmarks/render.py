"""Times windows of the 14 B model with random weights, stage by stage and through the engine's own main path.

How its forward and its decoder compare with their plain twins and with diffusers says benchmarks/compare.py.

    python benchmarks/render.py                 on a GPU with 80 GB or more
    python benchmarks/render.py --windows 5 --precision fp8-attention   and what a window of many costs
    python benchmarks/render.py --gpus 2        and what a second GPU gains, in place of the stages
    python benchmarks/render.py --toy           the same code at toy size, on any machine

The last line is one JSON object. Weights are random and never zero, so that nothing is skipped or compressed. Such a
VAE shows noise, which takes an encoder ten times as long as a film does: its noise is faint, before a photo that moves.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from random_models import TOY_TEXT, UMT5_XXL, panning_vae, random_experts, random_text_encoder
from rig import commit, device_name, wait
from shared import compare, lead_of, networks_of

from engine import pipeline
from engine.condition import condition, network_input
from engine.demo import untrained
from engine.dit import DiTConfig
from engine.memory import Tier
from engine.models import Models
from engine.pixels import to_uint8
from engine.segments import write_segment
from engine.team.follow import follow
from engine.vae import VAEConfig
from engine.velocity import Networks
from planner.presets import PRESETS, Preset
from storage.schema import (
    ContinueTake,
    Expert,
    Plan,
    Progress,
    Size,
    Stage,
    StartImage,
    Storyboard,
    StoryboardWindow,
    Window,
)
from storage.timeline import film_frames

PHOTO, VIDEO, TAIL = ("a" * 64, "b" * 64, "c" * 64)


@dataclass
class Timings:
    """Seconds of each stage, as they were measured, in order."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        wait()
        started = time.perf_counter()
        yield
        wait()
        self.seconds.setdefault(stage, []).append(time.perf_counter() - started)

    def median(self) -> dict[str, float]:
        return {stage: round(statistics.median(values), 4) for stage, values in self.seconds.items()}


def main() -> None:
    options = arguments()
    if options.follow:
        sizes = untrained.DIT if options.toy else DiTConfig()
        follow(networks_of(lambda on: Networks(experts=random_experts(sizes, options.precision, on), device=on), sizes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"commit {commit()}, torch {torch.__version__}, {device_name(device)}", flush=True)
    size = Size(width=64, height=48) if options.toy else Size(width=832, height=480)
    with tempfile.TemporaryDirectory() as folder:
        results = together(options, size, Path(folder)) if options.gpus > 1 else alone(options, size, Path(folder))
    results["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None
    print(
        json.dumps(
            {
                "size": str(size),
                "device": device_name(device),
                "commit": commit(),
                "precision": options.precision,
                **results,
            }
        )
    )


def alone(options: argparse.Namespace, size: Size, folder: Path) -> dict[str, object]:
    """Every stage, and the films."""
    timings, device = Timings(), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with timings.of("build"):
        models = build(options, size, device, folder)
    stages(models, size, timings, options.repeats)
    return {"stages": timings.median(), **films(options, models, size)}


def together(options: argparse.Namespace, size: Size, folder: Path) -> dict[str, object]:
    """One evaluation and the films, by one GPU and by all of them."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    toy = ["--toy"] if options.toy else []
    follower = ["--follow", "--precision", options.precision, *toy]
    plan = plan_of(PRESETS[options.presets[0]], size, options.windows)
    with closing(lead_of(device, options.gpus, Path(__file__).resolve(), follower)) as lead:
        began = time.perf_counter()
        with lead.loading(plan, Tier.RESIDENT):
            models = replace(build(options, size, device, folder), lead=lead)
        print(f"build {time.perf_counter() - began:.1f} s", flush=True)
        found = compare(models, plan, size, options.repeats)
        few = argparse.Namespace(presets=options.presets, windows=min(2, options.windows))
        one = films(few, replace(models, lead=None), size)
        return {"gpus": options.gpus, "evaluation": found, "of one": one, **films(options, models, size)}


def films(options: argparse.Namespace, models: Models, size: Size) -> dict[str, object]:
    found = {}
    for name in options.presets:
        found[name] = film(models, plan_of(PRESETS[name], size, options.windows))
        print(name, json.dumps(found[name]), flush=True)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy networks")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each stage")
    parser.add_argument("--presets", nargs="*", default=["lightning"], choices=["lightning", "quality"])
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "fp8", "fp8-attention"])
    parser.add_argument("--windows", type=int, default=1, help="of the film that each preset makes")
    parser.add_argument("--one-by-one", action="store_true", help="decode a window before the next one is denoised")
    parser.add_argument("--gpus", type=int, default=1, help="that film a window together")
    parser.add_argument("--follow", action="store_true", help=argparse.SUPPRESS)  # as one of them, but the first
    return parser.parse_args()


def build(options: argparse.Namespace, size: Size, device: torch.device, folder: Path) -> Models:
    """Random networks made on the device, so that no file and no host memory is needed."""
    dit = untrained.DIT if options.toy else DiTConfig()
    return Models(
        experts=random_experts(dit, options.precision, device),
        vae=panning_vae(untrained.VAE_SIZES if options.toy else VAEConfig(), device, size),
        text=random_text_encoder(TOY_TEXT if options.toy else UMT5_XXL, dit, device, folder),
        device=device,
        trained=False,
        finish_dir=folder,
        latents_per_call=4,
        beside=not options.one_by_one,
    )


@torch.inference_mode()
def stages(models: Models, size: Size, timings: Timings, repeats: int) -> None:
    """Each stage by itself, once to warm up and then `repeats` times."""
    h, w = size.height // 8, size.width // 8
    network = models.experts[Expert.LOW_NOISE]
    picture = torch.rand(1, 3, 1, size.height, size.width, device=models.device) * 2 - 1
    latents = torch.randn(1, 16, 21, h, w, device=models.device)
    given = condition(latents[:, :, :1], latents[:, :, 1:2])
    sigma = torch.tensor([0.7], dtype=torch.float64, device=models.device)
    text = network.encode_text(models.text("a dog runs along the beach"))
    frames = [to_uint8(chunk) for chunk in models.vae.decode(latents, models.latents_per_call)]
    with tempfile.TemporaryDirectory() as folder:
        work: dict[str, Callable[[], object]] = {
            "text": lambda: models.text("a dog runs along the beach"),
            "anchor encode": lambda: models.vae.encode(picture),
            "forward": lambda: network(network_input(latents, given), sigma, text),
            "decode": lambda: list(models.vae.decode(latents, models.latents_per_call)),
            "decode and copy": lambda: [to_uint8(c) for c in models.vae.decode(latents, models.latents_per_call)],
            "h264": lambda: write_segment(iter(frames), size, Path(folder) / "segment.mp4"),
        }
        for stage, do in work.items():
            do()
            for _ in range(repeats):
                with timings.of(stage):
                    do()
            print(f"{stage:16} {statistics.median(timings.seconds[stage]):.3f} s", flush=True)


def plan_of(preset: Preset, size: Size, windows: int) -> Plan:
    window = Window(prompt="a dog runs along the beach", negative="blurred", seed=1)
    return Plan(
        storyboard=Storyboard(title="benchmark", windows=(StoryboardWindow(scene=window.prompt),) * windows),
        size=size,
        source=StartImage(image=PHOTO),
        windows=(window,) * windows,
        sampling=preset.sampling,
        seed=1,
        model=preset.model,
    )


def film(models: Models, plan: Plan) -> dict[str, float]:
    """A film from request to mp4, through pipeline.render.

    `sustained_s` is from one window's last step to the next one's, all that lies between in it; `continued_s` is all of
    a further window, which goes on from the film.
    """
    size, windows = plan.size, len(plan.windows)
    seen: list[tuple[Stage, int, int, float]] = []

    def on_progress(progress: Progress) -> None:
        if models.device.type == "cuda":  # what was asked for here: the window before may be under way elsewhere
            torch.cuda.current_stream().synchronize()
        seen.append((progress.stage, progress.window, progress.step, time.perf_counter()))

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "media").mkdir()
        noise = torch.randint(0, 256, (size.height, size.width, 3), dtype=torch.uint8).numpy()
        Image.fromarray(noise).save(out / "media" / PHOTO, "PNG")
        started = time.perf_counter()
        rendering = pipeline.render(plan, models, out, on_progress)
        total = time.perf_counter() - started
        continued = continuation(plan, rendering, models)
        tail = torch.as_tensor(bytearray(rendering.tail.read_bytes()[-4096:]))
        assert rendering.frames == film_frames(windows)
        assert tail.any(), "a window that is not empty"
    steps = plan.sampling.steps
    at = {(stage, number, step): moment for stage, number, step, moment in seen}
    results = {
        "steps": steps,
        "denoise_s": at[Stage.DENOISING, 1, steps] - at[Stage.DENOISING, 1, 0],
        "decode_and_h264_s": at[Stage.FILMED, windows, steps] - at[Stage.DENOISING, windows, steps],
        "film_s": total,
        "continued_s": continued,
    }
    if windows > 1:
        ends = [at[Stage.DENOISING, number, steps] for number in range(1, windows + 1)]
        results["sustained_s"] = statistics.median(b - a for a, b in pairwise(ends))
        begins = [at[Stage.DENOISING, number, 0] for number in range(1, windows + 1)]
        results["sustained_denoise_s"] = statistics.median(b - a for a, b in zip(begins[1:], ends[1:], strict=True))
    return {name: round(value, 3) for name, value in results.items()}


def continuation(plan: Plan, rendering: pipeline.Rendering, models: Models) -> float:
    """Seconds from the plan of one more window to the mp4 of all of them."""
    source = ContinueTake(video=VIDEO, tail=TAIL, head_windows=rendering.windows, head_frames=rendering.frames)
    further = plan.model_copy(
        update={"source": source, "windows": plan.windows[:1], "storyboard": plan.first(1).storyboard}
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "media").mkdir()
        (out / "media" / VIDEO).symlink_to(rendering.video)
        (out / "media" / TAIL).symlink_to(rendering.tail)
        wait()
        started = time.perf_counter()
        pipeline.render(further, models, out)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
