"""The director without a language model: rules that turn a story into a storyboard, in the person's own words.

Each window's scene says the setting and what has happened so far, so that it begins as the window before ended; its
beats are the events that fall into it. What comes through the whole film is said in every window, because each is
filmed from its own prompt alone.
"""

import asyncio
import re
from dataclasses import dataclass

from planner.anchors import Place, place_anchors, spread_pictures
from planner.brief import Brief, OnPlanning, Told
from planner.cues import FIRST_BEAT_SECONDS, cues, events_of, shown
from planner.edits import apply
from planner.pacing import Timed
from planner.revision import edits_by_rules
from planner.setting import Kind, Phrase, phrases_in, without
from planner.story import Event, Story, read_story
from planner.substitution import NOTHING_SAID, SO_FAR
from planner.words import DETERMINERS, SUBJECTS, sentence_of
from storage.schema import Beat, Storyboard, StoryboardWindow

CREDIT = "Planned by rules, without a language model."
GOES_ON = "it goes on: "
_REMEMBERED = 2  # latest events in "So far", besides the first one, which names who it is about
_CAMERA_ROOM = 2.0  # seconds of a window that a camera move needs, or it goes on in the next window


@dataclass(frozen=True)
class RuleDirector:
    """Plans by rules. Knows nothing of the world: it orders, times and repeats what the person wrote."""

    async def storyboard(self, brief: Brief, on_planning: OnPlanning = lambda _: None) -> Told:  # noqa: ARG002
        """A storyboard for a brief; every event of the story is a beat, in order."""
        return Told(await asyncio.to_thread(self.board, brief), CREDIT)

    def board(self, brief: Brief) -> Storyboard:
        """The storyboard alone, without a wait."""
        if brief.former:
            return revised(brief, brief.former)
        story = read_story(brief.story, brief.pictures)
        if not story.premise and not brief.state and not any(event.action or event.camera for event in story.events):
            story = Story(NOTHING_SAID, story.phrases, story.events)
        timed = events_of(brief)
        beats = _beats(brief)
        scenes = _scenes(story, timed, beats, brief)
        cameras = _cameras(story, timed, brief)
        anchors = _anchors(story, timed, brief)
        reason = "as the story says" if places_pictures(brief) else "the pictures in their order"
        windows = [
            StoryboardWindow(
                scene=scene, beats=tuple(own), camera=camera, anchor=anchor, anchor_reason=reason if anchor else ""
            )
            for scene, own, camera, anchor in zip(scenes, beats, cameras, anchors, strict=True)
        ]
        return Storyboard(title=_title(story, brief), windows=tuple(windows))


# ---- beats ----------------------------------------------------------------------------------------------------------


def _beats(brief: Brief) -> list[list[Beat]]:
    """The beats of each window. A window in which nothing new happens goes on with the last action."""
    windows: list[list[Beat]] = [[] for _ in range(brief.windows)]
    for cue in cues(brief):
        windows[cue.window].append(Beat(seconds=cue.seconds, action=cue.action))
    last = _bare(brief.state)
    for window, own in enumerate(windows):
        if not own and last:
            own.append(Beat(seconds=shown(window, 0.0, brief), action=GOES_ON + last))
        last = _bare(own[-1].action) if own else last
    return windows


def _bare(action: str) -> str:
    return action.removeprefix(GOES_ON)


# ---- scenes ---------------------------------------------------------------------------------------------------------


def _scenes(story: Story, timed: list[Timed], beats: list[list[Beat]], brief: Brief) -> list[str]:
    """What each window shows when it begins: the setting, and what has happened so far."""
    inherited, history = _read_scene(brief)
    fixed = {phrase.kind for phrase in story.phrases}
    standing = {kind: [phrase.words for phrase in story.phrases if phrase.kind is kind] for kind in fixed}
    for kind in fixed - {Kind.STYLE}:
        inherited = without(kind, inherited)
    scenes = []
    for own, mentioned in zip(beats, _mentioned(timed, brief), strict=True):
        for phrase in mentioned:
            if phrase.kind not in fixed:
                for kind in _replaced(phrase.kind) - fixed:
                    standing.pop(kind, None)
                    inherited = without(kind, inherited)
                standing[phrase.kind] = [phrase.words]
        goes_on = bool(own) and own[0].action.startswith(GOES_ON)
        scene = _scene(inherited, story.premise, standing, history[:-1] if goes_on and history else history)
        scenes.append(scene if scene or own else _sentence([NOTHING_SAID]))
        history += [beat.action for beat in own if not beat.action.startswith(GOES_ON)]
    return scenes


def _mentioned(timed: list[Timed], brief: Brief) -> list[list[Phrase]]:
    """For each window the setting words of the events before it, from the window before on. A film begins in the
    setting of its first event."""
    windows: list[list[Phrase]] = [[] for _ in range(brief.windows + 1)]
    for index, item in enumerate(item for item in timed if item.event.action):
        first = index == 0 and not brief.clock.continues
        windows[0 if first else brief.clock.at(item.seconds)[0] + 1] += phrases_in(item.event.action)
    return windows[:-1]


def _replaced(kind: Kind) -> set[Kind]:
    """What a setting word of an event puts an end to: a new place has weather of its own, and the other way round."""
    return {kind, Kind.PLACE, Kind.WEATHER} if kind in (Kind.PLACE, Kind.WEATHER) else {kind}


