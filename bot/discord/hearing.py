"""What is said to us, answered once, whoever is killed meanwhile.

An event is noted as begun before anything is waited for, and as ended when it was answered. What was begun and not
ended is taken up again by bot/discord/gap.py; every step that it repeats finds what it did before.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import discord

from bot.discord.answering import sentence_of
from bot.discord.keys import key_of, place_of
from bot.discord.reactions import Reaction, react, take_back
from bot.discord.rest import LONG_WAITS, TROUBLE, passes, persistently
from bot.discord.shown import shown_by
from storage.logs import about

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

log = logging.getLogger(__name__)
MOST_EARLY = 1000  # messages that nothing is known of, to which somebody reacted


class Hearing:
    """The messages and reactions that are being answered."""

    def __init__(self, client: "LongtakeClient") -> None:
        self._client = client
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._early: dict[int, dict[str, tuple[Reaction, discord.Member | None]]] = {}  # by message, and event

    def __contains__(self, event: str) -> bool:
        return event in self._tasks

    def hear(self, message: discord.Message) -> None:
        """Begin to answer a message to us, once."""
        event, channel, seen = f"message:{message.id}", key_of(message.channel), self._client.studio.seen
        if seen.begin(event, channel):
            if self._client.gap.closed(channel):
                seen.read(channel, message.id, place_of(message.guild))
            self._answer_once(event, channel, lambda: self._answered(message))

    def hear_again(self, message: discord.Message) -> None:
        """Answer a message that was begun before we were killed: from what came of it, or from the beginning."""
        self._answer_once(f"message:{message.id}", key_of(message.channel), lambda: self._answered_again(message))

    def see(self, reaction: Reaction, member: discord.Member | None) -> None:
        """Begin to do what a reaction to something of ours says, once: now, or when it is noted what the message shows,
        which may have been sent a moment ago."""
        take, card = shown_by(self._client.studio, reaction.message)
        if not (take or card):
            self._early.setdefault(reaction.message, {})[reaction.event] = (reaction, member)
            if len(self._early) > MOST_EARLY:
                del self._early[next(iter(self._early))]
        elif self._client.studio.seen.begin(reaction.event, reaction.channel):
            self.see_again(reaction, member)

    def noted(self, message: int) -> None:
        """It is noted what a message of ours shows: do what reactions to it said before."""
        for reaction, member in self._early.pop(message, {}).values():
            self.see(reaction, member)

    def see_again(self, reaction: Reaction, member: discord.Member | None = None) -> None:
        """Do what a reaction says that was begun."""
        self._answer_once(reaction.event, reaction.channel, lambda: react(self._client, reaction, member))

    async def unsee(self, reaction: Reaction) -> None:
        """A reaction was taken back: so is what it says, once that is done."""
        self._early.get(reaction.message, {}).pop(reaction.event, None)
        if (task := self._tasks.get(reaction.event)) is not None:
            await asyncio.wait([task])
        await take_back(self._client, reaction)

    async def unsaid(self, event: str, channel: str) -> None:
        """What a deleted message asked is not understood to its end, and forgotten unless it is being filmed."""
        if (task := self._tasks.get(event)) is not None:
            task.cancel()
            await asyncio.wait([task])
            self._client.studio.seen.end(event, channel)
        await self._client.front.unsaid(event)

    def _answer_once(self, event: str, channel: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do what was begun to its end, through any trouble of Discord's: again from its beginning, if need be."""

        async def through() -> None:
            with about(event=event):
                try:
                    await persistently(work, LONG_WAITS)
                except TROUBLE:
                    log.exception("it is given up")
            self._client.studio.seen.end(event, channel)

        self._tasks[event] = task = self._client.do(through())
        task.add_done_callback(lambda _: self._tasks.pop(event, None))

    async def _answered(self, message: discord.Message) -> None:
        ask = self._client.ask_of_message(message)
        try:
            lines = await self._client.front.hear(ask)
        except Exception as error:  # the outermost place: whatever one message does, the next one is heard
            if passes(error):
                raise
            lines = (sentence_of(error, ask.locale),)
        if lines:
            await self._client.board.abandon(ask.event)
            await self._client.answer(message, "\n".join(lines))

    async def _answered_again(self, message: discord.Message) -> None:
        """A message of which a job may have come already, a plan on a card, or an end."""
        ask, studio = self._client.ask_of_message(message), self._client.studio
        filmed = studio.jobs.asked_by(str(message.id))
        card = studio.cards.by_job(filmed.id) if filmed else studio.cards.by_event(ask.event)
        if card and (card.job is not None or card.draft is not None or card.closed):
            await self._client.front.resume(ask, card)  # it may not have been shown
        else:
            await self._answered(message)
