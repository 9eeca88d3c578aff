"""The plan on a card: a line a window, with what happens in seconds of the whole film. Long films are shown in part."""

from bot.discord.faces import CardFace, WindowFace
from bot.discord.safe import one_line
from bot.discord.texts import say

MOST_LINES = 8
MOST_BEATS = 4  # of a window
LONGEST_ACTION = 90
ROOM_FOR_COUNTS = 60  # characters
DONE, RUNNING, WAITING = "✅", "▶️", "▫️"


def plan_lines(face: CardFace, room: int) -> list[str]:
    """The windows around the one that is being filmed, or the first ones, and how many there are beside them; all in
    `room` characters."""
    windows = face.windows
    now = next((index for index, window in enumerate(windows) if not window.done), len(windows) - 1)
    first = max(0, min(now - 1, len(windows) - MOST_LINES))
    shown: list[str] = []
    for index in range(first, min(first + MOST_LINES, len(windows))):
        line = window_line(windows[index], windows[index - 1] if index else None)
        line = line if face.job is None else f"{_mark(windows[index])} {line}"
        if sum(len(each) + 1 for each in shown) + len(line) > room - ROOM_FOR_COUNTS:
            break
        shown.append(line)
    before, after = first, len(windows) - first - len(shown)
    return [
        *([say(face.locale, "card.windows_before", count=before)] if before else []),
        *shown,
        *([say(face.locale, "card.windows_after", count=after)] if after else []),
    ]


def window_line(window: WindowFace, before: WindowFace | None = None) -> str:
    """One window: its seconds, its beats or else its scene, and the camera where that changes."""
    parts = [f"**{window.number}** `{seconds(window.begins)}–{seconds(window.ends)} s`"]
    for at, action in window.beats[:MOST_BEATS]:
        parts.append(f"**{seconds(at)} s** {one_line(action, LONGEST_ACTION)}")
    if len(window.beats) > MOST_BEATS:
        parts.append(f"+ {len(window.beats) - MOST_BEATS}")
    if not window.beats:
        parts.append(one_line(window.scene, 2 * LONGEST_ACTION))
    if window.camera and (before is None or before.camera != window.camera):
        parts.append(f"*{one_line(window.camera, LONGEST_ACTION // 2)}*")
    return " · ".join(parts)


def seconds(value: float) -> str:
    """A time of the film: "9.8", "5"."""
    return f"{value:.1f}".removesuffix(".0")


def _mark(window: WindowFace) -> str:
    return DONE if window.done else RUNNING if window.running else WAITING
