"""Changes to a storyboard. What was not asked to change stays word for word.

A revision is a list of edits, whoever found them: the rules (planner/revision.py) or a model (planner/editing.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.cues import FIRST_BEAT_SECONDS
from storage.schema import Beat, Storyboard, StoryboardWindow


@dataclass(frozen=True)
class Edit:
    """One change: of a window's scene, camera or anchor, or of a beat, counted from 0. An empty text removes a beat.

    A beat behind the last one is a new one, at `seconds` of the window's clock.
    """

    window: int
    part: str  # scene, camera, beat, or anchor: then the text is the picture's number
    text: str
    beat: int = 0
    seconds: float | None = None


def apply(edits: Iterable[Edit], former: Storyboard) -> Storyboard:
    """The former storyboard with some changes; beats stay in the order of their seconds."""
    windows = list(former.windows)
    for edit in edits:
        windows[edit.window] = _edited(windows[edit.window], edit)
    bare = [
        window.model_copy(update={"beats": tuple(b for b in window.beats if b.action != _GONE)}) for window in windows
    ]
    return former.model_copy(update={"windows": tuple(bare)})


_GONE = "\x00"  # of a beat that is to be removed, so that the others keep their numbers until the end


def _edited(window: StoryboardWindow, edit: Edit) -> StoryboardWindow:
    if edit.part == "anchor":
        return window.model_copy(update={"anchor": int(edit.text), "anchor_reason": "as the person wishes"})
    if edit.part != "beat":
        return window.model_copy(update={edit.part: edit.text})
    beats = list(window.beats)
    if edit.beat < len(beats):
        seconds = beats[edit.beat].seconds if edit.seconds is None else edit.seconds
        beats[edit.beat] = Beat(seconds=seconds, action=edit.text or _GONE)
    elif edit.text:
        beats.append(Beat(seconds=FIRST_BEAT_SECONDS if edit.seconds is None else edit.seconds, action=edit.text))
    return window.model_copy(update={"beats": tuple(sorted(beats, key=lambda beat: beat.seconds))})
