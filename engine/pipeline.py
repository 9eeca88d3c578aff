"""plan -> video. `render` is the main path of the engine; everything else is called from it.

Legend: B batch (1), T latent frames, h w latent height and width, F frames, H W pixels. Latents are [B, 16, T, h, w],
pixels [B, 3, F, H, W] in [-1, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.colours import corrected
from engine.condition import tail_of, with_tail, without_end
from engine.decode import Decode, decode_with_what_fits
from engine.denoise import denoise
from engine.finish.finisher import Finisher
from engine.folder import Handover, WorkFolder
from engine.guide import WindowGuide, mask_of
from engine.measures import measured, seam_between
from engine.models import Models
from engine.pixels import frames_to_pixels, picture_to_pixels, to_uint8
from engine.segments import fitted, join
from engine.writer import WindowWriter
from storage.footage import Frames, read_frames, read_part, read_tail
from storage.pictures import cover, is_picture, load_picture
from storage.schema import ContinueTake, ContinueVideo, Measured, Plan, Progress, Size, Stage, StartImage
from storage.timeline import DROPPED_FRAMES, NEW_FRAMES, OVERLAP_FRAMES, WINDOW_FRAMES, film_frames_in

OnProgress = Callable[[Progress], None]  # may raise, to stop the render where it is

TAIL_FRAMES = 9  # of a foreign video: latents of 1 + 4 + 4 frames, so that the last one has its causal context


@dataclass(frozen=True)
class Rendering:
    """What a render leaves in its folder. `frames` counts 16 a second, whatever the video's own rate is."""

    video: Path
    tail: Path
    frames: int
    measured: tuple[Measured, ...] = ()


@torch.inference_mode()
def render(plan: Plan, models: Models, out: Path, on_progress: OnProgress = lambda _: None) -> Rendering:
    """Film `plan` into the folder `out`, one window after the other, and join them to one video.

    `out/media/` holds the files that the plan names. Finished windows stay in `out`: a render that was killed goes on
    at its first unfinished window. Same plan, same video, bit for bit on one machine. While a window is denoised the
    one before is written, so that it is told of as filmed a little later.
    """
    folder = WorkFolder(out, plan)
    report = Reporter(plan, on_progress)
    finisher = Finisher.of(plan, models.finish_dir, models.device)
    handover = opening(plan, folder, models)
    with WindowWriter(folder, finisher.size, report.filmed, finisher.fps) as writer:
        for number, window in enumerate(plan.windows, start=1):
            if folder.has(number):
                handover = folder.handover(number, models.device)
                continue
            report(Stage.DENOISING, number, 0)
            if window.anchor:
                handover = replace(handover, anchor=encode_picture(folder.media(window.anchor), plan.size, models))
            on_step = partial(stepped, report, writer, number)
            guide = window_guide(plan, number, handover, folder, models)
            latents = denoise(window, handover, plan.sampling, models, on_step, plan.timing, guide)
            latents = without_end(latents, plan.discard_frames)
            report(Stage.DECODING, number, plan.sampling.steps)
            filmed = Filmed(tail_of(latents), decoded_frames(latents, handover, plan.color_correction, models))
            finished = finisher.finished([filmed.shown_after(handover)], handover.shown, window.seed)
            handover = handed_on(filmed, handover, plan.source.head_windows + number)
            writer.write(number, finished, handover)
    report(Stage.JOINING, len(plan.windows), plan.sampling.steps)
    parts = [*head(plan, folder, finisher), *folder.segments]
    count = join(parts, folder.film, plan.model_dump_json(), finisher.fps)
    return Rendering(folder.film, folder.tail, film_frames_in(count, plan.finish.interpolation), handover.measured)


def opening(plan: Plan, folder: WorkFolder, models: Models) -> Handover:
    """What the first window is handed: the source's anchor, and the tail and last frames of what the film continues."""
    match plan.source:
        case StartImage(image=image):
            return Handover(encode_picture(folder.media(image), plan.size, models))
        case ContinueTake(video=video, tail=tail):
            handover = Handover.load(folder.media(tail), models.device)
            if handover.shown is None:  # of an older Longtake
                return replace(handover, shown=read_tail(folder.media(video), OVERLAP_FRAMES, None, plan.size))
            return handover
        case ContinueVideo(video=video, keep_frames=keep):
            frames = read_tail(folder.media(video), TAIL_FRAMES, keep, plan.size)
            pixels = frames_to_pixels(frames).to(models.device)
            last, all_of_them = models.vae.encode(pixels[:, :, -1:]), models.vae.encode(pixels)
            return Handover(last, tail_of(all_of_them), frames[-OVERLAP_FRAMES:])


