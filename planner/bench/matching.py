"""Where a storyboard holds what was asked.

An event is found in a beat whose action holds one alternative of each of its groups. A camera event may stand in a
window's camera instead, an event of the setting in its scene; what one window after the other repeats is one stretch
that begins in the first of them. A beat shows at most two actions, and one that tells more of them counts only where
it is said first: a request copied into one beat, or into all, is no plan.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from planner.bench.cases import Event, EventKind, Groups
from storage.schema import Storyboard, StoryboardWindow
from storage.timeline import DROPPED_FRAMES, FPS, WINDOW_SECONDS, film_time, window_at

ACTIONS_PER_BEAT = 2
FIRST_SHOWN = DROPPED_FRAMES / FPS  # 0.3125: where a later window begins to be seen
LATE = 0.25  # what is said for the last quarter of a second of a window may begin the next one
ROUNDED = 0.02  # of the first shown second, to two digits


# ---- words ----------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Lower case, and letters without their accents."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def holds(text: str, groups: Groups) -> bool:
    """Whether one alternative of each group is in the text."""
    return all(any(contains(text, words) for words in group) for group in groups)


def contains(text: str, alternative: str) -> bool:
    """Whether the words of one alternative follow each other in the text; adverbs in -ly may stand between them.

    Scripts that put no space between words are searched for the characters.
    """
    text, alternative = plain(text), plain(alternative)
    if re.search(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]", alternative):
        return alternative in text
    pattern = r"(?:\s+\w+ly)*[\s-]+".join(
        re.escape(word[:-1]) + r"\b" if word.endswith(".") else re.escape(word) + r"\w*" for word in alternative.split()
    )
    return re.search(r"(?<!\w)" + pattern, text) is not None


# ---- places ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A beat, from 1; or, as beat 0, the camera or scene of the windows from `window` to `last`."""

    window: int
    beat: int
    last: int
    earliest: float  # seconds of the film
    latest: float

    @property
    def position(self) -> tuple[int, int]:
        """Sorts places as the film shows them."""
        return self.window, self.beat


def places(event: Event, board: Storyboard) -> tuple[Place, ...]:
    """Everywhere that the event is written."""
    beats = tuple(
        Place(number, index, number, film_time(number, beat.seconds), film_time(number, beat.seconds))
        for number, window in enumerate(board.windows, 1)
        for index, beat in enumerate(window.beats, 1)
        if holds(beat.action, event.words)
    )
    return (*_stretches(event, board), *beats)


def _stretches(event: Event, board: Storyboard) -> tuple[Place, ...]:
    """Runs of windows whose camera or scene holds the event; a run begins somewhere in its first window."""
    inside = [_described(event, window) for window in board.windows]
    found = []
    for number, now in enumerate(inside, 1):
        if now and not (number > 1 and inside[number - 2]):
            last = number
            while last < len(inside) and inside[last]:
                last += 1
            first_shown = FIRST_SHOWN if number > 1 else 0.0
            found.append(Place(number, 0, last, film_time(number, first_shown), film_time(number, WINDOW_SECONDS)))
    return tuple(found)


def _described(event: Event, window: StoryboardWindow) -> bool:
    if event.kind is EventKind.CAMERA:
        return holds(window.camera, event.words)
    return event.kind is EventKind.SETTING and holds(window.scene, event.words)


def time_error(event: Event, place: Place) -> float:
    """Seconds between the said time and the nearest moment of the place; 0 if no time was said."""
    if event.span is None:
        return 0.0
    earliest, latest = event.span
    window, seconds = window_at(latest)
    if seconds > WINDOW_SECONDS - LATE:
        latest = film_time(window + 1, FIRST_SHOWN + ROUNDED)
    return max(0.0, place.earliest - latest, earliest - place.latest)


# ---- matching -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """Where each event was found, None if nowhere; and whether the order was kept, None if there was none to keep."""

    places: tuple[Place | None, ...]
    ordered: bool | None


