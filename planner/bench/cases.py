"""The examination's cases as frozen values, read from cases.json.

A case says what a person wrote and what must come out, in words that any director can meet: the rules, a language
model in a file, a server. Windows, events and pictures are counted from 1; seconds are of the film.

How words are written: a group lists alternatives, of which one must appear. An alternative is the beginning of a word
("jump" is in "jumping"), or a whole word if it ends with a full stop ("car." is not in "carry"), or several of both
("zoom out"). A case in another language lists the original stem and English ones, since a model may translate.
"""

import json
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from storage.schema import IntentKind, Storyboard, Value, Wishes
from storage.timeline import continuation_windows_for, windows_for

Alternative = Annotated[str, StringConstraints(min_length=1, pattern=r"\w")]
Group = Annotated[tuple[Alternative, ...], Field(min_length=1)]
Groups = Annotated[tuple[Group, ...], Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0)]
Number = Annotated[int, Field(ge=1)]


class EventKind(StrEnum):
    """Where an event may be written, besides a beat."""

    ACTION = "action"  # nowhere else
    CAMERA = "camera"  # in a window's camera
    SETTING = "setting"  # in a window's scene: place, light, weather


class Event(Value):
    """Something that the film must show."""

    words: Groups
    kind: EventKind = EventKind.ACTION
    seconds: Seconds | tuple[Seconds, Seconds] | None = None  # a pair: anywhere from the one to the other
    anytime: bool = False  # holds throughout or has no place in the order

    @property
    def span(self) -> tuple[float, float] | None:
        """Earliest and latest second that meets the request."""
        if self.seconds is None or isinstance(self.seconds, tuple):
            return self.seconds
        return self.seconds, self.seconds


class AnchorAt(Value):
    """Which picture must be in force in the first window, in the last, or in the window of event number `at`."""

    at: Literal["start", "end"] | Number
    picture: Number


class Story(Value):
    """A request and what its storyboard must hold."""

    id: str
    text: str
    language: str = "en"
    pictures: Annotated[int, Field(ge=0, le=4)] = 1
    names: tuple[str, ...] = ()  # of the pictures, if they matter
    length: Annotated[float, Field(gt=0)] | None = None  # seconds, if the person said one
    events: tuple[Event, ...] = ()
    anchors: tuple[AnchorAt, ...] = ()
    absent: tuple[Alternative, ...] = ()  # words that would harm the prompt wherever they stand

    @property
    def windows(self) -> int | None:
        """Windows of the film, None if the director chooses."""
        return None if self.length is None else windows_for(self.length)

    @property
    def most_windows(self) -> int | None:
        """More windows than this are a raised limit, None if nothing is wrong with any number."""
        return None


class FilmCase(Story):
    """A film from nothing but words and pictures."""


class SettingsCase(Story):
    """Settings by words, or words that only look like settings. Without events it is a word about settings alone."""

    wishes: Wishes = Wishes()


class SafetyCase(Story):
    """Text that tries to be more than a story. A valid storyboard within `ceiling` windows must come out, no more."""

    ceiling: Number = 6

    @property
    def most_windows(self) -> int | None:
        """The limit that the text must not raise."""
        return self.ceiling


class Context(Value):
    """What stands around a message."""

    replies_to_take: bool = False
    last_take: bool = False  # the channel has a finished film
    draft: bool = False  # a storyboard is shown and waits for a word
    filming: bool = False  # a job of this person is queued or running


class ConversationCase(Story):
    """A message in its context. The first intent is the best; the others are as good where the words allow both."""

    context: Context = Context()
    intents: Annotated[tuple[IntentKind, ...], Field(min_length=1)]

    @property
    def windows(self) -> int | None:
        """New windows of a continuation; of a film as ever."""
        if self.length is not None and self.intents[0] is IntentKind.CONTINUE:
            return continuation_windows_for(self.length)
        return super().windows


class WordsIn(Value):
    """Words that each of these windows must hold, or must hold no longer."""

    windows: Annotated[tuple[Number, ...], Field(min_length=1)]
    words: Groups


class Part(StrEnum):
    """What a window consists of."""

    SCENE = "scene"
    BEATS = "beats"
    CAMERA = "camera"
    ANCHOR = "anchor"


class RevisionCase(Value):
    """A wish about a storyboard. What was not asked to change must stay word for word."""

    id: str
    text: str
    language: str = "en"
    board: str  # name of the former storyboard
    may_change: Annotated[tuple[Number, ...], Field(min_length=1)]
    keep: tuple[Part, ...] = ()  # parts that stay also in the windows that may change
    appear: tuple[WordsIn, ...] = ()
    gone: tuple[WordsIn, ...] = ()
    anchors: tuple[AnchorAt, ...] = ()  # at the start or the end


class Cases(Value):
    """The whole examination."""

    boards: dict[str, Storyboard]
    film: tuple[FilmCase, ...]
    conversation: tuple[ConversationCase, ...]
    revision: tuple[RevisionCase, ...]
    settings: tuple[SettingsCase, ...]
    safety: tuple[SafetyCase, ...]

    @property
    def stories(self) -> tuple[Story, ...]:
        """Every case from which a storyboard is made from nothing."""
        return (*self.film, *(case for case in self.settings if case.events), *self.safety)


def load_cases() -> Cases:
    """The cases that ship."""
    return Cases.model_validate(json.loads((files("planner.bench") / "cases.json").read_text(encoding="utf-8")))
