"""A plan with the numbers that were set by name: option before words before preset.

What a number needs beside it is checked here, so that nothing is set in vain: NAG's reach without NAG is a sentence.
"""

from itertools import pairwise

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

BLOCKS = {"svi2pro": 40, "demo": 8}  # of the network, by model
_FINISH = {  # fields of Finish by their names in a tuning
    "interpolation": "interpolation",
    "interpolator": "interpolator",
    "upscaling": "upscaling",
    "upscaler": "upscaler",
    "deblocking": "deblocking",
    "frame_denoising": "denoising",
    "grain": "grain",
    "grain_saturation": "grain_saturation",
}


def tune(plan: Plan, tuning: Tuning) -> Plan:
    """The same film with these numbers. UserError for one that the film has no use for. Twice is as once."""
    if not tuning:
        return plan
    sampling = tuned(plan.sampling, tuning, plan.model)
    changes: dict[str, object] = {"sampling": sampling, "finish": _finish(plan, tuning)}
    if tuning.negative is not None:
        _require_negative(sampling, "negative")
        changes["windows"] = tuple(_away_from(window, tuning.negative) for window in plan.windows)
    if tuning.color_correction is not None:
        changes["color_correction"] = tuning.color_correction
    if tuning.discard_frames not in (None, plan.discard_frames):
        raise UserError(
            f"discard_frames is for a new film, whose seconds are counted by it: this one has {plan.discard_frames}."
        )
    followed = {"denoising": tuning.denoising_strength, "masking": tuning.masking_strength}
    followed = {name: value for name, value in followed.items() if value is not None}
    if followed:
        if plan.guide is None:
            raise UserError(
                f"{next(iter(followed))}_strength is for a film that follows a video: give one with --guide."
            )
        changes["guide"] = plan.guide.model_copy(update=followed)
    return plan.model_copy(update=changes)


def tuned(sampling: Sampling, tuning: Tuning, model: str) -> Sampling:
    """A sampling with the numbers of a tuning, for a model."""
    solver, sigmas = _levels(sampling, tuning)
    changed = {
        **dict(sampling),
        "solver": solver,
        "sigmas": sigmas,
        "phases": _phases(sampling, tuning),
        "nag": _nag(sampling, tuning),
        "magcache": _magcache(sampling, tuning, len(sigmas) - 1),
        "refiner": _refiner(sampling, tuning),
        "skip_layers": _skip_layers(sampling, tuning, model),
    }
    same = {"rule": tuning.guidance_rule, "zero_steps": tuning.zero_steps, "motion_amplitude": tuning.motion_amplitude}
    result = Sampling(**{**changed, **{name: value for name, value in same.items() if value is not None}})
    if tuning.skip_layers or tuning.guidance_rule not in (None, GuidanceRule.CFG):
        _require_guidance(result, "skip_layers" if tuning.skip_layers else f"guidance_rule {tuning.guidance_rule}")
    if result.zero_steps >= result.steps:
        raise UserError(f"zero_steps leaves nothing to do: {result.zero_steps} of {result.steps} steps.")
    return result


def extras_of(plan: Plan) -> Tuning:
    """What a plan has beside the steps, solver and guidance of its preset, by name: what `tune` would add to it."""
    sampling = plan.sampling
    parts: dict[type[Value], Value | None] = {
        Plan: plan,
        Sampling: sampling,
        NAG: sampling.nag,
        SkipLayers: sampling.skip_layers,
        MagCacheSettings: sampling.magcache,
        Refiner: sampling.refiner,
        Guide: plan.guide,
        Finish: plan.finish,
    }
    given: dict[str, object] = {
        "nag_scale": sampling.nag and sampling.nag.scale,
        "skip_layers": sampling.skip_layers and sampling.skip_layers.blocks,
        "magcache": sampling.magcache and sampling.magcache.speed,
        "refiner_norm": sampling.refiner and sampling.refiner.norm,
    }
    for name, (model, field) in places().items():
        value = getattr(parts[model], field, None)
        if value != model.model_fields[field].default:
            given[name] = value
    return Tuning.model_validate(given)


