"""From noise to latents: three solvers that walk down explicit noise levels.

# B batch, C latent channels, T latent frames, H W latent height and width
#
# x noisy latents, v velocity = noise - video, so x = (1 - sigma) video + sigma noise, and the video that the network
# sees in x is m = x - sigma v. Between two noise levels, from s down to t, with the log signal-to-noise ratio
# lam(sigma) = ln(1 - sigma) - ln(sigma), h = lam(t) - lam(s) and r = (lam(s) - lam(the level before s)) / h:
#
#   Euler      x_t = x + (t - s) v,  which is  (t/s) x + (1 - t/s) m
#   DPM++ 2M   Euler's x_t + (1 - t/s) (m - m_before) / (2 r)
#   UniPC      the same; then, once m_t is known at x_t, x_t is computed again with m_t as well (`_corrected`)
#
# The formulas are those of Wan2.2's fm_solvers.py and fm_solvers_unipc.py (order 2, B(h) = e^h - 1, lower order at both
# ends), brought to fewer terms: their alpha_t (1 - e^-h) is 1 - t/s, and UniPC's predictor is the step of DPM++ 2M.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from storage.schema import Solver

Velocity = Callable[[Tensor, Tensor], Tensor]  # latents [B, C, T, H, W], sigma [B] float64 -> [B, C, T, H, W]
Sigmas = Sequence[float] | Tensor  # float64 where it is a Tensor: [steps + 1]

TRUNCATING = frozenset({Solver.UNIPC, Solver.DPMPP})  # show the network whole thousandths, as Wan2.2 does with these


@dataclass(frozen=True)
class Walk:
    """How far a solver has come: all that its next step needs, so that a walk can stop and go on, bit for bit."""

    latents: Tensor  # [B, C, T, H, W], at noise level number `step`
    step: int = 0  # steps done
    videos: tuple[Tensor, ...] = ()  # the video as the last steps saw it, the latest first: two, or one for Euler
    corrected: Tensor | None = None  # what UniPC's last step started from


Step = Callable[[Velocity, Sequence[float], Walk], Walk]
OnStep = Callable[[Walk], None]  # is shown the walk after each step; may raise, to stop between two steps
Around = Callable[[Step], Step]  # makes another step of a solver's: taken more than once, or with its latents changed


def sample(
    solver: Solver,
    velocity: Velocity,
    noise: Tensor,
    sigmas: Sigmas,
    on_step: OnStep = lambda _: None,
    around: Around = lambda step: step,
) -> Tensor:
    """The latents to which `solver` brings `noise` along `sigmas`. noise: [B, C, T, H, W] -> the same shape.

    `around` is what else happens at each step. A Walk is all that a step remembers, so that a step may be taken again
    from where it began.
    """
    levels = _levels(sigmas)
    if noise.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"latents are sampled in float32, got noise in {noise.dtype}")
    if solver in TRUNCATING:
        velocity = in_thousandths(velocity)
    step, walk = around(STEPS[solver]), Walk(noise)
    while walk.step < len(levels) - 1:
        walk = step(velocity, levels, walk)
        on_step(walk)
    return walk.latents


def shown_levels(solver: Solver, sigmas: Sigmas) -> tuple[float, ...]:
    """The noise level that `solver` shows the network at each step."""
    levels = torch.tensor(_levels(sigmas)[:-1], dtype=torch.float64)
    return tuple(seen_by_network(levels, solver in TRUNCATING).tolist())


def noised(video: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """`video` as it is at noise level `sigma`. Both and the result: [B, C, T, H, W]"""
    return (1 - sigma) * video + sigma * noise


def seen_by_network(sigma: Tensor, truncate: bool) -> Tensor:
    """The noise level that the network is shown: `sigma`, or with `truncate` the whole thousandths in it. float64.

    Times 1000 a truncated level is a whole number again, exactly.
    """
    return torch.trunc(sigma * 1000) / 1000 if truncate else sigma


def in_thousandths(velocity: Velocity) -> Velocity:
    """`velocity`, shown only whole thousandths of the noise level."""
    return lambda latents, sigma: velocity(latents, seen_by_network(sigma, truncate=True))


# ---- one step: each takes a Walk and gives the next one -------------------------------------------------------------


def euler_step(velocity: Velocity, sigmas: Sequence[float], walk: Walk) -> Walk:
    """The walk, one Euler step on."""
    here, there = sigmas[walk.step : walk.step + 2]
    flow = _velocity_at(velocity, walk.latents, here)
    return Walk(walk.latents + (there - here) * flow, walk.step + 1, (walk.latents - here * flow,))


def dpmpp_2m_step(velocity: Velocity, sigmas: Sequence[float], walk: Walk) -> Walk:
    """The walk, one step of DPM-Solver++ 2M on."""
    videos = (_video(velocity, sigmas, walk), *walk.videos[:1])
    return Walk(_predicted(walk.latents, videos, sigmas, walk.step), walk.step + 1, videos)


def unipc_step(velocity: Velocity, sigmas: Sequence[float], walk: Walk) -> Walk:
    """The walk, one step of UniPC on.

    The video is predicted once, from the latents before their correction.
    """
    video = _video(velocity, sigmas, walk)
    start = walk.latents
    if walk.corrected is not None:
        start = _corrected(walk.corrected, video, walk.videos, sigmas, walk.step)
    videos = (video, *walk.videos[:1])
    return Walk(_predicted(start, videos, sigmas, walk.step), walk.step + 1, videos, start)


STEPS: Mapping[Solver, Step] = {Solver.EULER: euler_step, Solver.DPMPP: dpmpp_2m_step, Solver.UNIPC: unipc_step}


def _levels(sigmas: Sigmas) -> tuple[float, ...]:
    """`sigmas` as python floats (float64), which fall strictly from at most 1 to at least 0."""
    levels = tuple(float(sigma) for sigma in sigmas)
    if len(levels) < 2 or not all(1 >= a > b >= 0 for a, b in pairwise(levels)):
        raise ValueError(f"sigmas must be two or more and fall strictly within [0, 1], got {levels}")
    return levels


def _velocity_at(velocity: Velocity, latents: Tensor, sigma: float) -> Tensor:
    batch = torch.full((latents.shape[0],), sigma, dtype=torch.float64, device=latents.device)
    return velocity(latents, batch).to(latents.dtype)


def _video(velocity: Velocity, sigmas: Sequence[float], walk: Walk) -> Tensor:
    """The video that the network sees in the latents. -> [B, C, T, H, W]"""
    sigma = sigmas[walk.step]
    return walk.latents - sigma * _velocity_at(velocity, walk.latents, sigma)


def _predicted(start: Tensor, videos: tuple[Tensor, ...], sigmas: Sequence[float], step: int) -> Tensor:
    """`start` [B, C, T, H, W] at sigmas[step], brought to sigmas[step + 1]: order 2, but 1 at both ends.

    NOTE: with 0 as the last level, the last step gives the predicted video exactly.
    """
    here, there = sigmas[step : step + 2]
    ratio = there / here
    latents = ratio * start + (1 - ratio) * videos[0]
    if _order(sigmas, step) == 1:
        return latents
    return latents + (1 - ratio) / (2 * _rate(sigmas, step)) * (videos[0] - videos[1])


def _corrected(start: Tensor, video: Tensor, videos: tuple[Tensor, ...], sigmas: Sequence[float], step: int) -> Tensor:
    """The latents at sigmas[step] again, from `start` at sigmas[step - 1], now that `video` is known there.

    With P = e^-h - 1, b1 = (-P/h - 1) / P and b2 = 2 (-(-P/h - 1)/h - 1/2) / P, the two weights solve
    w1 + w2 = b1 and -r w1 + w2 = b2 (w2 = 1/2 alone where the step was of order 1).
    """
    here, there = sigmas[step - 1 : step + 1]
    ratio = there / here
    latents = ratio * start + (1 - ratio) * videos[0]
    news = video - videos[0]
    if _order(sigmas, step - 1) == 1:
        return latents + (1 - ratio) / 2 * news
    h, rate = _log_snr(there) - _log_snr(here), _rate(sigmas, step - 1)
    growth = math.expm1(-h)
    phi = -growth / h - 1
    b1, b2 = phi / growth, 2 * (-phi / h - 0.5) / growth
    w1 = (b1 - b2) / (1 + rate)
    return latents + (1 - ratio) * (w1 / rate * (videos[0] - videos[1]) + (b1 - w1) * news)


def _order(sigmas: Sequence[float], step: int) -> int:
    return 1 if step == 0 or step == len(sigmas) - 2 else 2


def _rate(sigmas: Sequence[float], step: int) -> float:
    """r: the length of the step before, in log signal-to-noise, over the length of this one."""
    before, here, there = (_log_snr(sigma) for sigma in sigmas[step - 1 : step + 2])
    return (here - before) / (there - here)


def _log_snr(sigma: float) -> float:
    """lam; minus infinity where there is nothing but noise. No step asks for it at 0, where the last one ends."""
    return -math.inf if sigma == 1 else math.log1p(-sigma) - math.log(sigma)
