"""Parameters by name: "motion_amplitude=1.15 magcache=1.75", as an option, in a channel and for scripts alike.

A name is the field's, or the one that the seed document and its source use. A name of theirs that stands for something
fixed here is answered with a sentence that says what it is.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from storage.schema import GuidanceRule, RefinedSteps, Term, Tuning, UserError, Value

LONGEST_PARTICLE = 3  # letters of a part of a name that says nothing by itself
_BOUNDS = ("ge", "gt", "le", "multiple_of")
_NAME = r"[A-Za-z][\w-]*\s*="
_PART = re.compile(
    rf"[\s,;]*(?P<name>{_NAME})\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<plain>.*?))[\s,;]*(?:$|(?<=[\s,;])(?={_NAME}))",
    re.DOTALL,
)
_SET = "A parameter is set as NAME=VALUE, for example motion_amplitude=1.15"
_LIST = "docs/parameters.md lists them"
_NO_TEACACHE = "TeaCache is not for this model, which has two experts: use MagCache, for example magcache=1.75."


@dataclass(frozen=True)
class Parameter:
    """A field of Tuning as people read of it."""

    name: str
    kind: str  # "number", "whole number", "words", or the choices
    default: str
    limits: str  # "from 1 to 25", or empty
    term: Term

    @property
    def allowed(self) -> str:
        """What may be given, as a part of a sentence."""
        return f"{self.kind} {self.limits}".strip()


@cache
def parameters() -> tuple[Parameter, ...]:
    """Everything that may be set, in the order of the fields."""
    return tuple(_described(name, field) for name, field in Tuning.model_fields.items())


@cache
def places() -> dict[str, tuple[type[Value], str]]:
    """Where in a plan a parameter stands by itself, as a model's field."""
    return {each.name: each.term.of for each in parameters() if each.term.of}


def read_tuning(texts: Iterable[str]) -> Tuning:
    """What texts of NAME=VALUE set; a value goes on until the next name. UserError for what is no parameter.

    >>> read_tuning(["flow_shift=8 skip_layers=9,10"]).given
    {'shift': 8.0, 'skip_layers': (9, 10)}
    """
    given: dict[str, object] = {}
    for text in texts:
        for name, value in _parts(text):
            parameter, meant = _meant(name, value)
            if parameter.name in given:
                raise UserError(f"{parameter.name} is set twice: once, please.")
            given[parameter.name] = _value(parameter, name, meant)
    return Tuning.model_validate(given)


def written(tuning: Tuning) -> str:
    """A tuning as it could be typed.

    >>> written(Tuning(shift=8, skip_layers=(9, 10)))
    'shift=8 skip_layers=9,10'
    """
    return " ".join(f"{name}={_typed(value)}" for name, value in tuning.given.items())


# ---- reading --------------------------------------------------------------------------------------------------------


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each; values may be in quotes."""
    at = 0
    while at < len(text) or not text:
        part = _PART.match(text, at)
        if part is None:
            raise UserError(f"{_SET}; {_LIST}.")
        yield part["name"].rstrip("= \t\n"), part["plain"] if part["quoted"] is None else part["quoted"]
        at = part.end()


def _meant(typed: str, value: str) -> tuple[Parameter, str]:
    """The parameter of a name, and the value in its unit."""
    known = {name: parameter for parameter in parameters() for name in (parameter.name, *parameter.term.also)}
    by_name = {_plain(name): parameter for name, parameter in known.items()}
    name = _plain(typed)
    if name in FIXED:
        raise UserError(FIXED[name])
    if name in TRANSLATED:
        name, translate = TRANSLATED[name]
        value = translate(value)
    if name in by_name:
        return by_name[name], value
    raise UserError(f"There is no parameter {typed}: {_nearest(name, by_name)}.")


def _nearest(name: str, by_name: dict[str, Parameter]) -> str:
    """The parameter that a mistyped name may mean, whole or by one of its words."""
    words = {word: each for each in by_name.values() for word in each.name.split("_") if len(word) > LONGEST_PARTICLE}
    meant = words | by_name | {other: by_name[own] for other, (own, _) in TRANSLATED.items()}
    near = get_close_matches(name, meant, n=1, cutoff=0.6)
    return f"the nearest is {meant[near[0]].name}, {meant[near[0]].allowed}" if near else _LIST


def _value(parameter: Parameter, typed: str, value: str) -> object:
    """A value that the parameter may have."""
    off = parameter.term.off
    if value.casefold() in ("off", "none", "no", "aus") and off is not None:
        value = off
    elif not value:
        raise UserError(f"{typed} needs a value: {parameter.allowed}.")
    try:
        return getattr(Tuning.model_validate({parameter.name: value}), parameter.name)
    except ValidationError as error:
        raise UserError(f"{typed} is {parameter.allowed}, not {value[:40]}.") from error


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def _share(percent: str) -> str:
    """A percentage of the source as a share."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?) ?%?", percent)
    return f"{float(number[1]) / 100:g}" if number else percent