# ---- the parts ------------------------------------------------------------------------------------------------------


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


def _nag(sampling: Sampling, tuning: Tuning) -> NAG | None:
    reach = {"tau": tuning.nag_tau, "alpha": tuning.nag_alpha, "scale": tuning.nag_scale}
    given = {name: value for name, value in reach.items() if value is not None}
    if tuning.nag_scale == 1:
        return None
    if given and not sampling.nag and tuning.nag_scale is None:
        raise UserError(f"nag_{next(iter(given))} needs nag_scale, for example nag_scale=5.")
    return NAG(**{**dict(sampling.nag or ()), **given}) if given else sampling.nag


def _magcache(sampling: Sampling, tuning: Tuning, steps: int) -> MagCacheSettings | None:
    given = {"speed": tuning.magcache, "start": tuning.magcache_start}
    given = {name: value for name, value in given.items() if value is not None}
    if tuning.magcache == 1:
        return None
    if given and not sampling.magcache and tuning.magcache is None:
        raise UserError("magcache_start needs magcache, for example magcache=1.75.")
    cache = MagCacheSettings(**{**dict(sampling.magcache or ()), **given}) if given else sampling.magcache
    if cache and steps > MAGCACHE_STEPS:
        raise UserError(f"MagCache is for at most {MAGCACHE_STEPS} steps, not {steps}.")
    return cache


def _refiner(sampling: Sampling, tuning: Tuning) -> Refiner | None:
    given: dict[str, object] = {
        "norm": tuning.refiner_norm,
        "steps": tuning.refiner_plan,
        "uncertainty": tuning.refiner_uncertainty,
        "certain": tuning.refiner_certain,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if tuning.refiner_norm == 0:
        return None
    if given.keys() & {"uncertainty", "certain"} == given.keys() and given and not sampling.refiner:
        raise UserError(f"refiner_{next(iter(given))} needs the self-refiner: set refiner_norm=1.")
    return Refiner.model_validate({**dict(sampling.refiner or ()), **given}) if given else sampling.refiner


def _skip_layers(sampling: Sampling, tuning: Tuning, model: str) -> SkipLayers | None:
    given: dict[str, object] = {
        "blocks": tuning.skip_layers,
        "start": tuning.skip_layers_start,
        "stop": tuning.skip_layers_stop,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if tuning.skip_layers == ():
        return None
    if given and not sampling.skip_layers and tuning.skip_layers is None:
        raise UserError(f"skip_layers_{next(iter(given))} needs skip_layers, for example skip_layers=9.")
    missing = [block for block in tuning.skip_layers or () if block >= BLOCKS[model]]
    if missing:
        raise UserError(f"This model has the blocks 0 to {BLOCKS[model] - 1}: there is no block {missing[0]} to skip.")
    return SkipLayers.model_validate({**dict(sampling.skip_layers or ()), **given}) if given else sampling.skip_layers


def _finish(plan: Plan, tuning: Tuning) -> Finish:
    given = {field: getattr(tuning, name) for name, field in _FINISH.items()}
    return plan.finish.model_copy(update={field: value for field, value in given.items() if value is not None})


def _away_from(window: Window, negative: str) -> Window:
    """With other words in the negative prompt; what a person does not want to see stays behind them."""
    stock = negative_prompt()
    avoided = window.negative.removeprefix(stock) if window.negative.startswith(stock) else ""
    return window.model_copy(update={"negative": negative + avoided})


def _require_negative(sampling: Sampling, name: str) -> None:
    if sampling.nag is None:
        _require_guidance(sampling, name, " or nag_scale")


def _require_guidance(sampling: Sampling, name: str, also: str = "") -> None:
    if all(phase.guidance == 1 for phase in sampling.phases):
        raise UserError(
            f"{name} changes what the negative prompt does, which this film does without: set guidance{also} above 1."
        )
