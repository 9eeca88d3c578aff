"""A language model's edits of a storyboard: it names the places that change and writes them anew, nothing else."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.brief import Brief
from planner.compiler import compile_prompt
from planner.filled import LONGEST, Unreadable, an_object, field, line, parsed
from planner.language.model import JsonSchema, Message, Question
from planner.prompting import disarmed, quoted, system_message
from planner.revision import Edit, apply, unwanted
from planner.targets import find_target
from planner.tokens import PROMPT_TOKENS, count_tokens
from planner.words import tells
from storage.schema import Storyboard

MOST_EDITS = 12
_PLACE = re.compile(r"window (\d+), (?:(scene|camera)|beat (\d+)|(new beat))")


@dataclass(frozen=True)
class EditForm:
    """What may be changed of a storyboard whose first window has number `brief.first_window` in the film."""

    board: Storyboard
    brief: Brief

    @property
    def places(self) -> list[str]:
        """Every place that may change. A wish that names a window changes no other."""
        target = find_target(self.brief.story, self.board, self.brief)
        places = []
        for window in target.windows:
            name = f"window {self.brief.first_window + window}"
            beats = [f"beat {number}" for number in range(1, len(self.board.windows[window].beats) + 1)]
            places += [f"{name}, {place}" for place in ("scene", *beats, "new beat", "camera")]
        return places

    @property
    def schema(self) -> JsonSchema:
        """A list of places with their new texts; an empty text removes a beat."""
        text = {"type": "string", "maxLength": LONGEST["scene"]}
        edit = an_object({"place": {"enum": self.places}, "text": text})
        return an_object({"edits": {"type": "array", "minItems": 1, "maxItems": MOST_EDITS, "items": edit}})

    def read(self, answer: str) -> list[Edit]:
        """The edits of a filled form. Those that change nothing are left out."""
        edits = []
        for filled in field(parsed(answer), "edits", list):
            place, text = field(filled, "place", str), line(field(filled, "text", str), "scene")
            match = _PLACE.fullmatch(place)
            if match is None or place not in self.places:
                raise Unreadable(f"a place that there is not: {place[:40]}")
            window, own = int(match[1]) - self.brief.first_window, match[2]
            told = self.board.windows[window]
            beat = int(match[3]) - 1 if match[3] else len(told.beats)
            former = getattr(told, own) if own else told.beats[beat].action if match[3] else ""
            if text != former and (text or not own or own == "camera"):
                edits.append(Edit(window, own or "beat", text, beat))
        return edits


def edits_question(form: EditForm, faults: Sequence[str] = (), former: str = "") -> Question:
    """The edits that a wish asks for; with `faults`, again."""
    messages = [system_message(), Message("user", "\n".join(_task(form)))]
    if faults:
        mend = "\n".join(f"- {fault}" for fault in faults)
        messages += [Message("assistant", former), Message("user", f"Mend this:\n{disarmed(mend)}")]
    return Question(tuple(messages), form.schema, MOST_EDITS * (LONGEST["scene"] + 60))


def _task(form: EditForm) -> Iterator[str]:
    yield "Change a storyboard as the person wishes. Name only the places that must change,"
    yield "each with its whole new text."
    yield "Leave out every place that can stay as it is. An empty text removes a beat. The storyboard:"
    for number, window in enumerate(form.board.windows, start=form.brief.first_window):
        yield f"window {number}, scene: {disarmed(window.scene)}"
        for index, beat in enumerate(window.beats, start=1):
            yield f"window {number}, beat {index} at {beat.seconds:g} seconds: {disarmed(beat.action)}"
        yield f"window {number}, camera: {disarmed(window.camera)}"
    yield f"The wish: {quoted(form.brief.story)}"


def edit_faults(edits: Sequence[Edit], form: EditForm) -> list[str]:
    """What is wrong with edits: they change nothing, miss the wish, or make a prompt too long."""
    if not edits:
        return ["Nothing is changed."]
    changed = apply(edits, form.board)
    found = []
    gone = unwanted(form.brief.story)
    said = " ".join(edit.text for edit in edits)
    if gone and gone.search(" ".join(compile_prompt(window) for window in changed.windows)):
        found.append("What was to be removed or replaced is still there.")
    elif not gone and not tells(said, form.brief.story):
        found.append("The new texts do not say what the person wishes.")
    for number, window in enumerate(changed.windows, start=form.brief.first_window):
        if count_tokens(compile_prompt(window)) > PROMPT_TOKENS:
            found.append(f"Window {number} is too long.")
    return found
