"""A language model's edits of a storyboard: it names the places that change and writes them anew, nothing else.

A model that cannot is dictated the rules' edits, and adds how each is done.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.brief import Brief
from planner.compiler import compile_prompt
from planner.edits import Edit, apply
from planner.filled import LONGEST, Unreadable, an_object, field, joined, line, parsed, plain, plain_text, sentence
from planner.language.model import JsonSchema, Message, Question
from planner.prompting import disarmed, quoted, system_message
from planner.revision import unwanted
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


@dataclass(frozen=True)
class DictatedEdits:
    """The rules' edits of a form's storyboard; those with words can be told in more words."""

    form: EditForm
    edits: Sequence[Edit]

    @property
    def schema(self) -> JsonSchema:
        """For each edit with words, how it is done or looks."""
        return an_object({f"how_{number}": plain_text("how") for number in self._told()})

    def read(self, answer: str) -> list[Edit]:
        """The rules' edits with what a filled form adds. What adds a fault is left out."""
        filled = parsed(answer)
        edits = list(self.edits)
        for number, edit in self._told().items():
            how = plain(field(filled, f"how_{number}", str), "how")
            text = f"{edit.text} {sentence(how)}".strip() if edit.part == "scene" else joined(edit.text, how)
            more = [*edits[: number - 1], replace(edit, text=text), *edits[number:]]
            edits = more if set(edit_faults(more, self.form)) <= set(edit_faults(edits, self.form)) else edits
        return edits

    @property
    def can_be_dictated(self) -> bool:
        """Whether there is an edit that can be told in more words."""
        return bool(self._told())

    @property
    def exact(self) -> bool:
        """Whether only numbers change, so that there is nothing to write."""
        return bool(self.edits) and all(edit.part == "anchor" for edit in self.edits)

    def _told(self) -> dict[int, Edit]:
        """The edits that have words, by number."""
        return {n: edit for n, edit in enumerate(self.edits, start=1) if edit.text and edit.part != "anchor"}

    def question(self) -> Question:
        """How the rules' edits are done."""
        lines = [
            "A storyboard was changed as a person wished. `how_1` and so on: how each change is done, or what it",
            "looks like, in a few words. Repeat nothing. The changes:",
            *(f"  {number}: {edit.part}: {disarmed(edit.text)}" for number, edit in self._told().items()),
            f"The wish: {quoted(self.form.brief.story)}",
        ]
        return Question(
            (system_message(), Message("user", "\n".join(lines))),
            self.schema,
            100 + len(self._told()) * (LONGEST["how"] + 20),
        )


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
