"""A storyboard that meets every expectation of a case, written from the expectations alone."""

from collections.abc import Sequence

from planner.bench.cases import Event, EventKind, Story
from storage.schema import Beat, Storyboard, StoryboardWindow
from storage.timeline import film_seconds, window_at, windows_for


def words_of(event: Event) -> str:
    """One alternative of each group."""
    return " ".join(group[0].rstrip(".") for group in event.words)


def perfect_board(case: Story) -> Storyboard:
    """Each event at its said time, the others between them; pictures where they are asked for."""
    times = event_times(case)
    last_said = max((event.span[0] for event in case.events if event.span), default=1.0)
    count = case.windows or windows_for(last_said + 2)
    beats: list[list[Beat]] = [[] for _ in range(count)]
    anchors: dict[int, int] = {}
    for number, event in enumerate(case.events, 1):
        if event.anytime:
            continue
        window, seconds = window_at(times[number - 1])
        beats[window - 1].append(Beat(seconds=seconds, action=words_of(event)))
        anchors.update((window, anchor.picture) for anchor in case.anchors if anchor.at == number)
    ends = {"start": 1, "end": count}
    anchors.update((ends[anchor.at], anchor.picture) for anchor in case.anchors if anchor.at in ends)
    scene = " ".join(words_of(event) for event in case.events if event.anytime and event.kind is EventKind.SETTING)
    camera = " ".join(words_of(event) for event in case.events if event.anytime and event.kind is EventKind.CAMERA)
    windows = tuple(
        StoryboardWindow(scene=scene or "A place.", beats=tuple(acts), camera=camera, anchor=anchors.get(number))
        for number, acts in enumerate(beats, 1)
    )
    return Storyboard(title=case.id, windows=windows)


def event_times(case: Story) -> list[float]:
    """A second for each event: what was said, else spread between the said ones around it."""
    spans = [None if event.anytime else event.span for event in case.events]
    count = case.windows
    stop = film_seconds(count) if count else max((span[0] for span in spans if span), default=0.0) + 2
    return [span[0] if span else _between(case.events, index, stop) for index, span in enumerate(spans)]


def _between(events: Sequence[Event], index: int, stop: float) -> float:
    """A second between the nearest said times, in step with the other untimed events there."""
    ordered = [number for number, event in enumerate(events) if not event.anytime]
    if index not in ordered:
        return 0.0
    at = ordered.index(index)
    before = next((place for place in range(at, -1, -1) if events[ordered[place]].span), -1)
    after = next((place for place in range(at, len(ordered)) if events[ordered[place]].span), len(ordered))
    start_span = events[ordered[before]].span if before >= 0 else None
    stop_span = events[ordered[after]].span if after < len(ordered) else None
    start = start_span[0] if start_span else 0.0
    end = stop_span[0] if stop_span else stop
    share = (at - before) / (after - before)
    return start + (end - start) * share
