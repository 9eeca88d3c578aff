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
from engine.segments import fitted, join, write_segment
from storage.footage import Frames, read_tail
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
    at its first unfinished window. Same plan, same video, bit for bit on one machine.
    """
    folder = WorkFolder(out, plan)
    handover = opening(plan, folder, models)
    for number, window in enumerate(plan.windows, start=1):
        report = reporter(plan, number, on_progress)
        if folder.has(number):
            handover = folder.handover(number, models.device)
            continue
        report(Stage.DENOISING, 0)
        if window.anchor:
            handover = Handover(encode_picture(folder.media(window.anchor), plan.size, models), handover.tail)
        on_step = partial(report, Stage.DENOISING)
        latents = denoise(window, handover, plan.sampling, models, on_step, plan.timing)
        report(Stage.DECODING, plan.sampling.steps)
        write_window(latents, handover, models, plan.size, folder.segment(number))
        handover = Handover(handover.anchor, tail_of(latents))
        folder.finish(number, handover)
        report(Stage.FILMED, plan.sampling.steps)
    report(Stage.JOINING, plan.sampling.steps)
    frames = join([*head(plan, folder), *folder.segments], folder.film, comment=plan.model_dump_json())
    return Rendering(folder.film, folder.tail, frames)


def opening(plan: Plan, folder: WorkFolder, models: Models) -> Handover:
    """What the first window is handed: the source's anchor, and the tail of what the film continues."""
    match plan.source:
        case StartImage(image=image):
            return Handover(encode_picture(folder.media(image), plan.size, models), tail=None)
        case ContinueTake(tail=tail):
            return Handover.load(folder.media(tail), models.device)
        case ContinueVideo(video=video, keep_frames=keep):
            pixels = frames_to_pixels(read_tail(folder.media(video), TAIL_FRAMES, keep, plan.size)).to(models.device)
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


def write_window(latents: Tensor, handover: Handover, models: Models, size: Size, path: Path) -> None:
    """Decode a window's latents [B, 16, T, h, w] and encode what the film shows of it to `path`, chunk by chunk.

    A segment appears whole or not at all, so one that ran out of memory is simply written again.
    """

    whole = with_tail(latents, handover.tail)

    def write(decode: Decode) -> int:
        return write_segment(shown_frames(decode(whole), handover), size, path)

    decode_with_what_fits(models.vae, models.latents_per_call, write)


def shown_frames(chunks: Iterable[Tensor], handover: Handover) -> Iterator[Frames]:
    """The frames of a window that the film shows, as they are decoded: [B, 3, F, H, W] -> chunks of [F, H, W, 3].

    A window that continues something begins with 5 frames that were shown before.
    """
    frames_to_drop = 0 if handover.tail is None else DROPPED_FRAMES
    for pixels in chunks:
        dropped = min(frames_to_drop, pixels.shape[2])
        frames_to_drop -= dropped
        if dropped < pixels.shape[2]:
            yield to_uint8(pixels[:, :, dropped:])


def reporter(plan: Plan, number: int, on_progress: OnProgress) -> Callable[[Stage, int], None]:
    """Tells `on_progress` where window `number` of the plan is."""
    windows, steps = len(plan.windows), plan.sampling.steps
    return lambda stage, step: on_progress(
        Progress(stage=stage, window=number, windows=windows, step=step, steps=steps)
    )
