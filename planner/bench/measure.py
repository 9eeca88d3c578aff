"""Scores from the storyboard alone, so that rules, any model file and any server are judged alike.

valid      it fits the schema, has the windows that the said length needs (or no more than a limit, and enough for every
           said time), its beats lie inside their windows in rising order, its anchors are pictures that exist, and no
           window is without words. An answer that is no storyboard (None) is not valid and holds nothing.
events     found of those expected; planner/bench/matching.py says where an event counts as found.
order      1 of 1 if the events that are found can be read in the asked order; two may share a beat. Not judged with
           fewer than two.
time       seconds of the film between a said time and the beat. Only of events that are found.
anchors    the picture in force (None keeps the one before; picture 1 before any) at the start, the end or an event; an
           event that is not found has no picture in force.
words      for a story: words that must not appear anywhere (what "no people" or "picture 2" would do to a prompt).
           For a revision: what must appear in a window, or no longer appear.
unchanged  scene, beats, camera and anchor of each former window, of those that had to stay, byte for byte.
intent, settings    right of expected; a setting that nobody asked for counts as one more expected.

The floor: the whole request copied into one beat is worth 83 % of the events and all of the order of the film cases,
with times wrong by seconds on average. Recall is to be read beside the times.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

from planner.bench.cases import (
    AnchorAt,
    ConversationCase,
    Part,
    RevisionCase,
    SettingsCase,
    Story,
    WordsIn,
)
from planner.bench.matching import Match, contains, holds, match, time_error
from storage.schema import IntentKind, Storyboard, StoryboardWindow, Wishes
from storage.timeline import WINDOW_SECONDS, film_seconds


@dataclass(frozen=True)
class Share:
    """`right` of `of`; nothing of nothing is not a score."""

    right: int = 0
    of: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.right + other.right, self.of + other.of)

    def __str__(self) -> str:
        return f"{100 * self.right / self.of:.1f} % ({self.right}/{self.of})" if self.of else "-"

    @property
    def value(self) -> float:
        """In [0, 1]; 1 if there was nothing to do."""
        return self.right / self.of if self.of else 1.0


@dataclass(frozen=True)
class Score:
    """What an answer, or many, were worth. Scores add up."""

    cases: int = 1
    valid: Share = Share()
    events: Share = Share()
    order: Share = Share()
    time_errors: tuple[float, ...] = ()
    anchors: Share = Share()
    words: Share = Share()
    unchanged: Share = Share()
    intent: Share = Share()
    settings: Share = Share()
    notes: tuple[str, ...] = ()  # what was not right, for a person who reads the list

    def __add__(self, other: "Score") -> "Score":
        return Score(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Score)))

    @property
    def mean_time_error(self) -> float | None:
        """Seconds, None if no time was said."""
        return sum(self.time_errors) / len(self.time_errors) if self.time_errors else None


# ---- one case -------------------------------------------------------------------------------------------------------


def score_story(case: Story, board: Storyboard | None) -> Score:
    """How well a storyboard meets a request for a film, or for a film that continues another."""
    if board is None:
        return Score(
            valid=Share(0, 1),
            events=Share(0, len(case.events)),
            anchors=Share(0, len(case.anchors)),
            words=Share(0, len(case.absent)),
            notes=(f"{case.id}: no storyboard",),
        )
    faults = invalid(case, board)
    in_force = pictures_in_force(case.pictures, board)
    matched = match(case.events, board, [_windows_with(case.anchors, number, in_force) for number in _numbers(case)])
    pairs = tuple(zip(case.events, matched.places, strict=True))
    errors = tuple(time_error(event, place) for event, place in pairs if place is not None and event.span is not None)
    anchors = [_anchor_right(anchor, matched, in_force) for anchor in case.anchors]
    text = " \n ".join(_text(window) for window in board.windows)
    present = [words for words in case.absent if contains(text, words)]
    notes = [
        *faults,
        *(f"not found: {event.words}" for event, place in pairs if place is None),
        *(["order"] if matched.ordered is False else []),
        *(f"{error:.2f} s off" for error in errors if error > 0.05),
        *(f"anchor {a.picture} at {a.at}" for a, right in zip(case.anchors, anchors, strict=True) if not right),
        *(f"says {words!r}" for words in present),
    ]
    return Score(
        valid=Share(int(not faults), 1),
        events=Share(sum(place is not None for place in matched.places), len(case.events)),
        order=Share() if matched.ordered is None else Share(int(matched.ordered), 1),
        time_errors=errors,
        anchors=Share(sum(anchors), len(anchors)),
        words=Share(len(case.absent) - len(present), len(case.absent)),
        notes=tuple(f"{case.id}: {note}" for note in notes),
    )


def invalid(case: Story, board: Storyboard) -> tuple[str, ...]:
    """Why the storyboard cannot be filmed as asked; empty if it can."""
    count = len(board.windows)
    last_said = max((event.span[0] for event in case.events if event.span is not None), default=0.0)
    faults = list(unfilmable(board, case.pictures))
    if case.windows is not None and count != case.windows:
        faults.append(f"{count} windows instead of {case.windows}")
    if case.most_windows is not None and count > case.most_windows:
        faults.append(f"{count} windows, more than {case.most_windows}")
    if last_said > film_seconds(count):
        faults.append(f"{film_seconds(count)} s are too short for what happens at {last_said} s")
    return tuple(faults)


def unfilmable(board: Storyboard, pictures: int) -> tuple[str, ...]:
    """Why no request with so many pictures could have this storyboard; empty if one could."""
    faults = []
    for number, window in enumerate(board.windows, 1):
        if any(beat.seconds >= WINDOW_SECONDS for beat in window.beats):
            faults.append(f"a beat lies outside window {number}")
        if any(a.seconds >= b.seconds for a, b in pairwise(window.beats)):
            faults.append(f"the beats of window {number} do not rise")
        if window.anchor is not None and window.anchor > pictures:
            faults.append(f"there is no picture {window.anchor}")
        if not _text(window).strip():
            faults.append(f"window {number} is without words")
    return tuple(faults)


def score_intent(case: ConversationCase, said: IntentKind | None) -> Score:
    """Whether a message was understood."""
    right = said in case.intents
    notes = () if right else (f"{case.id}: {said} instead of {case.intents[0]}",)
    return Score(intent=Share(int(right), 1), notes=notes)


def score_settings(case: SettingsCase, got: Wishes, length: float | None) -> Score:
    """Which settings were taken from the words, the length among them: right ones of those expected or set."""
    asked, made = (
        {**wishes.model_dump(exclude_defaults=True), **({"length": seconds} if seconds else {})}
        for wishes, seconds in ((case.wishes, case.length), (got, length))
    )
    names = sorted(asked.keys() | made.keys())
    wrong = [name for name in names if asked.get(name) != made.get(name)]
    share = Share(len(names) - len(wrong), len(names)) if names else Share(1, 1)
    notes = tuple(f"{case.id}: {name} is {made.get(name)} instead of {asked.get(name)}" for name in wrong)
    return Score(settings=share, notes=notes)


def score_revision(case: RevisionCase, former: Storyboard, board: Storyboard | None) -> Score:
    """Whether a wish was met, and whether the rest stayed word for word."""
    stay = [
        (number, part)
        for number in range(1, len(former.windows) + 1)
        for part in Part
        if number not in case.may_change or part in case.keep
    ]
    wished = sum(len(words.windows) for words in (*case.appear, *case.gone))
    if board is None or len(board.windows) != len(former.windows):
        return Score(
            valid=Share(0, 1),
            words=Share(0, wished),
            anchors=Share(0, len(case.anchors)),
            unchanged=Share(0, len(stay)),
            notes=(f"{case.id}: no storyboard of {len(former.windows)} windows",),
        )
    pictures = max((window.anchor for window in former.windows if window.anchor), default=1)
    faults = unfilmable(board, pictures)
    changed = [place for place in stay if _part(former, *place) != _part(board, *place)]
    unmet = [
        *(f"window {number} lacks {words.words}" for words, number, there in _said(case.appear, board) if not there),
        *(f"window {number} still says {words.words}" for words, number, there in _said(case.gone, board) if there),
    ]
    in_force = pictures_in_force(pictures, board)
    anchors = [in_force[0 if anchor.at == "start" else -1] == anchor.picture for anchor in case.anchors]
    notes = [*faults, *(f"the {part} of window {number} changed" for number, part in changed), *unmet]
    return Score(
        valid=Share(int(not faults), 1),
        words=Share(wished - len(unmet), wished),
        anchors=Share(sum(anchors), len(anchors)),
        unchanged=Share(len(stay) - len(changed), len(stay)),
        notes=tuple(f"{case.id}: {note}" for note in notes),
    )


# ---- what the scores read -------------------------------------------------------------------------------------------


def pictures_in_force(pictures: int, board: Storyboard) -> tuple[int | None, ...]:
    """Each window's picture: its own, or that of the window before; the film starts from picture 1."""
    now = 1 if pictures else None
    return tuple(now := now if window.anchor is None else window.anchor for window in board.windows)