def head(plan: Plan, folder: WorkFolder, finisher: Finisher) -> list[Path]:
    """The video that the windows go on from, ready to be joined with them; none when the film starts from a picture."""
    match plan.source:
        case StartImage():
            return []
        case ContinueTake(video=media):
            keep = None
        case ContinueVideo(video=media, keep_frames=keep):
            pass
    video = folder.media(media)
    kept = (frame[None] for frame in read_frames(video, keep, plan.size))
    finished = finisher.finished(kept, before=None, seed=plan.seed)
    return [fitted(video, finisher.size, keep, folder.head, finisher.fps, finished)]


def encode_picture(path: Path, size: Size, models: Models) -> Tensor:
    """The latent of one picture: [B, 16, 1, h, w]"""
    return models.vae.encode(picture_to_pixels(load_picture(path), size).to(models.device))


def window_guide(plan: Plan, number: int, handover: Handover, folder: WorkFolder, models: Models) -> WindowGuide | None:
    """What the plan's guide shows in its window `number`, from 1; None without a guide, and behind its end.

    A guide begins with the first window of a film and runs beside all of them, continued ones included: a window's part
    begins with its first overlapping frame. In a window that continues something, latent frame 0 is the anchor there as
    everywhere, and belongs to no moment of the film.
    """
    if plan.guide is None:
        return None
    begin = (plan.first_window + number - 2) * (NEW_FRAMES - plan.discard_frames)
    frames = read_part(folder.media(plan.guide.video), begin, WINDOW_FRAMES, plan.size)
    if not len(frames):
        return None
    whole_latents = frames[: len(frames) - (len(frames) - 1) % models.vae.config.frames_per_latent]
    video = models.vae.encode(frames_to_pixels(whole_latents).to(models.device))
    if handover.tail is not None:
        video = torch.cat([handover.anchor, video[:, :, 1:]], dim=2)
    mask = None
    if plan.guide.mask is not None:
        shown = read_mask(folder.media(plan.guide.mask), begin, len(frames), plan.size)
        mask = mask_of(torch.tensor(shown).to(models.device), video.shape[2:])
    return WindowGuide(video, mask, plan.guide.denoising, plan.guide.masking)


def read_mask(path: Path, begin: int, count: int, size: Size) -> NDArray[np.float32]:
    """A mask of at most `count` frames from film frame `begin`: [F, H, W] in [0, 1]

    A picture is the mask of every frame, and so is the last frame of a video of masks behind its end.
    """
    if is_picture(path):
        frames = np.asarray(cover(load_picture(path), size))[None]
    else:
        frames = read_part(path, begin, count, size)
        missing = count - len(frames)
        frames = np.concatenate([frames, np.repeat(read_tail(path, 1, size=size), missing, axis=0)])
    return np.asarray(frames.mean(axis=3, dtype=np.float32) / 255)


def decoded_frames(latents: Tensor, handover: Handover, color_correction: float, models: Models) -> Frames:
    """All frames of a window, in the colours of what was shown before. latents: [B, 16, T, h, w] -> [F, H, W, 3]"""
    whole = with_tail(latents, handover.tail)
    reference = None
    if color_correction and handover.shown is not None:
        reference = frames_to_pixels(handover.shown[-1:]).to(models.device)

    def in_colours(pixels: Tensor) -> Tensor:
        return pixels if reference is None else corrected(pixels, reference, color_correction)

    def decoded(decode: Decode) -> Frames:
        return np.concatenate([to_uint8(in_colours(pixels)) for pixels in decode(whole)])

    return decode_with_what_fits(models.vae, models.latents_per_call, decoded)


@dataclass(frozen=True)
class Filmed:
    """A window as it was decoded: the tail [B, 16, 1, h, w] and all of its frames [F, H, W, 3]."""

    tail: Tensor
    frames: Frames

    def shown_after(self, handover: Handover) -> Frames:
        """Its frames that the film shows: a window that continues something begins with 5 that were shown before."""
        return self.frames[0 if handover.tail is None else DROPPED_FRAMES :]


def handed_on(filmed: Filmed, before: Handover, number: int) -> Handover:
    """What window `number` of the whole film hands on, with what was measured of it."""
    shown = filmed.shown_after(before)
    seam = None
    if before.shown is not None:
        repeated = filmed.frames[DROPPED_FRAMES - len(before.shown) : DROPPED_FRAMES]
        seam = seam_between(before.shown, repeated)
    told = measured(number, shown, seam, before.measured)
    last = shown[-OVERLAP_FRAMES:].copy()  # a view would hold the whole window
    return Handover(before.anchor, filmed.tail, last, (*before.measured, told))


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