def _switched(on: str) -> Callable[[str], str]:
    return lambda value: on if value in ("1", "on", "true") else "cfg" if value in ("0", "off", "false") else value


def _zero_steps(last: str) -> str:
    """The source counts the last step without a velocity, from 0; -1 is none."""
    return str(int(last) + 1) if re.fullmatch(r"-1|\d{1,2}", last) else last


def _cache(kind: str) -> str:
    if kind.casefold().startswith("tea"):
        raise UserError(_NO_TEACACHE)
    return {"mag": "1.75", "magcache": "1.75", "": "off"}.get(kind.casefold(), kind)


def _times(upsampler: str) -> str:
    """The number in "rife2" or "lanczos1.5"."""
    return re.sub(r"^[A-Za-z]+(?=[\d.]+$)", "", upsampler) or upsampler


TRANSLATED: dict[str, tuple[str, Callable[[str], str]]] = {  # names of the source whose values are others here
    "cfg_star_switch": ("guidance_rule", _switched("cfg*")),
    "cfg_star": ("guidance_rule", _switched("cfg*")),
    "apg_switch": ("guidance_rule", _switched("apg")),
    "adaptive_projected_guidance": ("guidance_rule", _switched("apg")),
    "cfg_zero_step": ("zero_steps", _zero_steps),
    "slg_start_perc": ("skip_layers_start", _share),
    "slg_end_perc": ("skip_layers_stop", _share),
    "perturbation_start_perc": ("skip_layers_start", _share),
    "perturbation_end_perc": ("skip_layers_stop", _share),
    "skip_steps_cache_type": ("magcache", _cache),
    "mag_cache": ("magcache", _cache),
    "skip_steps_start_step_perc": ("magcache_start", _share),
    "temporal_upsampling": ("interpolation", _times),
    "spatial_upsampling": ("upscaling", _times),
}

