"""What the models read, as files: the director's guide, worked examples of it, and the stock negative prompt."""

from functools import cache
from importlib.resources import files

from storage.schema import Storyboard


@cache
def negative_prompt() -> str:
    """Wan's own negative prompt, word for word: the model was tuned with it (shared_config.py, sample_neg_prompt)."""
    return (files("prompts") / "negative.txt").read_text(encoding="utf-8").strip()


@cache
def guide() -> str:
    """How to write a storyboard, for a language model: the stable head of its prompt, so that it is read only once."""
    return (files("prompts") / "guide.md").read_text(encoding="utf-8").strip()


@cache
def examples() -> tuple[Storyboard, ...]:
    """The worked examples, in the order of their names."""
    folder = files("prompts") / "examples"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return tuple(Storyboard.model_validate_json((folder / name).read_text(encoding="utf-8")) for name in names)
