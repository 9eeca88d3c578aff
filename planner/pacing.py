"""When each event of a story happens: said times are kept, the others are spread between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from planner.anchors import Place
from planner.brief import Clock
from planner.story import Event, Story
from planner.times import Mark, Sense
from storage.timeline import continuation_windows_for, windows_for

BEATS_PER_WINDOW = 2  # where no length was said
SHORTEST_SECONDS = 0.5  # a beat needs this much of its window, or it starts the next one: 8 frames
LAST_SECONDS = 1.5  # what the last event gets where no length was said
PREMISE_SECONDS = 2.5  # how long an opening that only says who and where is shown before something happens


@dataclass(frozen=True)
class Timed:
    """An event at its second of the film."""

    seconds: float
    event: Event


def count_windows(story: Story, seconds: float | None, head_seconds: float, pictures: int, discarded: int = 0) -> int:
    """How many new windows a story needs, each of which discards so many frames of its end.

    A said length counts, unless an event is said to happen after it. Without one there are at most two beats a
    window, unless the story says all its times, and the last of those gets time to be seen. Pictures that the story
    places get a window each in any case; pictures that it does not mention extend a film of no said length.
    """
    clock = Clock(1, head_seconds, discarded)
    mentioned = [mention for event in story.events for mention in event.mentions]
    by_pictures = len({mention.picture for mention in mentioned})
    if mentioned and not clock.continues and not _starts_with_picture(story):
        by_pictures += 1
    latest, following = _latest(story.events, clock)
    if seconds is None:
        room = LAST_SECONDS * (1 + following) if latest > head_seconds else 0.0
        by_times = clock.at(latest + room)[0] + 1
        acts = [event for event in story.events if event.action]
        beats = len(acts) if any(event.mark is None for event in acts) else 0
        return max(1, math.ceil(beats / BEATS_PER_WINDOW), by_times, by_pictures if mentioned else pictures)
    by_length = (continuation_windows_for if clock.continues else windows_for)(seconds, discarded)
    late = latest > head_seconds + seconds
    return max(by_length, clock.at(latest + SHORTEST_SECONDS)[0] + 1 if late else 1, by_pictures)


def place_events(story: Story, clock: Clock) -> list[Timed]:
    """The events that have a place in the order of events, each at its second of the film, which never falls."""
    base = _base(story.events, clock)
    main, asides = _told_apart(story.events)
    opening = PREMISE_SECONDS if story.premise and not clock.continues else 0.0
    timed = _place(main, base, clock, opening) + _place(asides, base, clock, 0.0)
    return sorted(timed, key=lambda item: item.seconds)


def _starts_with_picture(story: Story) -> bool:
    if any(mention.place is Place.START for event in story.events for mention in event.mentions):
        return True
    first = next((event for event in story.events if event.has_place), None)
    return first is not None and bool(first.mentions) and first.mark is None and not story.premise


def _told_apart(events: Sequence[Event]) -> tuple[list[Event], list[Event]]:
    """What happens, and asides: camera moves and pictures with times of their own, which leave its time alone.

    "He runs, then zoom out": a move that follows an action without a time has its place among the actions.
    """
    main: list[Event] = []
    asides: list[Event] = []
    follows = True
    for event in events:
        if event.has_place:
            follows = bool(event.action) or (follows and event.mark is None)
            (main if follows else asides).append(event)
    return main, asides


def _place(events: list[Event], base: float, clock: Clock, opening: float) -> list[Timed]:
    events = _in_time_order(events, base, clock)
    said: list[float | None] = []
    gaps: list[float] = []
    last: float | None = None
    for previous, event in pairwise([None, *events]):
        assert event is not None
        time, gap = _relative(event, previous, _said(event.mark, base, clock), last, base)
        last = last if time is None else time
        said.append(time)
        gaps.append(gap)
    times = _fit(_spread(said, gaps, clock, opening), said, events, clock)
    return [Timed(time, event) for time, event in zip(times, events, strict=True)]


def times_count_from_new_part(story: Story, head_seconds: float) -> bool:
    """Whether the times of a continuation must be seconds of the new part, since one lies in what is filmed already."""
    return head_seconds > 0 and any(
        _is_film_time(e.mark) and e.mark.value < head_seconds for e in story.events if e.mark
    )


def _base(events: Sequence[Event], clock: Clock) -> float:
    """What must be added to said seconds: 0, or the head's length where they count from the new part."""
    return clock.head_seconds if times_count_from_new_part(Story("", (), tuple(events)), clock.head_seconds) else 0.0


def _is_film_time(mark: Mark | None) -> bool:
    return mark is not None and mark.sense in (Sense.AT, Sense.AFTER)


def _said(mark: Mark | None, base: float, clock: Clock) -> float | None:
    """Film time of a mark; None where it has none or is relative to the event before."""
    if mark is None:
        return None
    if _is_film_time(mark):
        return base + mark.value
    if mark.sense is Sense.SHARE:
        return clock.head_seconds + mark.value * (clock.end - clock.head_seconds)
    return clock.end - mark.value if mark.sense is Sense.BEFORE_END else None


