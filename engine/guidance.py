"""Guidance: what to make of the velocity for the prompt (positive) and the one for the negative prompt (negative).

# B batch, C latent channels, T latent frames, H W latent height and width
#
# `cfg`, `cfg_star`, `apg` and `cfg_zero` are formulas on two velocities [B, C, T, H, W]; `guided`, `switch_at` and
# `in_phases` put velocities together to one that a sampler can follow. Formulas work in float32 or better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.samplers import Velocity
from storage.schema import Phase

Combine = Callable[[Tensor, Tensor, float], Tensor]  # positive, negative [B, C, T, H, W], scale -> [B, C, T, H, W]

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


def cfg_zero(velocity: Tensor, step: int, last_zero_step: int) -> Tensor:
    """CFG-Zero*'s zero init: no velocity in the steps 0 to `last_zero_step`, `velocity` after. -> [B, C, T, H, W]

    As in the paper; Wan2GP's setting of that name writes the zeros and then overwrites them, so there it does nothing.
    """
    return torch.zeros_like(velocity) if step <= last_zero_step else velocity


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


# ---- putting velocities together ------------------------------------------------------------------------------------


def guided(positive: Velocity, negative: Velocity, scale: float, combine: Combine = cfg) -> Velocity:
    """The velocity that `combine` makes of both. With scale 1 it is `positive`, and `negative` is never evaluated."""
    if scale == 1:
        return positive
    return lambda latents, sigma: combine(positive(latents, sigma), negative(latents, sigma), scale)


def switch_at(boundary: float, high_noise: Velocity, low_noise: Velocity) -> Velocity:
    """`high_noise` while the noise level is above `boundary`, `low_noise` from there on."""
    return lambda latents, sigma: (high_noise if _level(sigma) > boundary else low_noise)(latents, sigma)


def in_phases(phases: Sequence[Phase], velocity_in: Callable[[Phase], Velocity]) -> Velocity:
    """The velocity of whichever phase is in force. `velocity_in` is asked at every step, for that phase alone."""
    return lambda latents, sigma: velocity_in(phase_at(phases, _level(sigma)))(latents, sigma)


def phase_at(phases: Sequence[Phase], sigma: float) -> Phase:
    """The phase in force at noise level `sigma`: the first whose `above` lies strictly under it, else the last.

    `sigma` is the level that the network is shown: Wan2GP switches at the first t <= threshold, on truncated t.
    """
    return next((phase for phase in phases if phase.above < sigma), phases[-1])


def _level(sigma: Tensor) -> float:
    """The one noise level of a batch. sigma: [B]"""
    return float(sigma[0])


def _precise(velocity: Tensor) -> Tensor:
    return velocity.to(torch.promote_types(velocity.dtype, torch.float32))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The scalar product of each item of the batch, in float64. [B, C, T, H, W] -> [B, 1, 1, 1, 1]"""
    return (a.double() * b.double()).sum(dim=tuple(range(1, a.ndim)), keepdim=True)
