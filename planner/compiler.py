"""Storyboard + facts -> plan: what a storyboard says in words, completed with every number that the engine needs."""

import hashlib
from dataclasses import dataclass

from planner.anchors import missing_picture
from planner.presets import Preset
from prompts import negative_prompt
from storage.schema import (
    Beat,
    BeatSpan,
    Clip,
    ContinueTake,
    ContinueVideo,
    Finish,
    Guide,
    Image,
    Lora,
    MediaId,
    Plan,
    Seed,
    Size,
    Source,
    StartImage,
    Storyboard,
    StoryboardWindow,
    Take,
    Timing,
    UserError,
    Window,
)
from storage.sizes import fit_area
from storage.timeline import WINDOW_SECONDS, window_seconds

NO_PICTURE = "A film starts from a picture: add one."
LAST_BEAT_SECONDS = 0.5  # what a beat gets that would have begun in a discarded end


@dataclass(frozen=True)
class Facts:
    """Everything of a plan that the storyboard does not say. A film continues `parent`, or `clip`, or starts anew."""

    preset: Preset
    seed: Seed
    images: tuple[Image, ...] = ()
    parent: Take | None = None
    clip: Clip | None = None
    keep_frames: int | None = None  # of `clip`
    size: Size | None = None  # exactly this, instead of the preset's area in the picture's shape
    avoid: tuple[str, ...] = ()  # what must not be seen
    guide: Guide | None = None  # a video that the film follows; None: that of `parent`
    timing: Timing | None = None  # None: that of the film that is continued; of a new one, the preset's
    loras: tuple[Lora, ...] | None = None  # of the library. None: those of the film that is continued, or none
    discard_frames: int | None = None  # of the end of every window. None: as in the film that is continued, or none


def compile_plan(storyboard: Storyboard, facts: Facts) -> Plan:
    """The plan that films a storyboard. Same storyboard and facts, same plan."""
    discarded = _discarded(facts)
    storyboard = _shown(storyboard, discarded)
    anchors = _anchors(storyboard, facts.images)
    source = _source(storyboard, facts)
    model, loras, sampling = facts.preset.model, facts.preset.loras, facts.preset.sampling
    if facts.parent and facts.parent.plan.model != model:  # a tail latent is of use to its own model alone
        parent = facts.parent.plan
        model, loras, sampling = parent.model, parent.loras, parent.sampling
    parents = facts.parent.plan.chosen_loras if facts.parent else ()
    loras = _with_chosen(loras, parents if facts.loras is None else facts.loras)
    triggers = triggers_of(loras)
    timing = facts.timing or (facts.parent.plan.timing if facts.parent else facts.preset.timing)
    windows = [
        Window(
            prompt=compile_prompt(window, triggers),
            beats=beat_spans(window, triggers),
            negative=negative_of(facts.avoid),
            seed=window_seed(facts.seed, source.head_windows + number),
            anchor=None if isinstance(source, StartImage) and anchor == source.image and number == 1 else anchor,
        )
        for number, (window, anchor) in enumerate(zip(storyboard.windows, anchors, strict=True), start=1)
    ]
    return Plan(
        storyboard=storyboard,
        size=_size(storyboard, facts),
        source=source,
        windows=tuple(windows),
        sampling=sampling,
        seed=facts.seed,
        model=model,
        loras=loras,
        timing=timing,
        finish=facts.parent.plan.finish if facts.parent else Finish(),  # a film has one size, and one look
        color_correction=facts.parent.plan.color_correction if facts.parent else 0.0,
        guide=facts.guide or (facts.parent.plan.guide if facts.parent else None),  # it runs beside the whole film
        discard_frames=discarded,
    )


def negative_of(avoid: tuple[str, ...]) -> str:
    """The stock negative prompt, and behind it what a person does not want to see."""
    return ", ".join([negative_prompt(), *avoid])


def reseed(plan: Plan, seed: Seed) -> Plan:
    """The same film with other noise: another take."""
    windows = [
        window.model_copy(update={"seed": window_seed(seed, plan.first_window + index)})
        for index, window in enumerate(plan.windows)
    ]
    return plan.model_copy(update={"seed": seed, "windows": tuple(windows)})


def rewrite(plan: Plan, storyboard: Storyboard, images: tuple[Image, ...] = ()) -> Plan:
    """The same film from another storyboard: same source and seed. Windows behind the former ones get seeds of their
    own. With `images`, which the storyboard numbers, it says which picture belongs where; else pictures stay."""
    storyboard = _shown(storyboard, plan.discard_frames)
    anchors: list[MediaId | None] = [window.anchor for window in plan.windows]
    anchors += [None] * (len(storyboard.windows) - len(anchors))
    source = plan.source
    if images:
        anchors = _anchors(storyboard, images)
        if isinstance(source, StartImage):
            source = StartImage(image=_start(storyboard, images).media)
            anchors[0] = None
    windows = [
        Window(
            prompt=compile_prompt(window, triggers_of(plan.loras)),
            beats=beat_spans(window, triggers_of(plan.loras)),
            negative=plan.windows[0].negative,
            seed=window_seed(plan.seed, plan.first_window + index),
            anchor=anchors[index],
        )
        for index, window in enumerate(storyboard.windows)
    ]
    return Plan(**{**dict(plan), "storyboard": storyboard, "windows": tuple(windows), "source": source})


def retune(plan: Plan, preset: Preset | None, size: Size | None) -> Plan:
    """The same film in another way: sampler and LoRAs of a preset of the same model, and a size where it is free. None
    leaves what is there."""
    changes: dict[str, object] = {}
    if preset and preset.model == plan.model:
        changes = {"sampling": preset.sampling, "loras": _with_chosen(preset.loras, plan.chosen_loras)}
    if size and isinstance(plan.source, StartImage):
        changes["size"] = size
    return plan.model_copy(update=changes)


