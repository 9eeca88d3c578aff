"""The vocabulary of the demonstration model: what it can be asked for, in how many words (words.json).

A move's {s} is the sprite's name with its article; a scene's {x} and {y} are any words.
"""

import json
from pathlib import Path

Wordings = dict[str, tuple[str, ...]]  # name of a meaning -> ways to say it

_words = json.loads((Path(__file__).parent / "words.json").read_text(encoding="utf-8"))


def _meanings(group: str) -> Wordings:
    return {name: tuple(wordings) for name, wordings in _words[group].items()}


SPRITES: tuple[tuple[str, tuple[str, ...]], ...] = tuple((emoji, tuple(names)) for emoji, names in _words["sprites"])
CAMERA = _meanings("camera")
EFFECTS = _meanings("effects")
ENDS = _meanings("ends")  # of an effect that is there
MOVES = _meanings("moves")  # of a sprite
NOTHING: tuple[str, ...] = tuple(_words["nothing"])  # actions that the model does not know
SCENES: tuple[str, ...] = tuple(_words["scenes"])
