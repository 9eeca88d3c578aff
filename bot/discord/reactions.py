"""Reactions: an emoji on a film or on its card is a word. One of a kind a person and message."""

import logging
from typing import TYPE_CHECKING

import discord

from bot.discord.answering import LONGEST, sentence_of
from bot.discord.ask import Ask
from bot.discord.keys import channel_of, key_of, locale_of
from bot.discord.shown import shown_by
from storage.schema import Card, JobState, Take

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
    "ℹ️": "details",
    "ℹ": "details",
}


async def react(client: "LongtakeClient", payload: discord.RawReactionActionEvent) -> None:
    """Do what an emoji says."""
    studio = client.studio
    take, card = shown_by(studio, payload.message_id)
    if take is None and card is None:
        return
    act, event = ACTS[payload.emoji.name], event_of(payload)
    asker = payload.member or await client.fetch_user(payload.user_id)
    channel = await channel_of(client, key_of(payload.channel_id))
    if asker.bot or channel is None or not studio.seen.first(event):
        return
    ask = Ask(event=event, channel=channel, asker=asker, locale=locale_of(channel))
    try:
        await _act(client, ask, act, take, card)
    except Exception as error:  # noqa: BLE001 - the outermost place: whoever reacted is told
        studio.seen.unsee(event)  # so that it counts when it is made again
        try:
            await channel.send(f"{asker.mention}: {sentence_of(error, ask.locale)}"[:LONGEST])
        except discord.DiscordException as trouble:
            log.info("reaction %s is not answered: %s", event, trouble)


async def take_back(client: "LongtakeClient", payload: discord.RawReactionActionEvent) -> None:
    """What a reaction asked for is cancelled as long as nobody films it."""
    card = client.studio.cards.by_event(event_of(payload))
    if card and card.job is not None and client.studio.jobs.get(card.job).state is JobState.QUEUED:
        client.studio.cancel(card.job)
        await client.board.refresh(card.id)


def event_of(payload: discord.RawReactionActionEvent) -> str:
    """One of a kind a person, emoji and message."""
    return f"reaction:{payload.message_id}:{payload.user_id}:{payload.emoji.name}"


async def _act(client: "LongtakeClient", ask: Ask, act: str, take: Take | None, card: Card | None) -> None:
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