_MODEL = "The model follows from the preset: choose one with --preset, or say “fast” or “best quality”."
_LENGTH = "The length is said in seconds, by --seconds or in the story: a film is whole windows of 81 frames."
_MODE = (
    "The mode follows from what you give: a picture starts a film (S), a video is continued (V), “continue” films on "
    "after the last take (L). An end image (E) and text alone (T) are not for this model: it goes on from a picture, "
    "and an anchor in the last window is the nearest to an end image."
)
_GUIDED = (
    "Video guidance follows from what you give: --anchor pictures (KI), --guide for a video to follow (GUV), with "
    "--guide-mask inside of a mask only (GVA)."
)
_NO_AUDIO = "This model hears and makes no sound: there is no audio to set."
_SIZE = "The size is said with --size, as 832x480, or in words, as “720p”; the picture gives the shape."
_BATCH = "Several films at once are asked for with --repeat N, and --pairs all or matched; /film has takes."
_KEPT = "Frames of a video are kept with --keep-frames: 40 keeps the first ones, -40 all but the last."
FIXED: dict[str, str] = {  # names of the seed document that stand for something fixed, or said elsewhere
    "base_model_type": _MODEL,
    "model_type": _MODEL,
    "profiles_dir": _MODEL,
    "image_prompt_type": _MODE,
    "image_start": _MODE,
    "image_end": _MODE,
    "video_prompt_type": _GUIDED,
    "image_refs": _GUIDED,
    "video_guide": _GUIDED,
    "video_mask": _GUIDED,
    "mask_preprocessing": _GUIDED,
    "frame_num": _LENGTH,
    "video_length": _LENGTH,
    "sliding_window_size": "A window has 81 frames: the model was trained for that, so it is fixed.",
    "sliding_window_overlap": "Windows overlap by 4 frames, which is the one latent handed on: it is fixed.",
    "frames_positions": "An anchor belongs to a window, never to a frame: give --anchor, one a window.",
    "tea_cache": _NO_TEACACHE,
    "teacache": _NO_TEACACHE,
    "tea_cache_setting": _NO_TEACACHE,
    "audio_prompt_type": _NO_AUDIO,
    "audio_guidance_scale": _NO_AUDIO,
    "audio_guidance": _NO_AUDIO,
    "speakers_locations": _NO_AUDIO,
    "mmaudio_setting": _NO_AUDIO,
    "guidance_phases": "Phases follow from their thresholds: a second one begins at switch, a third one at switch2.",
    "model_switch_phase": "The low-noise expert takes over where the preset has it: move that with switch.",
    "resolution": _SIZE,
    "fit_canvas": _SIZE,
    "seed": "The seed is said with --seed, or in words, as “seed 42”.",
    "prompt": "The prompt is the story.",
    "fps": "The model films 16 frames a second: interpolation=2 makes 32 of them, 4 makes 64.",
    "force_fps": "The model films 16 frames a second: interpolation=2 makes 32 of them, 4 makes 64.",
    "repeat_generation": _BATCH,
    "multi_images_gen_type": _BATCH,
    "multi_prompts_gen_type": _BATCH,
    "keep_frames_video_source": _KEPT,
    "black_frame": "A film starts from black with --black.",
    "riflex_setting": "RIFLEx is for windows of more than 97 frames: it is off at 81.",
    "loras": "LoRAs are chosen by name, see longtake loras.",
    "activated_loras": "LoRAs are chosen by name, see longtake loras.",
    "loras_multipliers": "A LoRA's strength stands behind its name, see longtake loras.",
    "vae_upsampler": "The VAE's own upsampler is for other models: upscaling=2 is done behind the network.",
}  # fmt: skip


# ---- describing -----------------------------------------------------------------------------------------------------


def _described(name: str, field: FieldInfo) -> Parameter:
    term = next(each for each in field.metadata if isinstance(each, Term))
    stated = [*(each for each in field.metadata if each is not term), *term]
    bounds = {name: getattr(each, name) for each in stated for name in _BOUNDS if hasattr(each, name)}
    return Parameter(name, _kind(field.annotation), term.default or _default(term), _limits(bounds), term)


def _limits(bounds: dict[str, float]) -> str:
    if not bounds:
        return ""
    least = f"{bounds['ge']:g}" if "ge" in bounds else f"more than {bounds['gt']:g}"
    step = f" in steps of {bounds['multiple_of']:g}" if "multiple_of" in bounds else ""
    return f"from {least} to {bounds['le']:g}{step}"


def _kind(annotation: Any) -> str:
    """The type of an optional field in words."""
    (kind,) = (each for each in get_args(annotation) if each is not type(None))
    if get_origin(kind) is Literal or kind is GuidanceRule:
        choices = [str(choice) for choice in (get_args(kind) or tuple(GuidanceRule))]
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    if get_origin(kind) is tuple:
        return "a plan of steps as 1-5:3,6-13:1" if get_args(kind)[0] is RefinedSteps else "numbers with commas"
    return {int: "a whole number", float: "a number", str: "words"}[kind]


def _default(term: Term) -> str:
    assert term.of is not None, "a parameter without a place in the plan says its default"
    model, field = term.of
    default = model.model_fields[field].default
    return "" if default is PydanticUndefined else _typed(default)


def _typed(value: object) -> str:
    """A value as one would type it."""
    if isinstance(value, tuple):
        return ",".join(map(_typed, value)) or "off"
    if isinstance(value, RefinedSteps):
        return f"{value.first}-{value.last}:{value.evaluations}"
    if isinstance(value, str) and re.search(r"[\s=,;]", value):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else str(value)
