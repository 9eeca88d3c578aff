"""Whether a storyboard tells what was asked for. Faults are sentences, for the model that is asked to mend them."""

import re
from collections.abc import Iterator

from planner.compiler import compile_prompt
from planner.filled import is_wordy
from planner.form import Form, Sketch
from planner.tokens import PROMPT_TOKENS, count_tokens
from planner.words import is_english, tells

TIME_SECONDS = 0.05  # a said time is kept within this

_CUTS = re.compile(
    r"\b(?:cut to|hard cut|jump cut|smash cut|cut away|cross-?fade to|fade to the next)\b", re.IGNORECASE
)


def faults(sketch: Sketch, form: Form) -> list[str]:
    """What is wrong with a storyboard, in the order of the film; nothing where it tells the whole story."""
    found = _missing(sketch, form), _disorder(sketch), _late(sketch, form), _words(sketch, form), _scenes(sketch, form)
    return [fault for kind in found for fault in kind]


def covered(sketch: Sketch) -> set[int]:
    """Numbers of the events that are in some beat."""
    return {event for own in sketch.events for event in own if event}


def _missing(sketch: Sketch, form: Form) -> Iterator[str]:
    seen = covered(sketch)
    for number, cue in form.expected.items():
        if number not in seen:
            yield f"Event {number} is in no beat: {cue.action}."


def _disorder(sketch: Sketch) -> Iterator[str]:
    last = 0
    for event in (event for own in sketch.events for event in own if event):
        if event < last:
            yield f"Event {event} comes after event {last}: keep the order of the story."
        last = max(last, event)


def _late(sketch: Sketch, form: Form) -> Iterator[str]:
    """Said times that were not kept. The first beat of an event counts."""
    seen: set[int] = set()
    for window, told, own in zip(form.span, sketch.windows, sketch.events, strict=True):
        for beat, event in zip(told.beats, own, strict=True):
            if event and event not in seen:
                seen.add(event)
                cue = form.cues[event - 1]
                if cue.said and (window != cue.window or abs(beat.seconds - cue.seconds) > TIME_SECONDS):
                    yield f"Event {event} must begin at {cue.seconds:g} seconds of window {form.number(cue.window)}."


def _words(sketch: Sketch, form: Form) -> Iterator[str]:
    """Beats that are numbered as an event and say something else."""
    for told, own in zip(sketch.windows, sketch.events, strict=True):
        for beat, event in zip(told.beats, own, strict=True):
            if event and not tells(f"{told.scene} {beat.action}", form.cues[event - 1].action):
                yield f"The beat of event {event} must show this: {form.cues[event - 1].action}."


def _scenes(sketch: Sketch, form: Form) -> Iterator[str]:
    asked = form.brief.story
    for window, told in zip(form.span, sketch.windows, strict=True):
        number, rule = form.number(window), form.rules.windows[window]
        if not is_wordy(told.scene, 3):
            yield f"The scene of window {number} does not say what is seen."
        if rule.camera and (not told.camera or (is_english(asked) and not tells(told.camera, rule.camera))):
            yield f"The camera of window {number} must be: {rule.camera}."
        text = compile_prompt(told)
        if _CUTS.search(text) and not _CUTS.search(asked):
            yield f"Window {number} cuts: the film is one unbroken shot."
        if (tokens := count_tokens(text)) > PROMPT_TOKENS:
            yield f"Window {number} has about {tokens} tokens: {PROMPT_TOKENS} at most."
