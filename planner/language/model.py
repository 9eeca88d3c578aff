"""The protocol of a language model: a question with the form of its answer, and the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

JsonSchema = Mapping[str, JsonValue]
OnWords = Callable[[int], None]  # is told how many words of the answer there are, now and then


class ModelFailed(Exception):
    """The language model gave no answer: it died, was not reached, or took too long. The text is for a person."""


@dataclass(frozen=True)
class Message:
    """One part of a conversation with a model. `pictures` are JPEG files, shown behind the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Question:
    """What a model is asked. Its answer is one JSON object that fits `form`, in at most `most_tokens` tokens.

    Questions that begin with the same messages share the work of reading them: what is constant comes first.
    """

    messages: tuple[Message, ...]
    form: JsonSchema
    most_tokens: int


@dataclass(frozen=True)
class Answer:
    """What a model wrote, and what it cost."""

    text: str
    tokens_read: int = 0  # of the question, those remembered from before included
    tokens_written: int = 0


class LanguageModel(Protocol):
    """Whoever answers questions. One question at a time; further ones wait their turn."""

    @property
    def name(self) -> str:
        """What the person is told: a file's or a server's model name."""
        ...

    @property
    def sees(self) -> bool:
        """Whether pictures of a message are looked at."""
        ...

    async def ready(self, opening: Message, /) -> None:
        """Be ready for questions that begin with this message: load, and read it. That takes a model on a slow machine
        a minute, once, and is no part of the time that an answer may take. ModelFailed if it cannot be."""
        ...

    async def answer(self, question: Question, on_words: OnWords = lambda _: None) -> Answer:
        """The answer; ModelFailed if there is none. A cancelled call stops the model, which then serves the next."""
        ...

    async def close(self) -> None:
        """Let go of processes and connections."""
        ...
