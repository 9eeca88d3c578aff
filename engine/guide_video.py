"""The video that a film follows, read for one window, and its mask.

# B batch (1), G latent frames of a window that the guide covers, h w latent height and width, F frames, H W pixels
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.folder import Handover, WorkFolder
from engine.guide import WindowGuide, mask_of
from engine.models import Models
from engine.pixels import frames_to_pixels
from storage import sandbox
from storage.pictures import cover, load_picture
from storage.schema import Plan, Size
from storage.timeline import WINDOW_FRAMES, window_begin


def window_guide(plan: Plan, number: int, handover: Handover, folder: WorkFolder, models: Models) -> WindowGuide | None:
    """What the plan's guide shows in its window `number`, from 1; None without a guide, and behind its end.

    A guide begins with the first window of a film and runs beside all of them, continued ones included: a window's part
    begins with its first overlapping frame. In a window that continues something, latent frame 0 is the anchor there as
    everywhere, and belongs to no moment of the film.
    """
    if plan.guide is None:
        return None
    begin = window_begin(plan.first_window + number - 1, plan.discard_frames)
    frames = sandbox.read_part(folder.media(plan.guide.video), begin, WINDOW_FRAMES, plan.size)
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
    if sandbox.is_picture(path):
        frames = np.asarray(cover(load_picture(path), size))[None]
    else:
        frames = sandbox.read_part(path, begin, count, size)
        missing = count - len(frames)
        frames = np.concatenate([frames, np.repeat(sandbox.read_tail(path, 1, None, size), missing, axis=0)])
    return np.asarray(frames.mean(axis=3, dtype=np.float32) / 255)