def _numbers(case: Story) -> range:
    return range(1, len(case.events) + 1)


def _windows_with(anchors: Iterable[AnchorAt], event: int, in_force: tuple[int | None, ...]) -> frozenset[int] | None:
    """The windows in which the picture of event number `event` is in force, None if it has no picture."""
    asked = {anchor.picture for anchor in anchors if anchor.at == event}
    return frozenset(number for number, picture in enumerate(in_force, 1) if picture in asked) if asked else None


def _anchor_right(anchor: AnchorAt, matched: Match, in_force: tuple[int | None, ...]) -> bool:
    if isinstance(anchor.at, str):
        return in_force[0 if anchor.at == "start" else -1] == anchor.picture
    place = matched.places[anchor.at - 1]
    return place is not None and in_force[place.window - 1] == anchor.picture


def _text(window: StoryboardWindow) -> str:
    return " \n ".join((window.scene, *(beat.action for beat in window.beats), window.camera))


def _part(board: Storyboard, number: int, part: Part) -> object:
    return getattr(board.windows[number - 1], part)


def _said(wishes: Iterable[WordsIn], board: Storyboard) -> list[tuple[WordsIn, int, bool]]:
    """Each wish, window by window, and whether its words are in that window."""
    return [
        (wish, number, holds(_text(board.windows[number - 1]), wish.words))
        for wish in wishes
        for number in wish.windows
    ]


# ---- many cases -----------------------------------------------------------------------------------------------------

COLUMNS = ("valid", "events", "order", "time s", "anchors", "words", "unchanged", "intent", "settings")


def total(scores: Iterable[Score]) -> Score:
    """The sum of many scores."""
    return sum(scores, Score(cases=0))


def table(groups: Mapping[str, Score]) -> str:
    """One line a group: shares, and the mean and the worst time error in seconds."""
    rows = [("group", "cases", *COLUMNS), *(_row(name, score) for name, score in groups.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(name: str, score: Score) -> tuple[str, ...]:
    mean = score.mean_time_error
    time = "-" if mean is None else f"{mean:.3f} (worst {max(score.time_errors):.2f}, n={len(score.time_errors)})"
    shares = (score.valid, score.events, score.order, score.anchors, score.words)
    first = [str(share) for share in shares]
    last = [str(share) for share in (score.unchanged, score.intent, score.settings)]
    return (name, str(score.cases), *first[:3], time, *first[3:], *last)
