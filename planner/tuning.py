"""A plan with the numbers that were set by name: option before words before preset.

What a number needs beside it is checked here, so that nothing is set in vain: NAG's reach without NAG is a sentence.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from planner.grids import SCHEMES, USUAL_SHIFT, grid_of
from planner.parameters import places
from planner.sigmas import Sigmas
from prompts import negative_prompt
from storage.schema import (
    MAGCACHE_STEPS,
    NAG,
    NOISE_LEVELS,
    Expert,
    Finish,
    GuidanceRule,
    Guide,
    MagCacheSettings,
    Phase,
    Plan,
    Refiner,
    Sampling,
    SkipLayers,
    Solver,
    Tuning,
    UserError,
    Value,
    Window,
)

BLOCKS = {"svi2pro": 40, "svi2pro-enhanced": 40, "demo": 8}  # of the network, by model
Part = TypeVar("Part", bound=Value)


@dataclass(frozen=True)
class Switch:
    """The parameter that turns a part of a sampling on and off, and the field of the part that it becomes."""

    name: str
    field: str
    off: object
    needed: str  # what the part's other parameters need, as a part of a sentence
    also: str = ""  # another parameter that turns it on


SWITCHES: dict[type[Value], Switch] = {
    NAG: Switch("nag_scale", "scale", 1, "nag_scale, for example nag_scale=5"),
    MagCacheSettings: Switch("magcache", "speed", 1, "magcache, for example magcache=1.75"),
    SkipLayers: Switch("skip_layers", "blocks", (), "skip_layers, for example skip_layers=9"),
    Refiner: Switch("refiner_norm", "norm", 0, "the self-refiner: set refiner_norm=1", also="refiner_plan"),
}


def tune(plan: Plan, tuning: Tuning) -> Plan:
    """The same film with these numbers. UserError for one that the film has no use for. Twice is as once."""
    if not tuning:
        return plan
    sampling = tuned(plan.sampling, tuning, plan.model)
    changes: dict[str, object] = {
        **_set(tuning, Plan),
        "sampling": sampling,
        "finish": plan.finish.model_copy(update=_set(tuning, Finish)),
        "guide": _led(plan, tuning),
    }
    if tuning.discard_frames not in (None, plan.discard_frames):
        raise UserError(
            f"discard_frames is for a new film, whose seconds are counted by it: this one has {plan.discard_frames}."
        )
    if tuning.negative is not None:
        if sampling.nag is None:
            _require_guidance(sampling, "negative", " or nag_scale")
        changes["windows"] = tuple(_away_from(window, tuning.negative) for window in plan.windows)
    return plan.model_copy(update=changes)


def tuned(sampling: Sampling, tuning: Tuning, model: str) -> Sampling:
    """A sampling with the numbers of a tuning, for a model."""
    solver, sigmas = _levels(sampling, tuning)
    magcache = _switched(tuning, MagCacheSettings, sampling.magcache)
    if magcache and len(sigmas) - 1 > MAGCACHE_STEPS:
        raise UserError(f"MagCache is for at most {MAGCACHE_STEPS} steps, not {len(sigmas) - 1}.")
    missing = [block for block in tuning.skip_layers or () if block >= BLOCKS[model]]
    if missing:
        raise UserError(f"This model has the blocks 0 to {BLOCKS[model] - 1}: there is no block {missing[0]} to skip.")
    parts = {
        "solver": solver,
        "sigmas": sigmas,
        "phases": _phases(sampling, tuning),
        "nag": _switched(tuning, NAG, sampling.nag),
        "magcache": magcache,
        "refiner": _switched(tuning, Refiner, sampling.refiner),
        "skip_layers": _switched(tuning, SkipLayers, sampling.skip_layers),
    }
    result = Sampling.model_validate({**dict(sampling), **parts, **_set(tuning, Sampling)})
    if tuning.skip_layers or tuning.guidance_rule not in (None, GuidanceRule.CFG):
        _require_guidance(result, "skip_layers" if tuning.skip_layers else f"guidance_rule {tuning.guidance_rule}")
    if result.zero_steps >= result.steps:
        raise UserError(f"zero_steps leaves nothing to do: {result.zero_steps} of {result.steps} steps.")
    return result


def extras_of(plan: Plan) -> Tuning:
    """What a plan has beside the steps, solver and guidance of its preset, by name: what `tune` would add to it."""
    sampling = plan.sampling
    parts = (plan, sampling, sampling.nag, sampling.skip_layers, sampling.magcache, sampling.refiner, plan.guide)
    kinds = {type(part): part for part in (*parts, plan.finish) if part is not None}
    given = {
        SWITCHES[kind].name: getattr(part, SWITCHES[kind].field) for kind, part in kinds.items() if kind in SWITCHES
    }
    for name, (kind, field) in places().items():
        if kind in kinds and getattr(kinds[kind], field) != kind.model_fields[field].default:
            given[name] = getattr(kinds[kind], field)
    return Tuning.model_validate(given)


# ---- the parts ------------------------------------------------------------------------------------------------------


def _set(tuning: Tuning, kind: type[Value]) -> dict[str, object]:
    """The fields of a part of the plan that are set."""
    return {
        field: tuning.given[name] for name, (owner, field) in places().items() if owner is kind and name in tuning.given
    }


def _switched(tuning: Tuning, kind: type[Part], former: Part | None) -> Part | None:
    """A part of the sampling as its switch has it."""
    switch, given = SWITCHES[kind], tuning.given
    if switch.name in given and given[switch.name] == switch.off:
        return None
    changes = _set(tuning, kind)
    if changes and former is None and not given.keys() & {switch.name, switch.also}:
        first = next(name for name, (owner, _) in places().items() if owner is kind and name in given)
        raise UserError(f"{first} needs {switch.needed}.")
    if switch.name in given:
        changes[switch.field] = given[switch.name]
    return kind.model_validate({**dict(former or ()), **changes}) if changes else former


def _led(plan: Plan, tuning: Tuning) -> Guide | None:
    """The video that the film follows, with the strengths that are set."""
    strengths = _set(tuning, Guide)
    if strengths and plan.guide is None:
        raise UserError(f"{next(iter(strengths))}_strength is for a film that follows a video: give one with --guide.")
    return plan.guide and plan.guide.model_copy(update=strengths)


def _levels(sampling: Sampling, tuning: Tuning) -> tuple[Solver, Sigmas]:
    """The solver and its noise levels."""
    if tuning.steps is None and tuning.solver is None and tuning.shift is None:
        return sampling.solver, sampling.sigmas
    former = grid_of(sampling)
    if former and tuning.solver in (None, former.scheme.name):
        scheme = former.scheme
    elif tuning.solver:
        scheme = SCHEMES[tuning.solver]
    else:
        raise UserError("The noise levels of this film follow no known grid: set solver, steps and shift together.")
    if tuning.shift and not scheme.shifts:
        raise UserError(f"The levels of {scheme.name} are fixed: shift does nothing there.")
    bent = former.shift if former and former.scheme.shifts else USUAL_SHIFT
    steps = tuning.steps or min(sampling.steps, scheme.most_steps)
    if not scheme.least_steps <= steps <= scheme.most_steps:
        raise UserError(f"{scheme.name} takes {scheme.least_steps} to {scheme.most_steps} steps, not {steps}.")
    return scheme.solver, scheme.levels(steps, tuning.shift or bent)


def _phases(sampling: Sampling, tuning: Tuning) -> tuple[Phase, ...]:
    """Guidance and thresholds by phase. A second threshold makes a third phase."""
    phases = list(sampling.phases)
    wanted = 3 if tuning.switch2 else 2 if tuning.switch else 1
    while len(phases) < wanted:
        phases.append(Phase(expert=Expert.LOW_NOISE, above=0.0, guidance=phases[-1].guidance))
    for number, guidance in enumerate((tuning.guidance, tuning.guidance2, tuning.guidance3)):
        if guidance is None:
            continue
        if number >= len(phases):
            raise UserError(f"This film has {len(phases)} phases: guidance3 is for a third one, which switch2 begins.")
        phases[number] = phases[number].model_copy(update={"guidance": guidance})
    for number, level in enumerate((tuning.switch, tuning.switch2)):
        if level is not None:
            phases[number] = phases[number].model_copy(update={"above": level / NOISE_LEVELS})
    thresholds = [phase.above for phase in phases]
    if any(a <= b for a, b in pairwise(thresholds)):
        high, low = (round(each * NOISE_LEVELS) for each in thresholds[:2])
        raise UserError(f"Noise falls, so switch2 lies under switch: {low} does not lie under {high}.")
    return tuple(phases)


def _away_from(window: Window, negative: str) -> Window:
    """With other words in the negative prompt; what a person does not want to see stays behind them."""
    stock = negative_prompt()
    avoided = window.negative.removeprefix(stock) if window.negative.startswith(stock) else ""
    return window.model_copy(update={"negative": negative + avoided})


def _require_guidance(sampling: Sampling, name: str, also: str = "") -> None:
    if all(phase.guidance == 1 for phase in sampling.phases):
        raise UserError(
            f"{name} changes what the negative prompt does, which this film does without: set guidance{also} above 1."
        )
