"""From latents to frames: a window decoded behind the film so far, in its colours, measured and finished.

Windows come one after the other, each behind what the one before shows, and are written while they are decoded. Where
there is memory for both, a window is developed while the next one is denoised, which needs nothing of it but latents.

    B batch (1), T latent frames, h w latent height and width, F frames, H W pixels
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from engine.colours import corrected
from engine.condition import in_film
from engine.decode import decode_with_what_fits, later_than
from engine.finish.finisher import Finisher
from engine.folder import Handover, Shown
from engine.measures import measured, seam_between
from engine.models import Models
from engine.pixels import frames_to_pixels, to_uint8
from storage.footage import Frames
from storage.schema import Plan
from storage.timeline import OVERLAP_FRAMES

Developing = Generator[Frames, None, Shown]  # chunks [F, H, W, 3], and at the end what the film shows with them


@dataclass(frozen=True)
class Exposed:
    """A window whose latents are finished, and the two things that are left to do. Any thread may do them.

    `develop` gives chunks of frames [F, H, W, 3] as they are decoded, and at its end what the film shows with them.
    `finish` makes of these chunks what is written.
    """

    develop: Callable[[], Developing]
    finish: Callable[[Iterable[Frames]], Iterable[Frames]]


@dataclass
class Darkroom:
    """Develops the windows of one plan, in order. `shown`: what the film shows before the next of them."""

    plan: Plan
    models: Models
    finisher: Finisher
    shown: Shown

    def exposed(self, number: int, latents: Tensor, handover: Handover) -> Exposed:
        """Window `number` of the plan, once the one before is developed. latents: [B, 16, T, h, w]

        `handover` is what the window was denoised behind.
        """
        seed = self.plan.windows[number - 1].seed
        return Exposed(
            develop=partial(self._developed, number, latents, handover, Ready(self.models.device)),
            finish=partial(self.finisher.finished, before=self.shown.frames, seed=seed),
        )

    @torch.inference_mode()
    def _developed(self, number: int, latents: Tensor, handover: Handover, ready: "Ready") -> Developing:
        with ready.on_a_stream_of_its_own(self.models.beside):
            whole, decoded = in_film(latents, handover.tail, handover.eve), list[Frames]()
            known = 0 if handover.tail is None else whole.shape[2] - latents.shape[2] + 2  # up to the tail
            repeated = self.models.vae.config.frames(known)
            yield from later_than(repeated, seen(decoded, self._decoded(whole)))
        frames = np.concatenate(decoded)
        number += self.plan.source.head_windows
        self.shown = shown_with(self.shown, frames[:repeated], frames[repeated:], number)
        return self.shown

    def _decoded(self, latents: Tensor) -> Iterator[Frames]:
        """Chunks of frames [F, H, W, 3] in the colours of what was shown before. latents: [B, 16, T, h, w]"""
        models, strength = self.models, self.plan.color_correction
        reference = None
        if strength and self.shown.frames is not None:
            reference = frames_to_pixels(self.shown.frames[-1:]).to(models.device)

        def in_colours(pixels: Tensor) -> Frames:
            return to_uint8(pixels if reference is None else corrected(pixels, reference, strength))

        return decode_with_what_fits(models.vae, models.latents_per_call, latents, in_colours)


def seen(noted: list[Frames], chunks: Iterable[Frames]) -> Iterator[Frames]:
    """The same chunks, each of them noted."""
    for chunk in chunks:
        noted.append(chunk)
        yield chunk


def shown_with(before: Shown, repeated: Frames, frames: Frames, number: int) -> Shown:
    """What the film shows with window `number` of all of it, which repeats and shows such frames, [F, H, W, 3] each."""
    seam = None
    if before.frames is not None and len(repeated):
        seam = seam_between(before.frames, repeated[-len(before.frames) :])
    told = measured(number, frames, seam, before.measured)
    return Shown(frames[-OVERLAP_FRAMES:].copy(), (*before.measured, told))  # a view would hold the whole window


class Ready:
    """The moment at which a GPU has computed what was asked of it so far."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None

    @contextmanager
    def on_a_stream_of_its_own(self, beside: bool) -> Iterator[None]:
        """The GPU does what the block asks for `beside` other work, after what was asked before this Ready was made.

        The block itself must wait until all of it is done. The memory of tensors made here belongs to that stream;
        tensors made before must be held until the end.
        """
        if self._event is None or not beside:
            yield
            return
        stream = developing_stream(self._device)
        stream.wait_event(self._event)
        with torch.cuda.stream(stream):
            yield


@cache
def developing_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all windows: torch keeps memory that was freed for the stream that had it."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
