"""Everything of a film that may be set by name. The field's name for it, and the seed's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import GroupedMetadata
from pydantic import AfterValidator, BeforeValidator, Field

from storage.schema.plan import Finish, Guide, Plan
from storage.schema.sampling import (
    NAG,
    GuidanceRule,
    MagCacheSettings,
    RefinedSteps,
    Refiner,
    Sampling,
    SkipLayers,
    parse_refiner_plan,
)
from storage.schema.value import Value

MOST_STEPS = 100
NOISE_LEVELS = 1000  # what the thresholds count, as in the source: 1000 is noise alone, 0 is the video


@dataclass(frozen=True)
class Term(GroupedMetadata):
    """What a parameter is, and where in a plan it comes to stand: its limits and its default are those of `of`."""

    does: str
    of: tuple[type[Value], str] | None = None
    also: tuple[str, ...] = ()  # what the seed document and its source call it
    unit: str = ""
    default: str = ""  # empty: that of `of`
    off: str | None = None  # the value that the word "off" stands for

    def __iter__(self) -> Iterator[object]:
        """The limits, as pydantic reads them."""
        if self.of:
            yield from self.of[0].model_fields[self.of[1]].metadata


def _parsed(text: object) -> object:
    """A plan of the self-refiner, as it is typed."""
    return parse_refiner_plan(text) if isinstance(text, str) else text


def _listed(text: object) -> object:
    """Numbers between commas."""
    return [part for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def _whole(text: object) -> object:
    """A choice among whole numbers, as it is typed."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text


def _skipping(speed: float | None) -> float | None:
    """A speed that MagCache has, or 1."""
    if speed is not None and speed != 1:
        MagCacheSettings(speed=speed)
    return speed


