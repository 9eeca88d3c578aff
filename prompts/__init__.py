"""What the models read, as files: the director's guide, worked examples of it, and the stock negative prompt."""

from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import Field

from storage.schema import Storyboard, Value


@cache
def negative_prompt() -> str:
    """Wan's own negative prompt, word for word: the model was tuned with it (shared_config.py, sample_neg_prompt)."""
    return (files("prompts") / "negative.txt").read_text(encoding="utf-8").strip()


@cache
def guide() -> str:
    """How to write a storyboard, for a language model: the stable head of its prompt, so that it is read only once."""
    return (files("prompts") / "guide.md").read_text(encoding="utf-8").strip()


class Ending(Value):
    """How the film ended that an example continues: its length, its last window and its last action."""

    seconds: Annotated[float, Field(gt=0)]
    scene: str
    state: str


class Example(Value):
    """A worked example: what a person asked for, what the director is told of it, and the storyboard that answers.

    `pictures` are the names of the files that came along, in order. `seconds` is the length that was said. `continues`
    or `former` is there where the request continues a film, or changes a storyboard.
    """

    request: str
    pictures: tuple[str, ...] = ()
    seconds: Annotated[float, Field(gt=0)] | None = None
    continues: Ending | None = None
    former: Storyboard | None = None
    storyboard: Storyboard


@cache
def example(name: str) -> Example:
    """A worked example by its name."""
    text = (files("prompts") / "examples" / f"{name}.json").read_text(encoding="utf-8")
    return Example.model_validate_json(text)
