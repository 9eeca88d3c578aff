"""Solvers by name with their grids of noise levels, and the grid that a plan's own levels came from."""

from collections.abc import Callable
from dataclasses import dataclass

from planner.sigmas import (
    CAUSVID_LEVELS,
    LCM_STEPS,
    Sigmas,
    causvid_sigmas,
    euler_sigmas,
    lcm_sigmas,
    linear_sigmas,
    unipc_sigmas,
)
from storage.schema import MOST_STEPS, Sampling, Solver

USUAL_SHIFT = 5.0  # where a plan tells of none
ALIKE = 1e-9  # between levels that are the same
WIDEST_SHIFT = 1000.0  # nobody bends a grid further, or the other way, below 1


@dataclass(frozen=True)
class Scheme:
    """A solver as people name it: the integrator, and how its levels are computed from steps and shift."""

    name: str
    solver: Solver
    levels: Callable[[int, float], Sigmas]
    least_steps: int = 1
    most_steps: int = MOST_STEPS
    shifts: bool = True


@dataclass(frozen=True)
class Grid:
    """A scheme and how far it is bent."""

    scheme: Scheme
    shift: float


def _causvid(steps: int, _: float) -> Sigmas:
    return causvid_sigmas(steps)


# CausVid and LCM are grids of Wan2GP, which walks down them as Euler does.
SCHEMES = {
    "unipc": Scheme("unipc", Solver.UNIPC, unipc_sigmas),
    "euler": Scheme("euler", Solver.EULER, euler_sigmas, least_steps=2),
    "dpm++": Scheme("dpm++", Solver.DPMPP, linear_sigmas),
    "causvid": Scheme("causvid", Solver.EULER, _causvid, most_steps=len(CAUSVID_LEVELS), shifts=False),
    "lcm": Scheme("lcm", Solver.EULER, lcm_sigmas, most_steps=LCM_STEPS),
}
LINEAR_EULER = Scheme("euler", Solver.EULER, linear_sigmas)  # of the demonstration model and of Lightning


def grid_of(sampling: Sampling) -> Grid | None:
    """The grid of a sampling, recognised by its levels: a plan holds those alone. None for levels of no known grid."""
    for scheme in (LINEAR_EULER, *SCHEMES.values()):
        if scheme.solver is not sampling.solver or not scheme.least_steps <= sampling.steps <= scheme.most_steps:
            continue
        shift = _bent(sampling.sigmas, scheme.levels(sampling.steps, 1.0))
        levels = scheme.levels(sampling.steps, shift)
        if all(abs(a - b) < ALIKE for a, b in zip(levels, sampling.sigmas, strict=True)):
            return Grid(scheme, shift)
    return None


def _bent(sigmas: Sigmas, straight: Sigmas) -> float:
    """How far a straight line of levels was bent: s = k x / (1 + (k - 1) x), so k = s (1 - x) / (x (1 - s))."""
    bends = [s * (1 - x) / (x * (1 - s)) for s, x in zip(sigmas, straight, strict=True) if 0 < x < 1 and 0 < s < 1]
    return round(min(max(bends[-1], 1.0), WIDEST_SHIFT), 9) if bends else USUAL_SHIFT
