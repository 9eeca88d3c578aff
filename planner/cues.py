"""Cues: the events of a story, each in the window and at the second where it must be seen.

They are what the rules and a language model have in common: the rules film them as they are, a model may say them
better, and whatever it writes is held against them.
"""

import re
from dataclasses import dataclass

import snowballstemmer

from planner.brief import Brief
from planner.pacing import Timed, place_events
from planner.story import read_story
from planner.words import word_list
from storage.timeline import WINDOW_SECONDS

FIRST_BEAT_SECONDS = 0.32  # of a later window: the first moment that is shown, 0.3125 s, in two digits

_STEMMER = snowballstemmer.stemmer("english")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_COMMON = word_list(
    "a an the my his her their our your its this that these those he she it they we you i is are was were be been am "
    "and or but then while as so of to in into on onto at by with from for over up down out off back again very some "
    "one there here who which what where when should must will would can could do does did have has had not no "
    "starts start begins begin slowly suddenly now just like"
)
_FOREIGN = word_list(
    "der die das und ein eine einen mein meine nicht ist mit auf im am ins zum zur dann er sie es le la les un une et "
    "est dans avec puis il elle mon ma el los las y una con por que mi entonces gli che di della poi uno o os as do da "
    "em com de het een en van mijn"
)


@dataclass(frozen=True)
class Cue:
    """An event: `action` in the person's own words, in a new window counted from 0, at a second of its clock.

    `said` tells that the person gave the time. An event without one may move to a neighbouring window.
    """

    action: str
    window: int
    seconds: float
    said: bool

    def may_be_in(self, window: int) -> bool:
        """Whether the event may be seen in that window."""
        return window == self.window or (not self.said and abs(window - self.window) == 1)


def events_of(brief: Brief) -> list[Timed]:
    """The events of a brief's story at their seconds of the film, camera moves and pictures among them."""
    return place_events(read_story(brief.story, brief.pictures), brief.clock)


def cues(brief: Brief) -> tuple[Cue, ...]:
    """The cues of a brief, in the order of the film."""
    events = events_of(brief)
    if brief.first_window > 1 and brief.windows == 1 and brief.story and not any(item.event.mark for item in events):
        return (Cue(brief.story, 0, FIRST_BEAT_SECONDS, said=False),)  # word for word: one window needs no cutting
    found = []
    for item in events:
        if item.event.action:
            window, seconds = brief.clock.at(item.seconds)
            found.append(Cue(item.event.action, window, shown(window, seconds, brief), item.event.mark is not None))
    return tuple(found)


def shown(window: int, seconds: float, brief: Brief) -> float:
    """Seconds of a window in two digits, where the window is shown."""
    first = FIRST_BEAT_SECONDS if brief.clock.first_shown(window) else 0.0
    return min(max(round(seconds, 2), first), WINDOW_SECONDS)


def stems(text: str) -> set[str]:
    """What a text is about: its words without endings and without the small words of English.

    >>> sorted(stems("He runs into the water"))
    ['run', 'water']
    """
    return set(_STEMMER.stemWords([word for word in _WORD.findall(text.lower()) if word not in _COMMON]))


def tells(text: str, of: str) -> bool:
    """Whether a text speaks of what another one says: they share at least a third of its words.

    A text in another language than English may have been translated, so nothing can be told of its words.
    """
    wanted = stems(of)
    if not wanted or not is_english(of):
        return True
    return 3 * len(wanted & stems(text)) >= len(wanted)


def is_english(text: str) -> bool:
    """Whether a text reads like English: plain letters, and no more small words of its neighbours than of its own."""
    words = _WORD.findall(text.lower())
    plain = sum(word.isascii() for word in words)
    foreign, own = (sum(word in known for word in words) for known in (_FOREIGN, _COMMON))
    return 2 * plain > len(words) and foreign <= own
