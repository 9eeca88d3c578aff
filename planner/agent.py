"""A message in its context -> what is wanted: by rules, and where they leave it open, by a language model."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from planner.filled import Unreadable, an_object, field, parsed
from planner.intent import Context, as_told, understand
from planner.language.model import LanguageModel, Message, ModelFailed, Question
from planner.prompting import disarmed, quoted, system_message
from storage.schema import Intent, IntentKind, Request, Storyboard

_OPEN = (IntentKind.FILM, IntentKind.CONTINUE, IntentKind.REVISE)  # what rules take a text for that they do not know
_MEANINGS = {
    IntentKind.FILM: "a new film, told from its beginning",
    IntentKind.CONTINUE: "what happens next, behind the end of what is talked about",
    IntentKind.REVISE: "a change of what is talked about: other words, mood, setting, camera, length",
    IntentKind.ANOTHER_TAKE: "the same once more, unchanged",
    IntentKind.APPROVE: "yes, film the draft as it is",
    IntentKind.CANCEL: "stop, or throw the draft away",
    IntentKind.STATUS: "a question about the queue, progress, speed or how long it takes",
    IntentKind.SETTINGS: "a question about settings, sizes, models or limits",
    IntentKind.HELP: "a question about what can be done here, or no request at all",
}


class Reader(Protocol):
    """Whoever tells what a message means."""

    async def understand(self, request: Request, context: Context) -> Intent:
        """The intent of a message; never an error, since every message means something."""
        ...


@dataclass(frozen=True)
class RuleReader:
    """Reads by rules."""

    async def understand(self, request: Request, context: Context) -> Intent:
        """The intent of a message."""
        return understand(request, context)


@dataclass(frozen=True)
class ModelReader:
    """Asks a language model where the rules know no command. Without an answer in time the rules' guess holds."""

    model: LanguageModel
    seconds: float = 30.0

    async def understand(self, request: Request, context: Context) -> Intent:
        """The intent of a message. Length, settings and numbers are read by rules in any case."""
        guess = understand(request, context)
        if settled(guess, request, context):
            return guess
        kinds = possible(context)
        try:
            await self.model.ready(system_message())
            async with asyncio.timeout(self.seconds):
                answer = await self.model.answer(intent_question(request, context, kinds))
            kind = IntentKind(field(parsed(answer.text), "kind", str))
        except (TimeoutError, ModelFailed, Unreadable, ValueError):
            return guess
        return guess if kind is guess.kind or kind not in kinds else as_told(kind, request, context)


def settled(guess: Intent, request: Request, context: Context) -> bool:
    """Whether nothing is left to ask: the message is a command, or can only be one thing."""
    only_loras = request.loras is not None and guess.kind is IntentKind.REVISE and not guess.story
    only_one = request.clip is not None or (bool(request.images) and context.subject is None)
    return guess.kind not in _OPEN or only_loras or only_one


def possible(context: Context) -> list[IntentKind]:
    """What a message can mean in its context."""
    without = set() if context.subject else {IntentKind.CONTINUE, IntentKind.ANOTHER_TAKE}
    if not context.changed:
        without.add(IntentKind.REVISE)
    if not context.discussed:
        without.add(IntentKind.APPROVE)
    return [kind for kind in _MEANINGS if kind not in without]


def intent_question(request: Request, context: Context, kinds: list[IntentKind]) -> Question:
    """One word on what is wanted."""
    lines = ["Say what a message wants, in one word:", *(f"  {kind}: {_MEANINGS[kind]}" for kind in kinds)]
    lines += [*_around(request, context), f"The message: {quoted(request.text)}"]
    form = an_object({"kind": {"enum": [str(kind) for kind in kinds]}})
    return Question((system_message(), Message("user", "\n".join(lines))), form, most_tokens=40)


def _around(request: Request, context: Context) -> Iterator[str]:
    """What the message is about, in short."""
    if request.images:
        yield f"It comes with {len(request.images)} picture(s)."
    if context.filming:
        plan = context.filming.plan
        yield f"Their film that waits or is filmed, and is not done: {_summary(plan.storyboard)}"
    if context.replied:
        yield f"It answers a finished film: {_summary(context.replied.plan.storyboard)}"
    elif context.draft:
        yield f"A draft is being discussed that is not filmed yet: {_summary(context.draft.plan.storyboard)}"
    elif context.last:
        yield f"It answers nothing. The last film here: {_summary(context.last.plan.storyboard)}"
    else:
        yield "It answers nothing, and nothing was filmed here before."


def _summary(board: Storyboard) -> str:
    actions = [beat.action for window in board.windows for beat in window.beats]
    return disarmed(f"{board.title}: {'; '.join(actions)}"[:600])
