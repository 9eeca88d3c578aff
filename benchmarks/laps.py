"""Windows of a film on the clock, one after the other, and the memory that they take."""

import statistics
import time
from dataclasses import asdict, dataclass, field

import torch
from rig import wait
from torch import Tensor

from engine.condition import tail_of
from engine.decode import decode_with_what_fits
from engine.denoise import denoise
from engine.folder import Handover
from engine.loras.strengths import phase_numbers
from engine.memory import Placement, Tier
from engine.models import Models
from engine.pixels import to_uint8
from storage.schema import Expert, Plan, Window

GIB = 2**30
WINDOW = Window(prompt="a dog runs along the beach", negative="blurred", seed=1)


@dataclass(frozen=True)
class Seen:
    """What was seen of a card, or of the networks all resident."""

    name: str
    tier: str
    resident_blocks: int
    first_window_s: float
    window_s: float
    forward_s: float
    text_and_first_forward_s: float  # of each expert: its text's keys and values, and its first step
    decode_s: float
    peak_allocated_gib: float
    peak_reserved_gib: float
    used_gib: float  # of the whole GPU, the context included
    streamed_gib: float = 0.0  # a forward
    copy_s: float = 0.0  # what that takes by itself
    equal: bool = True
    cosine: float = 1.0

    def told(self, resident: "Seen | None") -> dict[str, object]:
        """As JSON takes it, and beside the resident one."""
        numbers: dict[str, object] = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()
        }
        if resident is not None:
            late = self.forward_s - resident.forward_s
            numbers["forward_ratio"] = round(self.forward_s / resident.forward_s, 4)
            numbers["window_ratio"] = round(self.window_s / resident.window_s, 4)
            numbers["overlap"] = round(1 - max(0.0, late) / self.copy_s, 4) if self.streamed_gib else None
        return numbers


@dataclass(frozen=True)
class Laps:
    """Seconds of windows, and of the parts of all but the first one."""

    windows: list[float] = field(default_factory=list)
    forwards: list[float] = field(default_factory=list)
    opening: list[float] = field(default_factory=list)  # forwards that also read their text
    decodes: list[float] = field(default_factory=list)

    def note(self, began: float, steps: list[float], ended: float, opening: set[int]) -> None:
        """One window more: when it began, when each step and all of it ended, and which steps read their text."""
        self.windows.append(ended - began)
        if len(self.windows) == 1:
            return
        for step, (start, stop) in enumerate(zip([began, *steps], steps, strict=False)):
            (self.opening if step in opening else self.forwards).append(stop - start)
        self.decodes.append(ended - steps[-1])


@torch.inference_mode()
def race(
    name: str,
    plan: Plan,
    models: Models,
    repeats: int,
    placement: Placement | None = None,
    reference: Tensor | None = None,
) -> tuple[Tensor, Seen]:
    """A window and its repeats, and what was seen of them. -> latents [1, 16, T, h, w] on the CPU"""
    if models.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result, laps = timed(plan, models, 1 + repeats)
    copy_s, streamed = copies(models)
    return result, Seen(
        name=name,
        tier=placement.tier if placement else Tier.RESIDENT,
        resident_blocks=len(models.pool.resident) if models.pool else len(models.experts[Expert.LOW_NOISE].blocks),
        first_window_s=laps.windows[0],
        window_s=statistics.median(laps.windows[1:] or laps.windows),
        forward_s=statistics.median(laps.forwards),
        text_and_first_forward_s=statistics.median(laps.opening),
        decode_s=statistics.median(laps.decodes),
        **peaks(models.device),
        streamed_gib=streamed / GIB,
        copy_s=copy_s,
        equal=reference is None or torch.equal(result, reference),
        cosine=1.0 if reference is None else float(torch.cosine_similarity(result.flatten(), reference.flatten(), 0)),
    )


def timed(plan: Plan, models: Models, count: int) -> tuple[Tensor, Laps]:
    """The same window `count` times. -> latents [1, 16, T, h, w] on the CPU"""
    anchor = torch.randn(
        1, 16, 1, plan.size.height // 8, plan.size.width // 8, generator=torch.Generator().manual_seed(0)
    ).to(models.device)
    experts = [plan.sampling.phases[phase].expert for phase in phase_numbers(plan.sampling)]
    opening = {experts.index(expert) for expert in experts}
    laps, steps = Laps(), []

    def on_step(_: int, __: Tensor) -> None:
        wait()
        steps.append(time.perf_counter())

    for _ in range(count):
        steps.clear()
        wait()
        began = time.perf_counter()
        latents = denoise(WINDOW, Handover(anchor, tail_of(anchor)), plan.sampling, models, on_step)
        list(decode_with_what_fits(models.vae, models.latents_per_call, latents, to_uint8))
        wait()
        laps.note(began, steps, time.perf_counter(), opening)
    return latents.float().cpu(), laps


def peaks(device: torch.device) -> dict[str, float]:
    """GiB that were in use at most, by tensors and by torch, and are in use now by everybody."""
    if device.type != "cuda":
        return dict.fromkeys(("peak_allocated_gib", "peak_reserved_gib", "used_gib"), 0.0)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "peak_allocated_gib": torch.cuda.max_memory_allocated() / GIB,
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / GIB,
        "used_gib": (total - free) / GIB,
    }


def copies(models: Models) -> tuple[float, int]:
    """Seconds and bytes of what a forward copies to the ring, with nothing beside it."""
    if models.pool is None:
        return 0.0, 0
    seconds: list[float] = []
    for _ in range(2):
        wait()
        began = time.perf_counter()
        nbytes = models.pool.copy_ring()
        wait()
        seconds.append(time.perf_counter() - began)
    return min(seconds), nbytes