def match(events: Sequence[Event], board: Storyboard, windows: Sequence[frozenset[int] | None]) -> Match:
    """Give each event a place: as many as possible, then in order, then with the least error.

    `windows` are those that an event's picture is in force in, None where none was asked for; a place outside them
    costs as much as a minute, so that a repeated word is read where it does the board most credit.
    """
    copies = _copies(events, board)
    candidates = [tuple(p for p in places(event, board) if p.position not in copies) for event in events]

    def cost(index: int, place: Place) -> float:
        asked = windows[index]
        return time_error(events[index], place) + (60.0 if asked is not None and place.window not in asked else 0.0)

    costs = [[cost(index, place) for place in options] for index, options in enumerate(candidates)]
    found = [_cheapest(options, prices) for options, prices in zip(candidates, costs, strict=True)]
    chain = [index for index, event in enumerate(events) if not event.anytime]
    takes_room = [events[index].kind is EventKind.ACTION for index in chain]
    options = [candidates[index] for index in chain]
    seated = _seat(options, takes_room)
    in_order = _in_order(options, [costs[index] for index in chain], takes_room)
    count = sum(seated)
    ordered = sum(place is not None for place in in_order) == count
    for index, has_seat, place in zip(chain, seated, in_order, strict=True):
        found[index] = place if ordered else (found[index] if has_seat else None)
    return Match(tuple(found), ordered if count > 1 else None)


def _copies(events: Sequence[Event], board: Storyboard) -> frozenset[tuple[int, int]]:
    """Positions of beats that repeat, word for word, an earlier one with more actions than a beat can show."""
    actions = [event.words for event in events if event.kind is EventKind.ACTION]
    said: set[str] = set()
    copies = []
    for number, window in enumerate(board.windows, 1):
        for index, beat in enumerate(window.beats, 1):
            if beat.action in said and sum(holds(beat.action, words) for words in actions) > ACTIONS_PER_BEAT:
                copies.append((number, index))
            said.add(beat.action)
    return frozenset(copies)


def _cheapest(options: Sequence[Place], costs: Sequence[float]) -> Place | None:
    return options[costs.index(min(costs))] if options else None


def _seat(options: Sequence[Sequence[Place]], takes_room: Sequence[bool]) -> list[bool]:
    """Which events find room when order does not matter (augmenting paths)."""
    sitting: dict[tuple[int, int], list[int]] = {}

    def seat(event: int, tried: set[tuple[int, int]]) -> bool:
        for place in options[event]:
            if place.position in tried:
                continue
            tried.add(place.position)
            here = sitting.setdefault(place.position, [])
            if len(here) < ACTIONS_PER_BEAT:
                here.append(event)
                return True
            for other in tuple(here):
                if seat(other, tried):
                    here[here.index(other)] = event
                    return True
        return False

    return [
        seat(event, set()) if room else bool(places_of)
        for event, (places_of, room) in enumerate(zip(options, takes_room, strict=True))
    ]


def _in_order(
    options: Sequence[Sequence[Place]], costs: Sequence[Sequence[float]], takes_room: Sequence[bool]
) -> tuple[Place | None, ...]:
    """The places that find most events one after the other, with the least cost."""
    Best = tuple[int, float, tuple[Place | None, ...]]

    @cache
    def best(event: int, at: tuple[int, int], load: int) -> Best:
        if event == len(options):
            return 0, 0.0, ()
        found, saved, rest = best(event + 1, at, load)
        result: Best = (found, saved, (None, *rest))
        for place, cost in zip(options[event], costs[event], strict=True):
            reached = max(at, place.position)
            room = load if reached == at else 0
            room += takes_room[event]
            too_late = at[0] > place.last or (place.beat > 0 and place.position < at)
            if too_late or (takes_room[event] and room > ACTIONS_PER_BEAT):
                continue
            found, saved, rest = best(event + 1, reached, room)
            result = max(result, (found + 1, saved - cost, (place, *rest)), key=lambda choice: choice[:2])
        return result

    return best(0, (0, 0), 0)[2]