def styled(plan: Plan, chosen: tuple[Lora, ...]) -> Plan:
    """The same film with these LoRAs of the library, and with none that was chosen before."""
    changed = plan.model_copy(update={"loras": _with_chosen(plan.loras, chosen)})
    return rewrite(changed, plan.storyboard)


def triggers_of(loras: tuple[Lora, ...]) -> tuple[str, ...]:
    """The words of LoRAs that every prompt begins with, each once."""
    return tuple(dict.fromkeys(trigger for lora in loras for trigger in lora.triggers))


def compile_prompt(window: StoryboardWindow, triggers: tuple[str, ...] = ()) -> str:
    """What the network reads of a window: words of its LoRAs, scene, beats in the window's own seconds, camera.

    >>> from storage.schema import Beat
    >>> compile_prompt(StoryboardWindow(scene="A dog.", beats=(Beat(seconds=3.25, action="it runs"),), camera="static"))
    'A dog. (at 3.25 seconds: it runs). Camera: static.'
    """
    beats = " ".join(map(_timed, window.beats))
    late = [beat.seconds for beat in window.beats if beat.seconds > WINDOW_SECONDS]
    if late:
        raise ValueError(f"a beat must lie within the window's {WINDOW_SECONDS} s, got {late[0]}")
    camera = f"Camera: {window.camera}" if window.camera else ""
    return " ".join(_closed(part) for part in (*_opening(window, triggers), beats, camera) if part)


def beat_spans(window: StoryboardWindow, triggers: tuple[str, ...] = ()) -> tuple[BeatSpan, ...]:
    """Where compile_prompt(window, triggers) tells of each beat, brackets included."""
    start, spans = sum(len(_closed(part)) + 1 for part in _opening(window, triggers)), []
    for beat in window.beats:
        stop = start + len(_timed(beat))
        spans.append(BeatSpan(start=start, stop=stop, seconds=beat.seconds))
        start = stop + 1  # behind the space between two beats
    return tuple(spans)


def window_seed(seed: Seed, number: int) -> Seed:
    """The seed of window `number` of a film, counted from 1.

    SVI needs other noise in every window, or artefacts pile up. The number counts in the whole film, so the third
    window gets the same noise whether it is filmed in one go or continues a film of two windows with the same seed.
    """
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _opening(window: StoryboardWindow, triggers: tuple[str, ...]) -> list[str]:
    """What a prompt says before its beats. Words of LoRAs that the storyboard says by itself are not said twice."""
    said = " ".join([window.scene, *(beat.action for beat in window.beats), window.camera]).casefold()
    lead = ", ".join(trigger for trigger in triggers if trigger.casefold() not in said)
    return [part for part in (lead, window.scene.strip()) if part]


def _with_chosen(loras: tuple[Lora, ...], chosen: tuple[Lora, ...]) -> tuple[Lora, ...]:
    """A preset's LoRAs out of `loras`, and behind them those that were chosen from the library."""
    return (*(lora for lora in loras if not lora.sha256), *chosen)


def _timed(beat: Beat) -> str:
    return f"(at {_short(beat.seconds)} seconds: {beat.action})"


def _short(seconds: float) -> str:
    return f"{round(seconds, 2):g}"


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", "。", "！", "？")) else sentence + "."


def _discarded(facts: Facts) -> int:
    """Frames that every window discards. A film keeps its own number: its seconds are counted by equal windows."""
    if facts.parent is None:
        return facts.discard_frames or 0
    own = facts.parent.plan.discard_frames
    if facts.discard_frames not in (None, own):
        raise UserError(
            f"The film that goes on discards {own} frames of each window, so what follows cannot discard "
            f"{facts.discard_frames}: start a new film for that."
        )
    return own


def _shown(storyboard: Storyboard, discarded: int) -> Storyboard:
    """A storyboard whose beats begin where their windows are shown: not in an end that is discarded."""
    end = window_seconds(discarded)

    def moved(beat: Beat) -> Beat:
        within = end < beat.seconds <= WINDOW_SECONDS
        return beat.model_copy(update={"seconds": end - LAST_BEAT_SECONDS}) if within else beat

    windows = tuple(w.model_copy(update={"beats": tuple(map(moved, w.beats))}) for w in storyboard.windows)
    return storyboard.model_copy(update={"windows": windows})


def _anchors(storyboard: Storyboard, images: tuple[Image, ...]) -> list[MediaId | None]:
    numbers = [window.anchor for window in storyboard.windows]
    for number in numbers:
        if number is not None and number > len(images):
            raise missing_picture(number, len(images))
    return [None if number is None else images[number - 1].media for number in numbers]


def _start(storyboard: Storyboard, images: tuple[Image, ...]) -> Image:
    """The picture that the film starts from: the one of window 1, or else the first."""
    if not images:
        raise UserError(NO_PICTURE)
    return images[(storyboard.windows[0].anchor or 1) - 1]


def _source(storyboard: Storyboard, facts: Facts) -> Source:
    if facts.parent:
        film = facts.parent.film
        return ContinueTake(
            video=film.video, tail=film.tail, head_windows=facts.parent.windows, head_frames=film.frames
        )
    if facts.clip:
        return ContinueVideo(video=facts.clip.media, keep_frames=facts.keep_frames)
    return StartImage(image=_start(storyboard, facts.images).media)


def _size(storyboard: Storyboard, facts: Facts) -> Size:
    """A continuation keeps its film's size. Else what was asked for, or the preset's area in the picture's shape."""
    if facts.parent:
        return facts.parent.plan.size
    if facts.size:
        return facts.size
    shape = facts.clip or _start(storyboard, facts.images)
    return fit_area(shape.width, shape.height, facts.preset.budget)
