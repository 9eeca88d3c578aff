"""The real client on real sockets, in the test's own process; films are made by hand."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discord_server import ANN, CHANNEL, TOKEN, Server, redirected, serving
from discord_world import World, settings_in
from filming import draw
from waiting import until

from bot.discord.client import LongtakeClient
from bot.studio import Studio
from storage.schema import Take


@dataclass
class Wire:
    """A bot, and the Discord that it talks to."""

    server: Server
    client: LongtakeClient
    studio: Studio
    films: World  # only to film by hand
    photo: bytes

    async def card(self, text: str = "@ 5 s of my dog, he runs", who: int = ANN, **more: Any) -> dict[str, Any]:
        """Ask for a film; its card, once the plan is on it."""
        drafts = {m["id"] for m in self.server.cards("film")}
        await self.server.say(who, text, photo=self.photo, **more)
        await until(lambda: {m["id"] for m in self.server.cards("film")} - drafts)
        return self.server.cards("film")[-1]

    async def film(self, card: dict[str, Any], who: int = ANN, seconds: float = 6.0) -> Take:
        """Press "Film it", and film it."""
        await self.server.press(who, card, "film")
        await until(self.studio.jobs.queue)
        return self.films.finish(await self.films.work(), seconds)

    async def heard(self) -> None:
        """Ask a question, and wait until it is answered, and everything that was said before it."""
        asked = await self.server.say(ANN, "@ help")
        await until(lambda: self.server.answers_to(asked))
        await self.caught_up()

    async def caught_up(self) -> None:
        """Wait until what was missed before this session is looked through, and all that was heard is answered."""
        await until(lambda: self.client.gap.closed(f"discord:{CHANNEL}") and not self.studio.seen.unfinished())

    async def turns(self, count: int) -> None:
        """Let the bot's watch go round so many times: what it would do of itself, it has done then."""
        then = self.client.watching.current_loop + count
        await until(lambda: self.client.watching.current_loop >= then)

    async def filmed(self) -> Take:
        """From words to a take that waits to be handed over."""
        return await self.film(await self.card())


@asynccontextmanager
async def connected(server: Server, folder: Path, **more: Any) -> AsyncIterator[Wire]:
    """A bot that is connected to a server."""
    settings = settings_in(folder, **{"discord_edit_seconds": 0.2, **more})
    studio = Studio(settings)
    before = server.identified
    with redirected(server.port):
        client = LongtakeClient(studio, settings)
        client.watching.change_interval(seconds=0.1)
        films = World(None, client, studio, None, None, None, None, folder)
        running = asyncio.ensure_future(client.start(TOKEN))
        await until(lambda: server.identified > before and client.is_ready())
        try:
            yield Wire(server, client, studio, films, draw(folder / "dog.png", 1).read_bytes())
        finally:
            await client.close()
            (fault,) = await asyncio.gather(running, return_exceptions=True)
            if fault:
                logging.getLogger(__name__).info("the client ended with %r", fault)


@asynccontextmanager
async def wire(folder: Path, **more: Any) -> AsyncIterator[Wire]:
    """A server and a bot."""
    async with serving() as server, connected(server, folder, **more) as bot:
        yield bot
