"""Who is let in: the servers that the owner of the bot names, and their people in direct messages."""

import time

import discord

from bot.discord.settings import DiscordSettings

REMEMBER_SECONDS = 600.0  # whether a person is on one of the servers


class Door:
    """Asks Discord where a person is only where it has to: for a direct message, if servers are named."""

    def __init__(self, client: discord.Client, settings: DiscordSettings) -> None:
        self._client = client
        self._settings = settings
        self._known: dict[int, tuple[bool, float]] = {}  # person: whether let in, and when that was asked

    async def admits(self, server: int | None, person: int) -> bool:
        """Whether a person may use the bot on a server; None is a direct message."""
        servers = self._settings.servers
        if not servers:
            return True
        return server in servers if server is not None else await self._is_on_one(servers, person)

    async def _is_on_one(self, servers: frozenset[int], person: int) -> bool:
        now = time.monotonic()
        self._known = {who: said for who, said in self._known.items() if now - said[1] < REMEMBER_SECONDS}
        if person not in self._known:
            self._known[person] = (await self._found(servers, person), now)
        return self._known[person][0]

    async def _found(self, servers: frozenset[int], person: int) -> bool:
        for guild in filter(None, map(self._client.get_guild, servers)):
            try:
                await guild.fetch_member(person)
            except (discord.NotFound, discord.Forbidden):
                continue
            return True
        return False
