"""The form of a storyboard that a language model fills in, as a JSON schema, and how a filled one is read.

What code knows is inside the schema: how many windows there are, which seconds a window has, which events may be in it,
which pictures exist. So every answer is a storyboard of the right shape, whoever wrote it.

There are two forms. The free one asks for everything. The dictated one asks only how the rules' storyboard looks and
moves; what it says is added to the rules' own words, so that no event, time or picture can be lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.brief import Brief, Offer
from planner.cues import FIRST_BEAT_SECONDS, Cue
from planner.filled import Unreadable, a_text, an_object, field, joined, line, parsed, plain, plain_text, sentence
from planner.language.model import JsonSchema
from planner.words import stems
from storage.schema import Beat, Storyboard, StoryboardWindow

MOST_BEATS = 4
GRID_SECONDS = 0.25
DETAILS, SHORTEST_DETAIL = 1200, 32  # characters of all texts of a dictated form, and of one at least
OWN = 0  # number of an event that the model made up
NO_LORA = "none"


@dataclass(frozen=True)
class Sketch:
    """Windows as a model filled them in. `events[w][b]` numbers the event that a beat films, from 1; 0 is none."""

    title: str
    windows: tuple[StoryboardWindow, ...]
    events: tuple[tuple[int, ...], ...]
    lora: str = ""


@dataclass(frozen=True)
class Form:
    """What the windows `span` of a storyboard for a brief can be, counted from 0.

    `rules` is the rules' storyboard for the whole brief, `cues` are its events. `pinned` tells that the person said
    which picture belongs where, so that nobody else chooses.
    """

    brief: Brief
    cues: Sequence[Cue]
    rules: Storyboard
    pinned: bool
    span: range

    @property
    def expected(self) -> dict[int, Cue]:
        """The events of these windows by their number in the story, from 1."""
        return {number: cue for number, cue in enumerate(self.cues, start=1) if cue.window in self.span}

    def number(self, window: int) -> int:
        """Windows are named by their number in the whole film."""
        return self.brief.first_window + window

    # ---- the free form ----

    @property
    def free(self) -> JsonSchema:
        """The schema that asks for everything."""
        windows = {self._key(window): self._window(window) for window in self.span}
        lora = {"lora": {"enum": [NO_LORA, *(offer.name for offer in self.offers)]}} if self.offers else {}
        return an_object({"title": a_text("title"), **lora, **windows})

    def read(self, answer: str) -> Sketch:
        """The windows of a filled free form. Beats are put in the order of their seconds."""
        filled = parsed(answer)
        windows, events = [], []
        for window in self.span:
            own = field(filled, self._key(window), dict)
            beats = sorted((self._beat(beat, window) for beat in field(own, "beats", list)), key=lambda b: b[0].seconds)
            windows.append(
                StoryboardWindow(
                    scene=line(field(own, "scene", str), "scene"),
                    beats=tuple(beat for beat, _ in beats),
                    camera=line(field(own, "camera", str), "camera"),
                    **self._choice(own, window),
                )
            )
            events.append(tuple(event for _, event in beats))
        title = line(field(filled, "title", str), "title") or self.rules.title
        return Sketch(title, tuple(windows), tuple(events), self._lora(filled) if self.offers else "")

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The LoRAs that the answer may choose from: once a film, with its first windows."""
        return self.brief.offers if self.span.start == 0 else ()

    def _lora(self, filled: Mapping[str, Any]) -> str:
        """The LoRA that was chosen, if the story speaks of what it is for: a model that is lost takes any."""
        chosen = field(filled, "lora", str)
        told = stems(self.brief.story)
        fitting = (o.name for o in self.offers if told & stems(f"{o.name} {o.description}"))
        return chosen if chosen in fitting else ""

    def _window(self, window: int) -> dict[str, Any]:
        events = [OWN, *(number for number, cue in self.expected.items() if cue.may_be_in(window))]
        beat = an_object(
            {"event": {"enum": events}, "seconds": {"enum": self.seconds(window)}, "action": a_text("action")}
        )
        beats = {"type": "array", "minItems": 1, "maxItems": self._most_beats(window), "items": beat}
        return an_object({"scene": a_text("scene"), "beats": beats, "camera": a_text("camera", 0), **self._anchor()})

    def _most_beats(self, window: int) -> int:
        return max(MOST_BEATS, sum(cue.window == window for cue in self.cues) + 1)

    def seconds(self, window: int) -> list[float]:
        """Every second of a window at which a beat may begin: quarters, and what the person said."""
        first = FIRST_BEAT_SECONDS if self.brief.clock.first_shown(window) else 0.0
        steps = range(int(self.brief.clock.last_shown / GRID_SECONDS))
        grid = [step * GRID_SECONDS for step in steps if step * GRID_SECONDS > first]
        return sorted({first, *grid, *(cue.seconds for cue in self.cues if cue.window == window)})

    def _beat(self, beat: Any, window: int) -> tuple[Beat, int]:
        seconds = self.seconds(window)
        second = min(max(float(field(beat, "seconds", float | int)), seconds[0]), seconds[-1])
        action = line(field(beat, "action", str), "action")
        event = field(beat, "event", int)
        if not action or not 0 <= event <= len(self.cues):
            raise Unreadable("a beat without an action, or of an event that there is not")
        return Beat(seconds=round(second, 2), action=action.rstrip(".")), event

    # ---- the dictated form ----

    @property
    def dictated(self) -> JsonSchema:
        """The schema that asks how the rules' storyboard looks and moves: the longer it is, the shorter in each part,
        since who is dictated is often slow."""
        windows = {}
        longest = max(
            SHORTEST_DETAIL, DETAILS // sum(len(self.rules.windows[number].beats) + 2 for number in self.span)
        )
        for number in self.span:
            window = self.rules.windows[number]
            how = {f"how_{beat}": plain_text("how", longest) for beat in range(1, len(window.beats) + 1)}
            camera = {} if window.camera else {"camera": plain_text("camera", longest)}
            windows[self._key(number)] = an_object(
                {"look": plain_text("look", longest), **how, **camera, **self._anchor()}
            )
        return an_object({"title": plain_text("title"), **windows})

    def read_dictated(self, answer: str) -> tuple[str, tuple[StoryboardWindow, ...]]:
        """Title and windows of the rules with what a filled dictated form adds. What is no plain words is left out."""
        filled = parsed(answer)
        windows = []
        for number in self.span:
            window = self.rules.windows[number]
            own = field(filled, self._key(number), dict)
            look = plain(field(own, "look", str), "look")
            beats = [
                Beat(seconds=beat.seconds, action=joined(beat.action, plain(field(own, f"how_{index}", str), "how")))
                for index, beat in enumerate(window.beats, start=1)
            ]
            said = {"scene": f"{window.scene} {sentence(look)}".strip(), "beats": tuple(beats)}
            said["camera"] = window.camera or plain(field(own, "camera", str), "camera")
            windows.append(window.model_copy(update={**said, **self._choice(own, number)}))
        title = plain(field(filled, "title", str), "title") or self.rules.title
        return title, tuple(windows)

    # ---- both ----

    def _key(self, window: int) -> str:
        return f"window_{self.number(window)}"

    def _anchor(self) -> dict[str, Any]:
        if not self.brief.pictures or self.pinned:
            return {}
        return {
            "anchor": {"enum": [None, *range(1, self.brief.pictures + 1)]},
            "anchor_reason": plain_text("anchor_reason"),
        }

    def _choice(self, own: Mapping[str, Any], window: int) -> dict[str, Any]:
        """The anchor of a window and its reason."""
        if not self.brief.pictures or self.pinned:
            rule = self.rules.windows[window]
            return {"anchor": rule.anchor, "anchor_reason": rule.anchor_reason}
        anchor = own.get("anchor")
        if anchor is not None and (type(anchor) is not int or not 1 <= anchor <= self.brief.pictures):
            raise Unreadable(f"a picture that there is not: {anchor}")
        return {
            "anchor": anchor,
            "anchor_reason": plain(field(own, "anchor_reason", str), "anchor_reason") if anchor else "",
        }
