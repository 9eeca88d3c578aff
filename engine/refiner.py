"""The self-refiner: a step is taken again from its own prediction, noised anew, until two predictions agree.

# B batch, C latent channels, T latent frames, H W latent height and width
#
# A step at noise level s sees the video m. It is taken again from (1 - s) m + s noise, with noise of its own, and sees
# m'. A place is uncertain by |m' - m| over its channels, divided by their number; where that is little, and wherever it
# once was, what was there before stays.

As in Wan2GP's shared/utils/self_refiner.py, on the solver's own levels, of which the source knows whole thousandths. As
there, the solver goes on with what it remembers of the last evaluation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.samplers import Step, Velocity, Walk, noised
from storage.schema import Refiner


@dataclass(frozen=True)
class Attempt:
    """A step that was taken: the walk behind it, the video [B, C, T, H, W], where it is certain [B, 1, T, H, W]."""

    walk: Walk
    video: Tensor
    certain: Tensor

    @classmethod
    def first(cls, walk: Walk) -> "Attempt":
        """Certain of nothing."""
        return cls(walk, walk.videos[0], torch.zeros_like(walk.latents[:, :1], dtype=torch.bool))

    def then(self, walk: Walk, refiner: Refiner) -> "Attempt":
        """The same step taken again: what is certain stays as it was before."""
        distance = torch.linalg.vector_norm(walk.videos[0] - self.video, ord=refiner.norm, dim=1, keepdim=True)
        certain = self.certain | (distance / self.video.shape[1] < refiner.uncertainty)
        latents = torch.where(certain, self.walk.latents, walk.latents)
        return Attempt(replace(walk, latents=latents), torch.where(certain, self.video, walk.videos[0]), certain)

    def settled(self, refiner: Refiner) -> bool:
        """Whether more than the share of places that is asked for is certain."""
        return float(self.certain.float().mean()) > refiner.certain


def refined(step: Step, refiner: Refiner, noises: Iterator[Tensor], resting_steps: int = 0) -> Step:
    """`step`, taken as often as `refiner` says, with a tensor of `noises` [B, C, T, H, W] for each time but the first.

    Steps are counted from 0; later entries win. The first `resting_steps` see no video and are taken once.
    """
    spans = (range(max(part.first, resting_steps), part.last + 1) for part in refiner.steps)
    times = {number: part.evaluations for part, span in zip(refiner.steps, spans, strict=True) for number in span}

    def refined_step(velocity: Velocity, sigmas: Sequence[float], walk: Walk) -> Walk:
        best = Attempt.first(step(velocity, sigmas, walk))
        for _ in range(1, times.get(walk.step, 1)):
            start = replace(walk, latents=noised(best.video, next(noises), sigmas[walk.step]))
            best = best.then(step(velocity, sigmas, start), refiner)
            if best.settled(refiner):
                break
        return best.walk

    return refined_step