def _scene(inherited: str, premise: str, standing: dict[Kind, list[str]], history: list[str]) -> str:
    place = [words for kind in Kind if kind is not Kind.STYLE for words in standing.get(kind, [])]
    place = [words for words in place if words.lower() not in premise.lower()]
    style = standing.get(Kind.STYLE, [])
    sentences = [inherited, _sentence([premise, *place]), _sentence(style)]
    past = history[:1] + history[max(1, len(history) - _REMEMBERED) :]
    if past:
        sentences.append(SO_FAR + "; ".join(_mid_sentence(action).rstrip(".") for action in past) + ".")
    return " ".join(filter(None, sentences))


def _read_scene(brief: Brief) -> tuple[str, list[str]]:
    """The setting and the history of the film that is continued, out of its last window."""
    setting, _, past = brief.scene.partition(SO_FAR)
    history = [action for action in past.rstrip(". ").split("; ") if action]
    state = _bare(brief.state)
    return setting.strip(), [*history, state] if state and state not in history else history


def _sentence(parts: list[str]) -> str:
    return sentence_of(", ".join(part for part in parts if part))


def _mid_sentence(action: str) -> str:
    first = action.split(" ", 1)[0]
    return first.lower() + action[len(first) :] if first.lower() in DETERMINERS | SUBJECTS else action


# ---- camera and pictures --------------------------------------------------------------------------------------------


def _cameras(story: Story, timed: list[Timed], brief: Brief) -> list[str]:
    """The camera of each window. A move with a time or a place in the order belongs there, any other everywhere."""
    first = next((event for event in story.events if event.action), None)
    always = [event.camera for event in story.events if event.camera and _is_everywhere(event, first)]
    moves: list[list[str]] = [[] for _ in range(brief.windows)]
    for item in timed:
        if item.event.camera and not _is_everywhere(item.event, first):
            window, seconds = brief.clock.at(item.seconds)
            second = shown(window, seconds, brief)
            late = f"{item.event.camera} at {second:g} seconds" if second > FIRST_BEAT_SECONDS else item.event.camera
            moves[window].append(late)
            if brief.clock.last_shown - second < _CAMERA_ROOM and window + 1 < brief.windows:
                moves[window + 1].append(item.event.camera)
    return [", then ".join(dict.fromkeys([", ".join(dict.fromkeys(always)), *own] if always else own)) for own in moves]


def _is_everywhere(event: Event, first: Event | None) -> bool:
    placed = event.mark is not None or event.sequel
    return not placed and (not event.action or event is first)


def _anchors(story: Story, timed: list[Timed], brief: Brief) -> list[int | None]:
    """The picture of each window. Words decide; without any the pictures are spread over the windows in order."""
    if brief.pictures < 2 and not any(event.mentions for event in story.events):
        return [
            1 if brief.pictures and brief.clock.continues and not window else None for window in range(brief.windows)
        ]
    if not any(event.mentions for event in story.events):
        return place_anchors(spread_pictures(brief.pictures, brief.windows), brief.windows, None)
    windows = {id(item.event): brief.clock.at(item.seconds)[0] for item in timed}
    wanted = []
    for event in story.events:
        for mention in event.mentions:
            ends = brief.windows - 1 if mention.place is Place.END else 0
            here = mention.place is Place.HERE or event.mark is not None
            wanted.append((windows.get(id(event), ends) if here else ends, mention.picture))
    named = {picture for _, picture in wanted}
    unnamed = [picture for picture in range(1, brief.pictures + 1) if picture not in named]
    return place_anchors(wanted, brief.windows, None if brief.clock.continues else (unnamed or [1])[0])


def places_pictures(brief: Brief) -> bool:
    """Whether the person said which picture belongs where."""
    return any(event.mentions for event in read_story(brief.story, brief.pictures).events)


# ---- titles and revisions -------------------------------------------------------------------------------------------


def _title(story: Story, brief: Brief) -> str:
    """The first words of what happens."""
    words = next(
        filter(None, [story.premise, *(event.action for event in story.events), _bare(brief.state)]), brief.story
    )
    short = re.match(r".{0,48}(?!\w)", words, re.DOTALL)
    title = (short[0] if short and short[0].strip() else words[:48]).strip(" ,;:-")
    return title[:1].upper() + title[1:] if title else "Untitled"


def revised(brief: Brief, former: Storyboard) -> Storyboard:
    """The former storyboard, as long as the brief wants it, with the edits that its wish asks for."""
    board = stretched(former, brief.windows)
    return apply(edits_by_rules(board, brief), board)


def stretched(former: Storyboard, windows: int) -> Storyboard:
    """The former windows, cut to a number, or with windows behind that go on with the last action."""
    kept = list(former.windows[:windows])
    last = kept[-1]
    actions = [_bare(beat.action) for beat in last.beats[-1:]]
    beats = tuple(Beat(seconds=FIRST_BEAT_SECONDS, action=GOES_ON + action) for action in actions)
    more = [last.model_copy(update={"beats": beats, "anchor": None, "anchor_reason": ""})] * (windows - len(kept))
    return former.model_copy(update={"windows": (*kept, *more)})
