"""Our own messages, found again by their buttons: for what was sent, and not noted before we were killed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import discord

from bot.discord.keys import Place

LOOKED_THROUGH = 1000  # messages of a channel, oldest first
CLOCKS = timedelta(minutes=10)  # by which Discord's clock and ours may differ


async def found(channel: Place, kind: str, number: int, since: datetime, file: str = "") -> discord.Message | None:
    """Our first message about a card or a take, by its buttons or its file's name, since a time."""
    me = channel.me if isinstance(channel, discord.DMChannel) else channel.guild.me
    prefix, suffix = f"longtake:{kind}:", f":{number}"
    async for message in channel.history(limit=LOOKED_THROUGH, after=since - CLOCKS):
        if message.author.id == me.id and (
            any(name.startswith(prefix) and name.endswith(suffix) for name in buttons(message.components))
            or any(file and attachment.filename.endswith(file) for attachment in message.attachments)
        ):
            return message
    return None


def buttons(components: list[Any]) -> Iterator[str]:
    """The custom ids of all buttons inside components."""
    for component in components:
        if isinstance(component, discord.Button) and component.custom_id:
            yield component.custom_id
        yield from buttons(getattr(component, "children", []))
