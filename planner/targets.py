"""Which windows a wish is about: "in the second window", "at 8 seconds", "the ending", or all of them."""

import re
from dataclasses import dataclass

from planner.brief import Brief
from planner.times import Sense, find_marks
from storage.schema import Storyboard
from storage.timeline import window_at

_NUMBERS = {
    "first": 1, "1st": 1, "one": 1, "ersten": 1, "première": 1, "premier": 1, "primera": 1,
    "second": 2, "2nd": 2, "two": 2, "zweiten": 2, "deuxième": 2, "segunda": 2,
    "third": 3, "3rd": 3, "three": 3, "dritten": 3, "troisième": 3, "tercera": 3,
    "fourth": 4, "4th": 4, "four": 4, "vierten": 4, "quatrième": 4, "cuarta": 4,
    "fifth": 5, "5th": 5, "five": 5, "sixth": 6, "6th": 6, "six": 6,
}  # fmt: skip
_LAST = r"last|final|letzten?|dernière?|última?"
_NOUN = (
    r"(?:windows?|parts?|scenes?|shots?|segments?|sections?|clips?|fenster|teil"
    r"|abschnitt|szene|partie|scène|parte|escena)"
)
_IN = r"(?:(?:in|at|for|during|on|within|im|in der|dans|en) )?(?:(?:the|der|dem|la|le|el) )?"
_BY_NUMBER = re.compile(
    rf"(?<!\w){_IN}(?:{_NOUN} (?:number |no\.? ?|#)?(?P<behind>\d{{1,2}}|one|two|three|four|five|six)"
    rf"|(?P<before>{'|'.join(_NUMBERS)}|{_LAST}) {_NOUN})(?!\w)(?P<on> (?:on|onwards?|and after|ab))?,?:?",
    re.IGNORECASE,
)
_ENDING = re.compile(
    r"(?<!\w)(?:(?:at|in|for|towards?|redo|change) )?(?:the (?:very )?(?:ending|end|finale)|ending|am ende"
    r"|das ende|am schluss"
    r"|der schluss|à la fin|la fin|al final|el final)(?: of the (?:film|video))?(?!\w),?",
    re.IGNORECASE,
)
_BEGINNING = re.compile(
    r"(?<!\w)(?:(?:at|in|for|change) )?(?:the (?:very )?(?:beginning|start|opening|intro)|am anfang|der anfang|au début"
    r"|le début|al principio|el principio)(?: of the (?:film|video))?(?!\w),?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Target:
    """The windows that a wish is about, from 0, and the wish without the words that said so.

    `narrow`: the person named them. `seconds` is a time in the first of them. `last`: it is about how the film ends.
    """

    windows: tuple[int, ...]
    rest: str
    narrow: bool = False
    seconds: float | None = None
    last: bool = False


def find_target(wish: str, former: Storyboard, brief: Brief) -> Target:
    """The target of a wish about a storyboard whose first window has number `brief.first_window` in the film."""
    count = len(former.windows)
    if (match := _BY_NUMBER.search(wish)) and (window := _window(match, count, brief.first_window)):
        windows = tuple(range(window - 1, count)) if match["on"] else (window - 1,)
        return Target(windows, _less(wish, match.start(), match.end()), narrow=True, last=window == count)
    mark = next((mark for mark in find_marks(wish) if mark.sense is Sense.AT), None)
    if mark:
        number, seconds = window_at(mark.value, brief.discard_frames)
        window = number - brief.first_window
        if 0 <= window < count and seconds <= brief.clock.last_shown:
            return Target((window,), _less(wish, mark.start, mark.stop), narrow=True, seconds=round(max(seconds, 0), 2))
    if match := _ENDING.search(wish):
        return Target((count - 1,), _less(wish, match.start(), match.end()), narrow=True, last=True)
    if match := _BEGINNING.search(wish):
        return Target((0,), _less(wish, match.start(), match.end()), narrow=True)
    return Target(tuple(range(count)), wish)


def names_window(text: str) -> bool:
    """Whether a text names a window of a film: "window 3", "in the last part"."""
    return _BY_NUMBER.search(text) is not None


def _window(match: re.Match[str], count: int, first_window: int) -> int | None:
    """The window, from 1 among those of the storyboard. People count windows of the film, or of what they see."""
    word = (match["behind"] or match["before"]).lower()
    if re.fullmatch(_LAST, word):
        return count
    number = int(word) if word.isdigit() else _NUMBERS[word]
    if 1 <= number - first_window + 1 <= count:
        return number - first_window + 1
    return number if 1 <= number <= count else None


def _less(wish: str, start: int, stop: int) -> str:
    before, behind = wish[:start].rstrip(" ,"), wish[stop:].lstrip(" ,")
    comma = "," in wish[start - 1 : start] + wish[stop - 1 : stop + 1] and before and behind
    return f"{before}{',' if comma else ''} {behind}".strip()