class Tuning(Value):
    """Numbers set by name. None: as the preset and the model have it.

    Validators of what is typed stand last: limits bind the value, and not what comes before it.
    """

    steps: Annotated[
        int | None, Field(ge=1, le=MOST_STEPS),
        Term("evaluations of the network", also=("num_inference_steps",), unit="steps", default="preset"),
    ] = None  # fmt: skip
    solver: Annotated[
        Literal["unipc", "euler", "dpm++", "causvid", "lcm"] | None,
        Term("the integrator and its noise levels", also=("sample_solver", "sampler"), default="preset"),
    ] = None
    shift: Annotated[
        float | None, Field(ge=1, le=25),
        Term("more steps at high noise", also=("flow_shift", "shift_scale"), default="preset"),
    ] = None  # fmt: skip
    guidance: Annotated[
        float | None, Field(ge=1, le=20),
        Term("how far to go from the negative to the positive prompt, first phase; 1 is off and half the time",
             also=("guidance_scale", "cfg"), default="preset", off="1"),
    ] = None  # fmt: skip
    guidance2: Annotated[
        float | None, Field(ge=1, le=20),
        Term("the same, second phase", also=("guidance2_scale", "cfg2"), default="preset", off="1"),
    ] = None  # fmt: skip
    guidance3: Annotated[
        float | None, Field(ge=1, le=20),
        Term("the same, third phase", also=("guidance3_scale", "cfg3"), default="preset", off="1"),
    ] = None  # fmt: skip
    switch: Annotated[
        int | None, Field(ge=1, le=NOISE_LEVELS),
        Term("noise level at which the second phase begins", also=("switch_threshold",), unit="of 1000",
             default="preset"),
    ] = None  # fmt: skip
    switch2: Annotated[
        int | None, Field(ge=1, le=NOISE_LEVELS),
        Term("noise level at which a third phase begins", also=("switch_threshold2",), unit="of 1000",
             default="preset"),
    ] = None  # fmt: skip
    negative: Annotated[
        str | None, Field(min_length=1, max_length=2000),
        Term("what to go away from, instead of the stock words", also=("negative_prompt", "n_prompt"), default="stock"),
    ] = None  # fmt: skip
    guidance_rule: Annotated[
        GuidanceRule | None, Term("how the two velocities become one", of=(Sampling, "rule"), off="cfg")
    ] = None
    zero_steps: Annotated[
        int | None, Field(ge=0, le=40),
        Term("CFG-Zero: first steps without a velocity", of=(Sampling, "zero_steps"), unit="steps", off="0"),
    ] = None  # fmt: skip
    nag_scale: Annotated[
        float | None, Field(ge=1, le=20),
        Term("normalized attention guidance away from the negative prompt; 1 is off", default="1", off="1"),
    ] = None  # fmt: skip
    nag_tau: Annotated[float | None, Term("how much longer NAG may make a token, at most", of=(NAG, "tau"))] = None
    nag_alpha: Annotated[float | None, Term("share of NAG that is taken", of=(NAG, "alpha"))] = None
    skip_layers: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        Term("blocks that the negative prediction leaves out", also=("slg_layers", "perturbation_layers"),
             unit="blocks from 0", default="off", off=""),
        BeforeValidator(_listed),
    ] = None  # fmt: skip
    skip_layers_start: Annotated[
        float | None, Term("from this share of the steps on", of=(SkipLayers, "start"), unit="share of the steps")
    ] = None
    skip_layers_stop: Annotated[
        float | None, Term("until this share of the steps", of=(SkipLayers, "stop"), unit="share of the steps")
    ] = None
    magcache: Annotated[
        float | None, Field(ge=1, le=2.5, multiple_of=0.25), AfterValidator(_skipping),
        Term("MagCache: so many times fewer runs, from 1.5 on; 1 is off", also=("skip_steps_multiplier",),
             unit="times", default="1", off="1"),
    ] = None  # fmt: skip
    magcache_start: Annotated[
        float | None, Term("no step is skipped before", of=(MagCacheSettings, "start"), unit="share of the steps")
    ] = None
    motion_amplitude: Annotated[
        float | None, Term("more motion; 1 is off", of=(Sampling, "motion_amplitude"), unit="times", off="1")
    ] = None
    refiner_norm: Annotated[
        Literal[0, 1, 2] | None,
        Term("the self-refiner, which repeats steps: 0 off, 1 and 2 by that norm", also=("self_refiner_setting",),
             default="0", off="0"),
        BeforeValidator(_whole),
    ] = None  # fmt: skip
    refiner_plan: Annotated[
        tuple[RefinedSteps, ...] | None,
        Term("which steps it evaluates how often, as 1-5:3,6-13:1", of=(Refiner, "steps"),
             also=("self_refiner_plan",), unit="steps from 0"),
        BeforeValidator(_parsed),
    ] = None  # fmt: skip
    refiner_uncertainty: Annotated[
        float | None,
        Term("a place is certain below this change", of=(Refiner, "uncertainty"), also=("self_refiner_f_uncertainty",)),
    ] = None
    refiner_certain: Annotated[
        float | None,
        Term("a step is repeated until this share is certain", of=(Refiner, "certain"), unit="share of the places",
             also=("self_refiner_certain_percentage",)),
    ] = None  # fmt: skip
    color_correction: Annotated[
        float | None,
        Term("every frame takes its colours from the frame before its window", of=(Plan, "color_correction"), off="0",
             also=("colour_correction", "color_correction_strength")),
    ] = None  # fmt: skip
    discard_frames: Annotated[
        int | None,
        Term("frames dropped at the end of every window", of=(Plan, "discard_frames"), unit="frames", off="0",
             also=("sliding_window_discard_last_frames", "discard_last_frames")),
    ] = None  # fmt: skip
    denoising_strength: Annotated[
        float | None, Term("share of the steps taken behind a guide video", of=(Guide, "denoising"))
    ] = None
    masking_strength: Annotated[
        float | None, Term("share of the steps that keep what is outside of the mask", of=(Guide, "masking"))
    ] = None
    interpolation: Annotated[
        Literal[1, 2, 4] | None,
        Term("frames a second, times this: 16, 32 or 64", of=(Finish, "interpolation"), unit="times", off="1"),
        BeforeValidator(_whole),
    ] = None  # fmt: skip
    interpolator: Annotated[
        str | None, Term("a RIFE checkpoint by name", of=(Finish, "interpolator"), default="FFmpeg", off="")
    ] = None
    upscaling: Annotated[float | None, Term("pixels a side, times this", of=(Finish, "upscaling"), off="1")] = None
    upscaler: Annotated[
        str | None, Term("a model that upscales by name", of=(Finish, "upscaler"), default="Lanczos", off="")
    ] = None
    deblocking: Annotated[float | None, Term("takes out block edges", of=(Finish, "deblocking"), off="0")] = None
    frame_denoising: Annotated[
        float | None, Term("takes noise out of the frames", of=(Finish, "denoising"), also=("denoise",), off="0")
    ] = None
    grain: Annotated[
        float | None, Term("film grain", of=(Finish, "grain"), also=("film_grain_intensity", "film_grain"), off="0")
    ] = None
    grain_saturation: Annotated[
        float | None,
        Term("colour of the grain", of=(Finish, "grain_saturation"), also=("film_grain_saturation",)),
    ] = None  # fmt: skip

    def over(self, others: "Tuning") -> "Tuning":
        """These values, and of the others what these leave open."""
        return Tuning(**{**others.given, **self.given})

    @property
    def given(self) -> dict[str, object]:
        """What is set, by name."""
        return {name: value for name, value in self if value is not None}

    def __bool__(self) -> bool:
        """Whether anything is set."""
        return bool(self.given)
