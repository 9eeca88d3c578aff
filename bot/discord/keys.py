"""How Discord's numbers are called in storage."""

from typing import Protocol

import discord

PREFIX = "discord:"

Place = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread | discord.DMChannel


class Numbered(Protocol):
    """Anything of Discord's that has a number."""

    @property
    def id(self) -> int:
        """The snowflake."""


def key_of(thing: Numbered | int) -> str:
    """The name in storage of a channel, a server or a person."""
    return f"{PREFIX}{thing if isinstance(thing, int) else thing.id}"


def number_of(key: str) -> int:
    """Discord's number of a name in storage."""
    return int(key.removeprefix(PREFIX))


def place_of(guild: discord.Guild | None) -> str:
    """The name in storage of a server; a direct message has none."""
    return key_of(guild) if guild else ""


def is_restricted(channel: Place | None) -> bool:
    """Whether a channel is age-restricted; a thread is what its parent is."""
    return channel is not None and not isinstance(channel, discord.DMChannel) and channel.is_nsfw()


async def channel_of(client: discord.Client, key: str) -> Place | None:
    """A channel, a thread or a direct message by its name in storage; None if it is gone or closed to us."""
    number = number_of(key)
    channel = client.get_channel(number)
    if channel is None:
        try:
            channel = await client.fetch_channel(number)
        except (discord.NotFound, discord.Forbidden):
            return None
    return channel if isinstance(channel, Place) else None


def locale_of(channel: object) -> str:
    """The language of a channel's server."""
    guild = getattr(channel, "guild", None)
    return str(guild.preferred_locale) if guild else "en-US"


def reference_to(channel: Place, message: int | str | None) -> discord.MessageReference | None:
    """A message as what another one answers, also if it is gone by then; None for none."""
    if message is None:
        return None
    return channel.get_partial_message(int(message)).to_reference(fail_if_not_exists=False)


def link_to(guild: int | None, channel: str, message: str) -> str:
    """Where a message is, for a client to jump to."""
    return f"https://discord.com/channels/{guild or '@me'}/{number_of(channel)}/{message}"
