"""After a gap, of a second or of a week: what was asked meanwhile, and what we were at when we ended."""

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


async def catch_up(client: "LongtakeClient") -> None:
    """Take up what was begun, and look for what was missed. A channel in trouble must not keep us from the others."""
    studio = client.studio
    await asyncio.to_thread(studio.seen.forget, REMEMBER.total_seconds())
    for event, channel in await asyncio.to_thread(studio.seen.unfinished):
        if event not in client.hearing:
            await _alone(_take_up(client, event, channel))
    for card in await asyncio.to_thread(studio.cards.followed):
        if card.job is None and card.asked not in client.hearing and not client.board.directs(card.id):
            await _alone(_fail(client, card))
    marks = await asyncio.to_thread(studio.seen.marks)
    for channel, mark in (marks | _first_words(client, marks)).items():
        await _alone(_read_on(client, channel, mark))


async def _alone(step: Coroutine[Any, Any, None]) -> None:
    """A step of catching up; whatever it does, the next ones are made."""
    try:
        await step
    except Exception:
        log.exception("something was not caught up with")


async def _take_up(client: "LongtakeClient", event: str, channel: str) -> None:
    """Answer what nobody finished to answer."""
    kind, _, number = event.partition(":")
    if kind == "reaction":
        client.hearing.see_again(Reaction.named(event, channel))
        return
    place = await channel_of(client, channel)
    try:
        message = await place.fetch_message(int(number)) if place else None
    except discord.NotFound:
        await client.front.unsaid(event)
        message = None
    except discord.Forbidden:
        message = None
    if message is not None:
        client.hearing.hear_again(message)
    else:
        client.studio.seen.end(event, channel)


async def _fail(client: "LongtakeClient", card: Card) -> None:
    """A command that was being planned when we were killed cannot be heard again; its asker is told."""
    await client.board.look_for(card)
    await client.board.fail(card.id, say(card.locale, "error.restarted"))


def _first_words(client: "LongtakeClient", marks: dict[str, int]) -> dict[str, int]:
    """Channels in which nobody spoke to us yet and something was said since what we read last, wherever that was."""
    last = max(marks.values(), default=None)
    if last is None:
        return {}
    places: list[discord.TextChannel | discord.VoiceChannel | discord.Thread] = []
    for guild in client.guilds:
        places += [*guild.text_channels, *guild.voice_channels, *guild.threads]
    return {key_of(p): last for p in places if key_of(p) not in marks and (p.last_message_id or 0) > last}


async def _read_on(client: "LongtakeClient", channel: str, mark: int) -> None:
    """Of the newest messages of a channel, oldest first: those that are newer than what was read, and reactions to us.
    What is older than the events that we remember is left alone: whether its reactions were heard is not known."""
    place = await channel_of(client, channel)
    if place is None or not client.settings.discord_catch_up:
        return
    try:
        newest = [message async for message in place.history(limit=client.settings.discord_catch_up)]
        for message in reversed(newest):
            if message.id > mark:
                await client.on_message(message)
            if message.author == client.user and message.created_at > discord.utils.utcnow() - REMEMBER:
                for reaction, member in await made_meanwhile(message):
                    client.hearing.see(reaction, member)
    except (discord.Forbidden, discord.NotFound):
        return
    if newest and newest[0].id > mark:
        client.studio.seen.read(channel, newest[0].id, place_of(newest[0].guild))
