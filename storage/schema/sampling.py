"""How a window is denoised."""

import re
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from storage.errors import UserError
from storage.schema.value import Value

MAGCACHE_STEPS = 50  # at most; its ratios were measured over 40


class Solver(StrEnum):
    """Which integrator walks down the sigmas."""

    UNIPC = "unipc"
    EULER = "euler"
    DPMPP = "dpm++"


class Expert(StrEnum):
    """Which of the two networks predicts: the one for much noise, or the one for little."""

    HIGH_NOISE = "high_noise"
    LOW_NOISE = "low_noise"


class Phase(Value):
    """A stretch of the denoising: `expert` predicts with `guidance` while the noise level is above `above`."""

    expert: Expert
    above: Annotated[float, Field(ge=0, le=1)]
    guidance: Annotated[float, Field(ge=1)] = 1.0


class GuidanceRule(StrEnum):
    """How the velocities for the positive and the negative prompt become one; see engine/guidance.py."""

    CFG = "cfg"
    CFG_STAR = "cfg*"
    APG = "apg"


class NAG(Value):
    """Normalized attention guidance: the negative prompt at work inside the cross-attention, also without guidance.

    It moves away from the negative text by `scale`, no further than `tau` times the length, and takes `alpha` of that.
    """

    scale: Annotated[float, Field(gt=1, le=20)]
    tau: Annotated[float, Field(ge=1, le=5)] = 3.5
    alpha: Annotated[float, Field(ge=0, le=2)] = 0.5


class SkipLayers(Value):
    """Skip-layer guidance: the negative prediction leaves out `blocks`, between two shares of the steps."""

    blocks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (9,)
    start: Annotated[float, Field(ge=0, le=1)] = 0.1
    stop: Annotated[float, Field(ge=0, le=1)] = 0.9

    def covers(self, step: int, steps: int) -> bool:
        """Whether step number `step`, from 0, of `steps` leaves them out."""
        return int(self.start * steps) <= step < int(self.stop * steps)


class MagCacheSettings(Value):
    """Step skipping, see engine/magcache.py: about `speed` times fewer runs of the network, for a film that is close.

    The first steps, up to and with the one at the share `start` of all, are computed in any case.
    """

    speed: Annotated[float, Field(ge=1.5, le=2.5, multiple_of=0.25)] = 1.75
    start: Annotated[float, Field(ge=0, le=1)] = 0.0


class RefinedSteps(Value):
    """Steps `first` to `last` of those that a window takes, from 0, are evaluated `evaluations` times each."""

    first: Annotated[int, Field(ge=0)]
    last: Annotated[int, Field(ge=0)]
    evaluations: Annotated[int, Field(ge=1, le=10)]

    @model_validator(mode="after")
    def _in_order(self) -> "RefinedSteps":
        if self.last < self.first:
            raise ValueError(f"refined steps go forward, got {self.first} to {self.last}")
        return self


class Refiner(Value):
    """The self-refiner, see engine/refiner.py: steps that are noised again and repeated, for as long as it helps.

    A place is certain where two predictions differ by less than `uncertainty` (a norm over channels, divided by their
    number); once the share `certain` of all places is, a step is not repeated any more.
    """

    steps: Annotated[tuple[RefinedSteps, ...], Field(min_length=1)] = (
        RefinedSteps(first=1, last=5, evaluations=3),
        RefinedSteps(first=6, last=13, evaluations=1),
    )
    norm: Literal[1, 2] = 1
    uncertainty: Annotated[float, Field(ge=0, le=1)] = 0.1
    certain: Annotated[float, Field(gt=0, le=1)] = 0.999


def parse_refiner_plan(text: str) -> tuple[RefinedSteps, ...]:
    """The steps of a self-refiner as they are written: first-last:evaluations, or step:evaluations, between commas.

    As in Wan2GP's self_refiner.py: behind a ";" stand plans for other models' further passes, and no text at all is the
    usual plan. UserError for anything else.

    >>> [(part.first, part.last, part.evaluations) for part in parse_refiner_plan("6-13:1, 2:3; 1-5:2")]
    [(2, 2, 3), (6, 13, 1)]
    """
    parts = [part for part in text.split(";")[0].split(",") if part.strip()]
    if not parts:
        return Refiner().steps
    return tuple(sorted((_refined_steps(part) for part in parts), key=lambda steps: steps.first))


def _refined_steps(text: str) -> RefinedSteps:
    found = re.fullmatch(r"\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*:\s*(\d{1,4})\s*", text, re.ASCII)
    try:
        if found:
            first, last, evaluations = found.groups()
            return RefinedSteps(first=int(first), last=int(last or first), evaluations=int(evaluations))
    except ValidationError:  # backwards, or too often
        pass
    raise UserError(
        f"The self-refiner's plan is written like 1-5:3,6-13:1, steps from 0 and 1 to 10 evaluations of each, "
        f"not {text.strip()}."
    )


class Sampling(Value):
    """How a window is denoised.

    `sigmas` are explicit, so that a plan never depends on how a grid is computed; they fall strictly. The first phase
    whose `above` lies under the noise level is in force; the last one must reach down to 0.
    """

    solver: Solver
    sigmas: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2)]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=3)]
    rule: GuidanceRule = GuidanceRule.CFG
    zero_steps: Annotated[int, Field(ge=0)] = 0  # CFG-Zero: this many first steps have no velocity
    skip_layers: SkipLayers | None = None
    nag: NAG | None = None
    magcache: MagCacheSettings | None = None
    refiner: Refiner | None = None
    motion_amplitude: Annotated[float, Field(ge=1, le=1.4)] = 1.0  # 1 is off; see engine/condition.py

    @model_validator(mode="after")
    def _falls(self) -> "Sampling":
        thresholds = [phase.above for phase in self.phases]
        for name, values in (("sigmas", self.sigmas), ("phases", thresholds)):
            if any(a <= b for a, b in pairwise(values)):
                raise ValueError(f"{name} must fall strictly, got {tuple(values)}")
        if thresholds[-1] != 0:
            raise ValueError(f"the last phase must reach down to 0, got {thresholds[-1]}")
        return self

    @model_validator(mode="after")
    def _few_enough_to_skip(self) -> "Sampling":
        if self.magcache and self.steps > MAGCACHE_STEPS:
            raise ValueError(f"MagCache is for at most {MAGCACHE_STEPS} steps, got {self.steps}")
        return self

    @property
    def steps(self) -> int:
        """Network evaluations along the grid, one between two sigmas."""
        return len(self.sigmas) - 1

    @property
    def needs_negative(self) -> bool:
        """Whether the negative text is looked at."""
        return self.nag is not None or any(phase.guidance != 1 for phase in self.phases)