def _relative(
    event: Event, previous: Event | None, said: float | None, last: float | None, base: float
) -> tuple[float | None, float]:
    """(film time, gap to the event before): "3 s later", "after 3 s" behind 8 s, and what follows "for 3 seconds"."""
    mark = event.mark
    if mark and mark.sense is Sense.LATER and previous:
        return None, mark.value
    if mark and mark.sense is Sense.AFTER and previous and last is not None and said is not None and said <= last:
        return None, mark.value
    if mark is None and previous:
        if previous.until is not None:
            return base + previous.until, 0.0
        return None, previous.lasts or (previous.mark.lasts if previous.mark else 0.0)
    return said, 0.0


def _in_time_order(events: Sequence[Event], base: float, clock: Clock) -> list[Event]:
    """Events said out of order, sorted by their times; those without a time stay behind the event that they follow."""
    groups: list[tuple[float, list[Event]]] = [(-math.inf, [])]
    endings: list[tuple[float, list[Event]]] = []
    for event in events:
        time = _said(event.mark, base, clock)
        if event.mark and event.mark.sense is Sense.BEFORE_END:
            endings.append((math.inf, [event]))
        elif time is None or (event.mark and event.mark.sense is Sense.AFTER):
            groups[-1][1].append(event)
        else:
            groups.append((time, [event]))
    ordered = sorted(groups, key=lambda group: group[0]) + endings
    return [event for _, group in ordered for event in group]


def _latest(events: Sequence[Event], clock: Clock) -> tuple[float, int]:
    """Film time of the last event whose time was said in seconds, gaps after it included, and how many follow it."""
    base, time = _base(events, clock), clock.head_seconds
    latest, following = time, 0
    for previous, event in pairwise([None, *events]):
        assert event is not None
        mark = event.mark
        following += bool(event.action)
        if mark and _is_film_time(mark):
            time = base + mark.value if mark.sense is Sense.AT or base + mark.value > time else time + mark.value
        elif mark and mark.sense is Sense.LATER:
            time += mark.value
        elif previous and mark is None and (previous.lasts or previous.until is not None):
            time = base + previous.until if previous.until is not None else time + previous.lasts
        else:
            continue
        if time >= latest:
            latest, following = time, 0
    return latest, following


def _spread(said: list[float | None], gaps: list[float], clock: Clock, opening: float) -> list[float]:
    """Film times for all events: a run without times is spread evenly between its timed neighbours."""
    times, rights = [0.0] * len(said), _rights(said, clock.end)
    index, left, bounded = 0, clock.head_seconds, False
    while index < len(said):
        if (time := said[index]) is not None:
            times[index] = left = max(time, left)
            index, bounded = index + 1, True
            continue
        if gaps[index] and index:
            times[index] = left = times[index - 1] + gaps[index]
            index, bounded = index + 1, True
            continue
        stop = next((i for i in range(index, len(said)) if said[i] is not None or gaps[i]), len(said))
        right = rights[stop - 1] - sum(takewhile(bool, gaps[stop : stop + 8]))
        if not bounded and opening:
            left += min(opening, (right - left) / (stop - index + 1))
        step = max(0.0, right - left) / (stop - index + bounded)
        times[index:stop] = [left + step * (i + bounded) for i in range(stop - index)]
        index, left, bounded = stop, times[stop - 1], True
    return times


def _rights(said: Sequence[float | None], end: float) -> list[float]:
    """For each event the next said time behind it; `end` where there is none."""
    rights, right = [], end
    for time in reversed(said):
        rights.append(right)
        right = right if time is None else time
    return rights[::-1]


def _fit(times: Sequence[float], said: Sequence[float | None], events: Sequence[Event], clock: Clock) -> list[float]:
    """Film times moved to where they can be seen, in order.

    A beat in the last half second of a window would not be filmed by it, so it opens the next one. A beat whose time
    nobody said does so in the last second, so that every window has something to do, and where it brings a picture,
    which comes with a window's beginning.
    """
    fitted: list[float] = []
    latest = clock.head_seconds
    for wish, said_time, event, right in zip(times, said, events, _rights(said, math.inf), strict=True):
        window, _ = clock.at(max(wish, clock.head_seconds))
        following = clock.shown_from(window + 1)
        left = clock.shown_until(window) - wish
        time = wish
        if said_time is None and any(mention.place is Place.HERE for mention in event.mentions):
            time = _window_start(wish, window, latest if fitted else -math.inf, clock)
        elif window + 1 < clock.windows and following < right:
            time = following if left < SHORTEST_SECONDS * (1 if said_time is not None else 2) else wish
        latest = min(max(time, latest), clock.end - SHORTEST_SECONDS)
        fitted.append(latest)
    return fitted


def _window_start(time: float, window: int, latest: float, clock: Clock) -> float:
    """The beginning of a window that is nearest to a time and comes after `latest`."""
    start, following = clock.shown_from(window), clock.shown_from(window + 1)
    late = start <= latest or following - time < time - start
    return following if late and window + 1 < clock.windows else max(start, latest)
