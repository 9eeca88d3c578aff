"""plan -> video. `render` is the main path of the engine; everything else is called from it.

Legend: B batch (1), T latent frames, h w latent height and width, F frames, H W pixels. Latents are [B, 16, T, h, w],
pixels [B, 3, F, H, W] in [-1, 1].
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from engine.condition import eve_of, tail_of, without_end
from engine.darkroom import Darkroom
from engine.denoise import denoise
from engine.finish.finisher import Finisher
from engine.folder import Handover, Shown, WorkFolder
from engine.guide_video import window_guide
from engine.models import Models
from engine.pixels import frames_to_pixels, picture_to_pixels
from engine.previews.writer import PreviewWriter
from engine.segments import fitted, join
from engine.writer import WindowWriter
from storage import sandbox
from storage.footage import Frames
from storage.pictures import load_picture
from storage.schema import ContinueTake, ContinueVideo, Measured, Plan, Progress, Size, Stage, StartImage
from storage.timeline import OVERLAP_FRAMES, film_frames_in

OnProgress = Callable[[Progress], None]  # may raise, to stop the render where it is

TAIL_FRAMES = 9  # of a foreign video: latents of 1 + 4 + 4 frames, so that the last one has its causal context


class NotWanted(Exception):
    """The render has ended, so nobody needs what was being made ready for it."""


@dataclass(frozen=True)
class Rendering:
    """What a render leaves in its folder. `frames` counts 16 a second, whatever the video's own rate is."""

    video: Path
    tail: Path
    frames: int
    windows: int  # of the plan
    measured: tuple[Measured, ...] = ()


@torch.inference_mode()
def render(plan: Plan, models: Models, out: Path, on_progress: OnProgress = lambda _: None) -> Rendering:
    """Film `plan` into the folder `out`, one window after the other, and join them to one video.

    `out/media/` holds the files that the plan names. Finished windows stay in `out`: a render that was killed goes on
    at its first unfinished window. Same plan, same video, bit for bit on one machine. While a window is denoised the
    one before is written, and decoded where there is memory for it, so that it is told of as filmed a little later; so
    is what the film goes on from made ready.
    """
    folder = WorkFolder(out, plan)
    report = Reporter(plan, on_progress)
    finisher = Finisher.of(plan, models.finish_dir, models.device)
    handover, shown = opening(plan, folder, models)
    darkroom = Darkroom(plan, models, finisher, shown)
    previews = PreviewWriter(folder, plan, handover, shown, models.previewer)
    with WindowWriter(folder, finisher.size, report.filmed, finisher.fps, beside=models.beside) as writer:
        before = writer.aside(partial(head, plan, folder, finisher, writer.wanted))
        for number, window in enumerate(plan.windows, start=1):
            if folder.has(number):
                handover, darkroom.shown = folder.handover(number, models.device), folder.shown(number)
                continue
            report(Stage.DENOISING, number, 0)
            if window.anchor:
                handover = replace(handover, anchor=encode_picture(folder.media(window.anchor), plan.size, models))
            previews.begin(number, continues=handover.tail is not None)
            on_step = partial(stepped, report, writer, previews, number)
            guide = window_guide(plan, number, handover, folder, models)
            latents = denoise(window, handover, plan.sampling, models, on_step, plan.timing, guide)
            latents = without_end(latents, plan.discard_frames)
            report(Stage.DECODING, number, plan.sampling.steps)
            expose = partial(darkroom.exposed, number, latents, handover)
            handover = handover.after(latents)
            writer.write(number, handover, expose)
    report(Stage.JOINING, len(plan.windows), plan.sampling.steps)
    return joined(plan, folder, before.result(), finisher.fps)


def gather(plan: Plan, out: Path, finish_dir: Path, device: torch.device) -> Rendering | None:
    """What a render of `plan` that came to nothing has finished in the folder `out`; None if that is no window.

    The first windows of a plan are a plan: their film, to the last bit.
    """
    folder = WorkFolder(out, plan)
    if not folder.finished:
        return None
    finisher = Finisher.of(plan, finish_dir, device)
    return joined(plan.first(len(folder.finished)), folder, head(plan, folder, finisher), finisher.fps)


def joined(plan: Plan, folder: WorkFolder, before: Sequence[Path], fps: int) -> Rendering:
    """The windows of `plan`, all of them finished, behind the videos `before`, which they go on from."""
    windows = len(plan.windows)
    segments = [folder.segment(number) for number in range(1, windows + 1)]
    count = join([*before, *segments], folder.film, plan.model_dump_json(), fps)
    frames = film_frames_in(count, plan.finish.interpolation)
    return Rendering(folder.film, folder.tail(windows), frames, windows, folder.shown(windows).measured)


def opening(plan: Plan, folder: WorkFolder, models: Models) -> tuple[Handover, Shown]:
    """What the first window is handed: the source's anchor, and the tail and last frames of what the film continues."""
    match plan.source:
        case StartImage(image=image):
            return Handover(encode_picture(folder.media(image), plan.size, models)), Shown()
        case ContinueTake(video=video, tail=tail):
            shown = Shown.load(folder.media(tail))
            if shown.frames is None:  # of an older Longtake
                frames = sandbox.read_tail(folder.media(video), OVERLAP_FRAMES, None, plan.size)
                shown = replace(shown, frames=frames)
            return Handover.load(folder.media(tail), models.device), shown
        case ContinueVideo(video=video, keep_frames=keep):
            frames = sandbox.read_tail(folder.media(video), TAIL_FRAMES, keep, plan.size)
            pixels = frames_to_pixels(frames).to(models.device)
            last, all_of_them = models.vae.encode(pixels[:, :, -1:]), models.vae.encode(pixels)
            eve = eve_of(all_of_them) if len(frames) == TAIL_FRAMES else None
            return Handover(last, tail_of(all_of_them), eve), Shown(frames[-OVERLAP_FRAMES:])


def head(plan: Plan, folder: WorkFolder, finisher: Finisher, wanted: Callable[[], bool] = lambda: True) -> list[Path]:
    """The video that the windows go on from, ready to be joined with them; none when the film starts from a picture.

    An earlier life of the render may have made it. NotWanted when `wanted` says so before the last frame.
    """
    if folder.head.exists():
        return [folder.head]
    match plan.source:
        case StartImage():
            return []
        case ContinueTake(video=media):
            keep = None
        case ContinueVideo(video=media, keep_frames=keep):
            pass
    video = folder.media(media)
    kept = while_wanted(sandbox.read_frames(video, keep, plan.size), wanted)
    finished = finisher.finished(kept, before=None, seed=plan.seed)
    return [fitted(video, finisher.size, keep, folder.head, finisher.fps, finished)]


def while_wanted(frames: Iterable[Frames], wanted: Callable[[], bool]) -> Iterator[Frames]:
    """Frames [H, W, 3] as chunks [1, H, W, 3]; NotWanted as soon as they are not."""
    for frame in frames:
        if not wanted():
            raise NotWanted
        yield frame[None]


def encode_picture(path: Path, size: Size, models: Models) -> Tensor:
    """The latent of one picture: [B, 16, 1, h, w]"""
    return models.vae.encode(picture_to_pixels(load_picture(path), size).to(models.device))


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


def stepped(
    report: Reporter, writer: WindowWriter, previews: PreviewWriter, number: int, step: int, video: Tensor
) -> None:
    """After a step of window `number`: first what has been written meanwhile, so that the step is the last word.

    video: as the step saw it, [B, 16, T, h, w]
    """
    writer.tell()
    previews.see(step, video)
    report(Stage.DENOISING, number, step)
