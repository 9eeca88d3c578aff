"""Cues: the events of a story, each in the window and at the second where it must be seen.

They are what the rules and a language model have in common: the rules film them as they are, a model may say them
better, and whatever it writes is held against them.
"""

from dataclasses import dataclass

from planner.brief import Brief
from planner.pacing import Timed, place_events
from planner.story import read_story

FIRST_BEAT_SECONDS = 0.32  # of a later window: the first moment that is shown, 0.3125 s, in two digits


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
    return min(max(round(seconds, 2), first), brief.clock.last_shown)
