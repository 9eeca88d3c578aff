"""Forms that a language model fills in: the pieces of their JSON schemas, and how filled ones are read.

Only what every constrained decoder knows is used: objects whose keys are all required, arrays with a least and most
number of items, enums, and strings with a least and most length.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

LONGEST = {  # characters of a text
    "title": 60,
    "scene": 320,
    "action": 160,
    "camera": 80,
    "anchor_reason": 80,
    "look": 120,
    "how": 90,
}


class Unreadable(ValueError):
    """An answer that does not fit its form: cut off, or from a server that does not keep to schemas."""


def a_text(kind: str, shortest: int = 3) -> dict[str, Any]:
    """The schema of a text."""
    return {"type": "string", "minLength": shortest, "maxLength": LONGEST[kind]}


def plain_text(kind: str, longest: int | None = None) -> dict[str, Any]:
    """The schema of a text of plain English letters, or of nothing, at most as long as its kind may be, or shorter.
    Each character is at most one token of any model, so that the room for an answer can be told beforehand."""
    return {"type": "string", "pattern": f"^[A-Za-z ,'-]{{0,{min(longest or LONGEST[kind], LONGEST[kind])}}}$"}


def an_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with these properties and no others, in this order."""
    return {"type": "object", "properties": dict(properties), "required": [*properties], "additionalProperties": False}


def parsed(answer: str) -> dict[str, Any]:
    """The object that an answer is."""
    try:
        filled = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the answer was cut off or is no JSON") from error
    if not isinstance(filled, dict):
        raise Unreadable("the answer is no object")
    return filled


def field(whole: Any, name: str, kind: Any) -> Any:
    """A value of a filled object, which must be of a kind (no number is a truth value)."""
    value = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Unreadable(f"the answer has no proper {name}")
    return value


def finite(whole: Any, name: str) -> float:
    """A finite number of a filled object."""
    try:
        value = float(field(whole, name, float | int))
    except OverflowError as error:
        raise Unreadable(f"the answer has no proper {name}") from error
    if not math.isfinite(value):
        raise Unreadable(f"the answer has no proper {name}")
    return value


def line(text: str, kind: str) -> str:
    """A text on one line, without quotation marks around it, cut at its longest; halves of characters, which JSON can
    hold and nothing else can, are question marks."""
    text = text.encode(errors="replace").decode()
    return re.sub(r"\s+", " ", text).strip(" \"'`")[: LONGEST[kind]].strip()


def plain(text: str, kind: str) -> str:
    """A text, if it is two plain words or more, cut at its longest; else nothing.

    A small model that has nothing to say writes punctuation, addresses or JSON.
    """
    words = line(text, kind)
    odd = re.search(r"[<>{}\[\]\\|=_@#*~^]|https?:|www\.", words)
    return "" if odd or not is_wordy(words, 2) else words


def is_wordy(text: str, least: int) -> bool:
    """Whether a text has so many words of two letters or more; a Chinese or Japanese character counts as one."""
    return len(re.findall(r"[^\W\d_\u3040-\u9fff]{2,}|[\u3040-\u9fff]", text)) >= least


def joined(action: str, how: str) -> str:
    """An action in the person's words with how it is done."""
    return f"{action.rstrip('. ')}, {how[:1].lower()}{how[1:].rstrip('. ')}" if how else action


def sentence(words: str) -> str:
    """Words as a sentence; nothing stays nothing."""
    return f"{words[:1].upper()}{words[1:].rstrip('. ')}." if words else ""
