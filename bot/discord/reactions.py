"""Reactions: an emoji on a film or on its card is a word. One of a kind a person and message."""

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import discord

from bot.discord.answering import LONGEST, sentence_of
from bot.discord.ask import Ask
from bot.discord.keeping import keep, let_go
from bot.discord.keys import Place, channel_of, key_of, locale_of
from bot.discord.rest import passes
from bot.discord.shown import shown_by
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Card, JobState, Take, UserError

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

log = logging.getLogger(__name__)
ACTS = {
    "🔁": "again",
    "🎲": "again",
    "▶️": "continue",
    "▶": "continue",
    "❌": "drop",
    "📩": "send",
    "📌": "keep",
    "ℹ️": "details",
    "ℹ": "details",
}


@dataclass(frozen=True)
class Reaction:
    """Who reacted to which message, and how. `channel` is its name in storage."""

    channel: str
    message: int
    person: int
    emoji: str

    @classmethod
    def of(cls, payload: discord.RawReactionActionEvent) -> Self:
        """What the gateway told."""
        return cls(key_of(payload.channel_id), payload.message_id, payload.user_id, payload.emoji.name)

    @classmethod
    def named(cls, event: str, channel: str) -> Self:
        """What `event` named."""
        _, message, person, emoji = event.split(":", 3)
        return cls(channel, int(message), int(person), emoji)

    @property
    def event(self) -> str:
        """One of a kind a person, emoji and message."""
        return f"reaction:{self.message}:{self.person}:{self.emoji}"


async def react(client: "LongtakeClient", reaction: Reaction, member: discord.Member | None = None) -> None:
    """Do what an emoji says, unless it was done before we were killed."""
    take, card = shown_by(client.studio, reaction.message)
    channel = await channel_of(client, reaction.channel)
    asker = member or (await _person(client, channel, reaction.person) if channel else None)
    if channel is None or asker is None or asker.bot:
        return
    locale = _locale(client.studio, take, card, key_of(asker)) or locale_of(channel)
    ask = Ask(event=reaction.event, channel=channel, asker=asker, locale=locale)
    made = client.studio.cards.by_event(reaction.event)
    if made and (made.job is not None or made.draft is not None):
        await client.front.resume(ask, made, approve=False if ACTS[reaction.emoji] == "again" else None)
        return
    try:
        if told := await _act(client, ask, ACTS[reaction.emoji], take, card):
            await _tell(channel, reaction, told)
    except Exception as error:
        if passes(error):
            raise  # it is tried again
        await _tell(channel, reaction, sentence_of(error, ask.locale))


async def take_back(client: "LongtakeClient", reaction: Reaction) -> None:
    """What a reaction asked for is cancelled as long as nobody films it, and what it keeps is let go. One that was
    refused counts when it is made again."""
    if ACTS[reaction.emoji] == "keep":
        client.studio.seen.unsee(reaction.event)
        await _let_go(client, reaction)
        return
    card = client.studio.cards.by_event(reaction.event)
    if card is None or (card.closed and card.job is None):
        client.studio.quota.count_again(reaction.event)
        client.studio.seen.unsee(reaction.event)
    elif card.job is not None and client.studio.jobs.get(card.job).state is JobState.QUEUED:
        client.studio.cancel(card.job)
        await client.board.refresh(card.id)


async def _let_go(client: "LongtakeClient", reaction: Reaction) -> None:
    take, card = shown_by(client.studio, reaction.message)
    channel = await channel_of(client, reaction.channel)
    if take is None or channel is None:
        return
    person = key_of(reaction.person)
    locale = _locale(client.studio, take, card, person) or locale_of(channel)
    if told := let_go(client.studio, take, person, locale):
        await _tell(channel, reaction, told)


async def _tell(channel: Place, reaction: Reaction, text: str) -> None:
    """Say something in the channel to who reacted; of the same within minutes, once."""
    nonce = hashlib.sha256(f"{reaction.event} {text}".encode()).hexdigest()[:25]
    try:
        await channel.send(f"<@{reaction.person}>: {text}"[:LONGEST], nonce=nonce)
    except discord.DiscordException as trouble:
        log.info("reaction %s is not answered: %s", reaction.event, trouble)


def _locale(studio: Studio, take: Take | None, card: Card | None, person: str) -> str | None:
    """The language in which a person asked for what they react to; None for who did not ask for it."""
    asked = card or (studio.cards.by_job(take.job) if take else None)
    return asked.locale if asked and asked.asker == person else None


async def _person(client: "LongtakeClient", channel: object, number: int) -> discord.Member | discord.User | None:
    """Who reacted, as a member of the channel's server where it has one; None if they have left."""
    guild = getattr(channel, "guild", None)
    try:
        return await (guild.fetch_member(number) if guild else client.fetch_user(number))
    except discord.NotFound:
        return None


async def _act(client: "LongtakeClient", ask: Ask, act: str, take: Take | None, card: Card | None) -> str:
    """What an emoji says; a sentence where nothing else answers it."""
    front = client.front
    match act:
        case "again" if take:
            await front.again(ask, take)
        case "continue" if take:
            await front.proceed(ask, take)
        case "drop" if take:
            await front.delete(ask, take)
        case "drop" if card and not card.closed:
            await front.cancel(ask, card)
        case "send" if take:
            await front.send_to(ask, take)
        case "details" if take:
            await front.tell_details(ask, take)
        case "keep" if take:
            return keep(front, ask, take)
        case "keep":
            raise UserError(say(ask.locale, "error.keep_not_yet"))
    return ""


async def made_meanwhile(message: discord.Message) -> list[tuple[Reaction, discord.Member | None]]:
    """Reactions of people to a message of ours, oldest emoji first."""
    made = []
    for given in message.reactions:
        emoji = str(given.emoji)
        if emoji in ACTS and given.count > given.me:
            async for person in given.users():
                if not person.bot:
                    reaction = Reaction(key_of(message.channel), message.id, person.id, emoji)
                    made.append((reaction, person if isinstance(person, discord.Member) else None))
    return made
