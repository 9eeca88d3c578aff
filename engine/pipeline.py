"""plan -> video. `render` is the main path of the engine; everything else is called from it.

Legend: B batch (1), T latent frames, h w latent height and width, F frames, H W pixels. Latents are [B, 16, T, h, w],
pixels [B, 3, F, H, W] in [-1, 1].
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from engine.condition import tail_of, with_tail
from engine.decode import Decode, decode_with_what_fits
from engine.denoise import denoise
from engine.folder import Handover, WorkFolder
from engine.models import Models
from engine.pixels import frames_to_pixels, picture_to_pixels, to_uint8
from engine.segments import fitted, join
from engine.writer import WindowWriter
from storage import sandbox
from storage.footage import Frames
from storage.pictures import load_picture
from storage.schema import ContinueTake, ContinueVideo, Plan, Progress, Size, Stage, StartImage
from storage.timeline import DROPPED_FRAMES

OnProgress = Callable[[Progress], None]  # may raise, to stop the render where it is

TAIL_FRAMES = 9  # of a foreign video: latents of 1 + 4 + 4 frames, so that the last one has its causal context


@dataclass(frozen=True)
class Rendering:
    """What a render leaves in its folder."""

    video: Path
    tail: Path
    frames: int


@torch.inference_mode()
def render(plan: Plan, models: Models, out: Path, on_progress: OnProgress = lambda _: None) -> Rendering:
    """Film `plan` into the folder `out`, one window after the other, and join them to one video.

    `out/media/` holds the files that the plan names. Finished windows stay in `out`: a render that was killed goes on
    at its first unfinished window. Same plan, same video, bit for bit on one machine. While a window is denoised the
    one before is written, so that it is told of as filmed a little later.
    """
    folder = WorkFolder(out, plan)
    report = Reporter(plan, on_progress)
    handover = opening(plan, folder, models)
    with WindowWriter(folder, plan.size, on_written=report.filmed) as writer:
        for number, window in enumerate(plan.windows, start=1):
            if folder.has(number):
                handover = folder.handover(number, models.device)
                continue
            report(Stage.DENOISING, number, 0)
            if window.anchor:
                handover = Handover(encode_picture(folder.media(window.anchor), plan.size, models), handover.tail)
            on_step = partial(stepped, report, writer, number)
            latents = denoise(window, handover, plan.sampling, models, on_step, plan.timing)
            report(Stage.DECODING, number, plan.sampling.steps)
            frames = shown_frames(latents, handover, models)
            handover = Handover(handover.anchor, tail_of(latents))
            writer.write(number, frames, handover)
    report(Stage.JOINING, len(plan.windows), plan.sampling.steps)
    count = join([*head(plan, folder), *folder.segments], folder.film, comment=plan.model_dump_json())
    return Rendering(folder.film, folder.tail, count)


def opening(plan: Plan, folder: WorkFolder, models: Models) -> Handover:
    """What the first window is handed: the source's anchor, and the tail of what the film continues."""
    match plan.source:
        case StartImage(image=image):
            return Handover(encode_picture(folder.media(image), plan.size, models), tail=None)
        case ContinueTake(tail=tail):
            return Handover.load(folder.media(tail), models.device)
        case ContinueVideo(video=video, keep_frames=keep):
            last = sandbox.read_tail(folder.media(video), TAIL_FRAMES, keep, plan.size)
            pixels = frames_to_pixels(last).to(models.device)
            return Handover(models.vae.encode(pixels[:, :, -1:]), tail_of(models.vae.encode(pixels)))


def head(plan: Plan, folder: WorkFolder) -> list[Path]:
    """The video that the windows go on from, ready to be joined with them; none when the film starts from a picture."""
    match plan.source:
        case StartImage():
            return []
        case ContinueTake(video=video):
            return [fitted(folder.media(video), plan.size, None, folder.head)]
        case ContinueVideo(video=video, keep_frames=keep):
            return [fitted(folder.media(video), plan.size, keep, folder.head)]


def encode_picture(path: Path, size: Size, models: Models) -> Tensor:
    """The latent of one picture: [B, 16, 1, h, w]"""
    return models.vae.encode(picture_to_pixels(load_picture(path), size).to(models.device))


def shown_frames(latents: Tensor, handover: Handover, models: Models) -> list[Frames]:
    """The frames of a window that the film shows. latents: [B, 16, T, h, w] -> chunks of [F, H, W, 3]

    A window that continues something begins with 5 frames that were shown before.
    """
    frames_to_drop = 0 if handover.tail is None else DROPPED_FRAMES

    whole = with_tail(latents, handover.tail)

    def decoded(decode: Decode) -> list[Frames]:
        return [to_uint8(pixels) for pixels in without_first(frames_to_drop, decode(whole))]

    return decode_with_what_fits(models.vae, models.latents_per_call, decoded)


def without_first(count: int, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Chunks of pixels [B, 3, F, H, W] but for the first `count` frames of all."""
    for pixels in chunks:
        dropped = min(count, pixels.shape[2])
        count -= dropped
        if dropped < pixels.shape[2]:
            yield pixels[:, :, dropped:]


@dataclass(frozen=True)
class Reporter:
    """Tells `on_progress` where a render of `plan` is."""

    plan: Plan
    on_progress: OnProgress

    def __call__(self, stage: Stage, number: int, step: int) -> None:
        """Window `number` of the plan, from 1, is at `stage`."""
        windows, steps = len(self.plan.windows), self.plan.sampling.steps
        self.on_progress(Progress(stage=stage, window=number, windows=windows, step=step, steps=steps))

    def filmed(self, number: int) -> None:
        """Window `number` is finished and kept."""
        self(Stage.FILMED, number, self.plan.sampling.steps)


def stepped(report: Reporter, writer: WindowWriter, number: int, step: int) -> None:
    """After a step of window `number`: first what has been written meanwhile, so that the step is the last word."""
    writer.tell()
    report(Stage.DENOISING, number, step)
