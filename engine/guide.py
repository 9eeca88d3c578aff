"""Video to video: a window that follows its part of a guiding video everywhere (GUV), or within a mask (GVA).

# B batch, T latent frames of a window, G of its part of the guide (G <= T), h w latent height and width, F frames

As in Wan2GP's any2video.py, which offers it for the plain i2v_2_2 model; SVI 2 Pro's windows are led in the same way:

  denoising  Of N steps the first k = floor(N (1 - denoising)) are left out, and the window begins from the guide with
             the noise of step k. A guide that ends within the window cannot save steps: all are taken, and what it
             covers is set to the guide, noised, before each of the steps 0 ... k. A window behind its end is filmed as
             without it.
  masking    After each of the first ceil(N masking) steps that are taken, what lies outside of the mask is set to the
             guide with the noise of the next step.

The noise is the window's own. The source takes whole thousandths of the noise levels, here they are the solver's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.samplers import Step, Velocity, Walk, noised


@dataclass(frozen=True)
class WindowGuide:
    """What a guide shows in one window. video: [B, 16, G, h, w]; mask: [1, 1, G or 1, h, w], 1 where it may change."""

    video: Tensor
    mask: Tensor | None
    denoising: float
    masking: float

    def first_step(self, steps: int, latent_frames: int) -> int:
        """The first of `steps` that a window of `latent_frames` takes, from 0."""
        return self._last_led(steps) if self._covers(latent_frames) else 0

    def lead(self, step: Step, noise: Tensor, steps: int) -> Step:
        """`step`, led by the guide. noise: of the window, [B, 16, T, h, w]; steps: N, with those that are left out."""
        covered = noise[:, :, : self.video.shape[2]]
        last_led = 0 if self._covers(noise.shape[2]) else self._last_led(steps)
        masked_steps = math.ceil(steps * self.masking)

        def led_step(velocity: Velocity, sigmas: Sequence[float], walk: Walk) -> Walk:
            if self.denoising < 1 and walk.step <= last_led:
                walk = _begun_with(noised(self.video, covered, sigmas[walk.step]), walk)
            after = step(velocity, sigmas, walk)
            if self.mask is None or walk.step >= masked_steps:
                return after
            outside = noised(self.video, covered, sigmas[after.step])
            inside = after.latents[:, :, : covered.shape[2]]
            return _begun_with(self.mask * inside + (1 - self.mask) * outside, after)

        return led_step

    def _covers(self, latent_frames: int) -> bool:
        return self.video.shape[2] >= latent_frames

    def _last_led(self, steps: int) -> int:
        """k. NOTE: rounded to four digits first, as there, or 30 steps at 0.9 would leave out 2."""
        return min(steps - 1, int(round(steps * (1 - self.denoising), 4)))


def mask_of(frames: Tensor, latents: Sequence[int]) -> Tensor:
    """A mask of frames as one of latents: [F, H, W] in [0, 1] -> [1, 1, G, h, w], 0 or 1; `latents` is (G, h, w)

    The first latent frame has the first frame's mask, the others the nearest of all; one frame is a mask for all.
    """
    count, height, width = latents
    small = F.interpolate(frames[None], size=(height, width), mode="nearest")[None]
    if len(frames) > 1 and count > 1:
        rest = F.interpolate(small, size=(count - 1, height, width), mode="nearest")
        small = torch.cat([small[:, :, :1], rest], dim=2)
    return (small[:, :, :count] >= 0.5).to(frames)


def _begun_with(latents: Tensor, walk: Walk) -> Walk:
    """The walk with its first latent frames replaced. latents: [B, 16, G, h, w]"""
    return replace(walk, latents=torch.cat([latents, walk.latents[:, :, latents.shape[2] :]], dim=2))
