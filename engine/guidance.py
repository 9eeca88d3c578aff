"""Guidance: what to make of the velocity for the prompt (positive) and the one for the negative prompt (negative).

# B batch, C latent channels, T latent frames, H W latent height and width
#
# `cfg`, `cfg_star` and `apg` are formulas on two velocities [B, C, T, H, W], in float32 or better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from storage.schema import Phase

APG_MOMENTUM = -0.75  # the three constants of APG's authors for video, as Wan2GP runs it
APG_NORM = 55.0
STAR_EPSILON = 1e-8


def cfg(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: negative + scale (positive - negative). -> [B, C, T, H, W]

    Scale 1 is `positive`, 0 is `negative`.
    """
    positive, negative = _precise(positive), _precise(negative)
    return negative + scale * (positive - negative)


def cfg_star(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
    """CFG-Zero*'s optimised scale: `cfg` with `negative` first scaled to be as near to `positive` as it can be.

    -> [B, C, T, H, W]. The factor is <positive, negative> / |negative|^2, one for each item of the batch.
    """
    positive, negative = _precise(positive), _precise(negative)
    factor = _dot(positive, negative) / (_dot(negative, negative) + STAR_EPSILON)
    return cfg(positive, factor.to(negative.dtype) * negative, scale)


@dataclass(frozen=True)
class Momentum:
    """What APG remembers from one step to the next; it belongs to one window and one expert."""

    difference: Tensor | None = None  # [B, C, T, H, W]; None before the first step


def apg(positive: Tensor, negative: Tensor, scale: float, momentum: Momentum) -> tuple[Tensor, Momentum]:
    """Adaptive projected guidance: only what is at right angles to `positive` is amplified, and never by much.

    -> the velocity [B, C, T, H, W], and the momentum for the next step (before it is limited in length). With
    d = positive - negative, m = d - 0.75 m_before, cut to a length of at most 55: positive + (scale - 1) m_orthogonal.
    """
    positive, negative = _precise(positive), _precise(negative)
    difference = positive - negative
    if momentum.difference is not None:
        difference = difference + APG_MOMENTUM * momentum.difference
    length = _dot(difference, difference).sqrt()
    limited = difference.double() * (APG_NORM / length).clamp(max=1)
    along = positive.double()
    orthogonal = limited - _dot(limited, along) / _dot(along, along).clamp(min=1e-24) * along
    return positive + (scale - 1) * orthogonal.to(positive.dtype), Momentum(difference)


def phase_at(phases: Sequence[Phase], sigma: float) -> Phase:
    """The phase in force at noise level `sigma`: the first whose `above` lies strictly under it, else the last.

    `sigma` is the level that the network is shown: Wan2GP switches at the first t <= threshold, on truncated t.
    """
    return next((phase for phase in phases if phase.above < sigma), phases[-1])


def _precise(velocity: Tensor) -> Tensor:
    return velocity.to(torch.promote_types(velocity.dtype, torch.float32))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The scalar product of each item of the batch, in float64. [B, C, T, H, W] -> [B, 1, 1, 1, 1]"""
    return (a.double() * b.double()).sum(dim=tuple(range(1, a.ndim)), keepdim=True)
