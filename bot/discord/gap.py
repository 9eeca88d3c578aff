"""After a gap, of a second or of a week: what was asked meanwhile, and what we were at when we ended.

The mark of a channel says that everything up to it was heard. So until the gap before this session is looked through,
what is heard in this session does not move the mark. A bot that is killed meanwhile looks through the gap again.
"""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import discord

from bot.discord.keys import channel_of, key_of, place_of
from bot.discord.reactions import Reaction, made_meanwhile
from bot.discord.texts import say
from storage.schema import Card

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

log = logging.getLogger(__name__)
REMEMBER = timedelta(days=7)  # events; Discord repeats none that is older
CLOCKS = timedelta(minutes=10)  # by which Discord's clock and ours may differ
NOTE = "read everywhere"  # in storage: up to this message, also where nobody spoke to us


class Gap:
    """What was missed before this session."""

    def __init__(self, client: "LongtakeClient") -> None:
        self._client = client
        self._studio = client.studio
        self._began = 0  # of the session, as the number of a message
        self._behind: set[str] | None = None  # channels that could not be looked through; None: none is yet

    def open(self) -> None:
        """A session begins. NOTE: before any of its events is heard."""
        self._behind, self._began = None, discord.utils.time_snowflake(discord.utils.utcnow() - CLOCKS)
        if self._studio.manners.note(NOTE) is None:
            self._studio.manners.keep_note(NOTE, str(self._began))

    def closed(self, channel: str) -> bool:
        """Whether the gap before this session was looked through in a channel."""
        return self._behind is not None and channel not in self._behind

    async def close(self) -> None:
        """Take up what was begun, and look for what was missed. A channel in trouble keeps us from no other one."""
        session, behind = self._began, set()
        await asyncio.to_thread(self._studio.seen.forget, REMEMBER.total_seconds())
        for event, channel in await asyncio.to_thread(self._studio.seen.unfinished):
            if event not in self._client.hearing:
                await _done(self._take_up(event, channel))
        for card in await asyncio.to_thread(self._studio.cards.followed):
            if (
                card.job is None
                and card.asked not in self._client.hearing
                and not self._client.board.opening.directs(card.id)
            ):
                await _done(self._fail(card))
        marks = await asyncio.to_thread(self._studio.seen.marks)
        known = await asyncio.to_thread(self._studio.seen.reactions)
        for channel, mark in (marks | self._first_words(marks)).items():
            if not await _done(self._read_on(channel, mark, known)):
                behind.add(channel)
        if session == self._began:
            self._behind = behind
            if not behind:
                self._studio.manners.keep_note(NOTE, str(session))

    async def _take_up(self, event: str, channel: str) -> None:
        """Answer what nobody finished to answer."""
        kind, _, number = event.partition(":")
        if kind == "reaction":
            self._client.hearing.see_again(Reaction.named(event, channel))
            return
        place = await channel_of(self._client, channel)
        try:
            message = await place.fetch_message(int(number)) if place else None
        except discord.NotFound:
            await self._client.front.unsaid(event)
            message = None
        except discord.Forbidden:
            message = None
        if message is not None and await self._client.admits(message):
            self._client.hearing.hear_again(message)
        else:
            self._studio.seen.end(event, channel)

    async def _fail(self, card: Card) -> None:
        """A command that was being planned when we were killed cannot be heard again; its asker is told."""
        await self._client.board.opening.look_for(card)
        await self._client.board.fail(card.id, say(card.locale, "error.restarted"))

    def _first_words(self, marks: dict[str, int]) -> dict[str, int]:
        """Channels in which nobody spoke to us yet and something was said since all of them were looked through."""
        read = int(self._studio.manners.note(NOTE) or self._began)
        places: list[discord.TextChannel | discord.VoiceChannel | discord.Thread] = []
        for guild in self._client.guilds:
            places += [*guild.text_channels, *guild.voice_channels, *guild.threads]
        return {key_of(p): read for p in places if key_of(p) not in marks and (p.last_message_id or 0) > read}

    async def _read_on(self, channel: str, mark: int, known: set[str]) -> None:
        """Of the newest messages of a channel, oldest first: those that are newer than what was read, and reactions to
        us; those that are `known` and not there any more were taken back. What is older than the events that we
        remember is left alone: whether its reactions were heard is not known.
        """
        client = self._client
        place = await channel_of(client, channel)
        if place is None or not client.settings.discord_catch_up:
            return
        try:
            newest = [message async for message in place.history(limit=client.settings.discord_catch_up)]
            for message in reversed(newest):
                if message.id > mark:
                    await client.on_message(message)
                if message.author == client.user and message.created_at > discord.utils.utcnow() - REMEMBER:
                    made = await made_meanwhile(message)
                    for reaction, member in made:
                        client.hearing.see(reaction, member)
                    there = {plain(reaction.event) for reaction, _ in made}
                    heard = [event for event in known if event.startswith(f"reaction:{message.id}:")]
                    for event in [event for event in heard if plain(event) not in there]:
                        await client.hearing.unsee(Reaction.named(event, channel))
        except (discord.Forbidden, discord.NotFound):
            return
        if newest and newest[0].id > mark:
            self._studio.seen.read(channel, newest[0].id, place_of(newest[0].guild))


def plain(event: str) -> str:
    """The event of a reaction without what some clients add to an emoji, so that nothing seems to be taken back."""
    return event.replace("\ufe0f", "")


async def _done(step: Coroutine[Any, Any, None]) -> bool:
    """Make a step of catching up; whether it went well. Whatever it does, the next ones are made."""
    try:
        await step
    except Exception:
        log.exception("something was not caught up with")
        return False
    return True
