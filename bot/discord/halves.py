"""A request in two messages: its words in one, its picture in the other."""

from dataclasses import replace
from datetime import timedelta

import discord

from bot.discord.ask import Ask
from bot.discord.opening import KEPT_WORDS
from bot.studio import Studio
from planner.compiler import NO_PICTURE
from planner.director import NO_STORY

TOGETHER = timedelta(minutes=15)  # what comes later is something else


async def completed(studio: Studio, ask: Ask) -> Ask:
    """A picture with the words that were told to add one, or words with the picture that was told to say something:
    where that was the last thing that their asker wanted here."""
    before = studio.cards.before(ask.channel_key, ask.asker_key, ask.event)
    if before is None or discord.utils.utcnow() - before.opened > TOGETHER:
        return ask
    asked = int(before.asked.partition(":")[2]) if before.asked.startswith("message:") else None
    if ask.replied is not None and str(ask.replied) not in (before.message, str(asked)):
        return ask
    if ask.attachments and not ask.text and before.reason == NO_PICTURE and len(before.words) < KEPT_WORDS:
        return replace(ask, text=before.words)
    if ask.text and not ask.attachments and before.reason == NO_STORY and asked is not None:
        return replace(ask, attachments=await _pictures(ask, asked))
    return ask


async def _pictures(ask: Ask, message: int) -> tuple[discord.Attachment, ...]:
    try:
        return tuple((await ask.channel.fetch_message(message)).attachments)
    except (discord.NotFound, discord.Forbidden):
        return ()
