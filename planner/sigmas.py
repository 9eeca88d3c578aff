"""Noise levels of the samplers, from 1 (noise) down to 0 (video), in float64. A plan stores them as they are.

`shift` bends a straight line: s x / (1 + (s - 1) x), which spends more steps at high noise. Grids as in Wan2.2
(fm_solvers_unipc.py, fm_solvers.py), Wan2.2-Lightning (fm_solvers_euler.py), DiffSynth (flow_match.py) and Wan2GP
(any2video.py); what they do differently is said where it is.
"""

import struct

Sigmas = tuple[float, ...]

CAUSVID_LEVELS = (1.0, 0.934, 0.862, 0.756, 0.603, 0.410, 0.250, 0.140, 0.074)
LCM_STEPS = 8  # Wan2GP never takes more
_LCM_FLOOR = 0.003 / 1.002


def shifted(sigma: float, shift: float) -> float:
    """A noise level bent by `shift`; 0 and 1 stay where they are."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def unipc_sigmas(steps: int, shift: float) -> Sigmas:
    """Wan's UniPC grid: a line from 0.999 to 0. NOTE: the official 0.999 has passed through float32."""
    (highest,) = struct.unpack("f", struct.pack("f", 0.999))
    return _bend(_line(highest, 0.0, steps + 1)[:-1], shift, last=0.0)


def linear_sigmas(steps: int, shift: float) -> Sigmas:
    """A line from 1 to 0: DPM-Solver++ in Wan, Euler in DiffSynth and SVI, and Lightning, which was trained on it.

    >>> [round(sigma, 4) for sigma in linear_sigmas(4, shift=5)]
    [1.0, 0.9375, 0.8333, 0.625, 0.0]
    """
    return _bend(_line(1.0, 0.0, steps + 1)[:-1], shift, last=0.0)


def euler_sigmas(steps: int, shift: float) -> Sigmas:
    """Wan2GP's Euler grid: a line from 1 to 0.001 and then 0, so that the last evaluation has little left to do."""
    _check(steps, 2)
    line = [timestep / 1000 for timestep in _line(1000.0, 1.0, steps)]
    return _bend(line, shift, last=0.0)


def causvid_sigmas(steps: int) -> Sigmas:
    """CausVid's fixed levels, at most nine; no shift applies."""
    if not 1 <= steps <= len(CAUSVID_LEVELS):
        raise ValueError(f"steps must be in [1, {len(CAUSVID_LEVELS)}], got {steps}")
    return (*CAUSVID_LEVELS[:steps], 0.0)


def lcm_sigmas(steps: int, shift: float) -> Sigmas:
    """Wan2GP's "lcm": at most eight steps. NOTE: it ends above 0, so the video keeps that little noise."""
    line = [_LCM_FLOOR + (1 - _LCM_FLOOR) * (1 - x) for x in _line(0.0, 1.0, min(steps, LCM_STEPS) + 1)]
    return tuple(shifted(sigma, shift) for sigma in line)


def _bend(line: list[float], shift: float, last: float) -> Sigmas:
    return (*(shifted(sigma, shift) for sigma in line), last)


def _line(start: float, stop: float, count: int) -> list[float]:
    """`count` evenly spaced values with both ends, bit for bit as numpy.linspace."""
    _check(count - 1, 1)
    step = (stop - start) / (count - 1)
    return [*(index * step + start for index in range(count - 1)), stop]


def _check(steps: int, least: int) -> None:
    if steps < least:
        raise ValueError(f"steps must be at least {least}, got {steps}")
