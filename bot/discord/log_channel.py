"""What the owners of a server want to hear of: changes of its settings, and films that came to nothing."""

import logging

import discord

from bot.discord.answering import LONGEST
from bot.discord.keys import channel_of
from bot.studio import Studio

log = logging.getLogger(__name__)


async def report(client: discord.Client, studio: Studio, place: str, text: str) -> None:
    """A line in the log channel of a server, if it has one and we may write there."""
    key = studio.manners.policy(place).log_channel if place else None
    channel = await channel_of(client, key) if key else None
    if channel is not None:
        try:
            await channel.send(text[:LONGEST])
        except (discord.NotFound, discord.Forbidden):
            log.info("the log channel of %s is closed to us", place)
