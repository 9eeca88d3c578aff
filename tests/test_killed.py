"""A bot that is killed at any moment loses no request and posts no film twice."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from discord_server import ANN, BOB, CHANNEL, GUILD, TOKEN, Fault, Server, serving
from discord_world import World, settings_in
from filming import draw
from mortal import Mortal
from waiting import until

from bot.discord.gap import NOTE
from bot.studio import Studio
from storage.schema import Policy

pytestmark = pytest.mark.asyncio
STORY = "@ 5 s of my dog, he runs to the sea"
ROOM = f"^/channels/{CHANNEL}/messages"


@dataclass
class Place:
    """A Discord, a bot that is killed again and again, and who films for it by hand."""

    server: Server
    bot: Mortal
    studio: Studio
    films: World
    photo: bytes

    async def connect(self, writes: int = 0) -> None:
        """Start a bot, and wait until it listens or is dead."""
        before = self.server.identified
        self.bot.start(writes)
        await until(lambda: self.server.identified > before or not self.bot.alive)

    async def kill(self) -> None:
        await asyncio.to_thread(self.bot.kill)

    @property
    def settled(self) -> bool:
        """Nothing is left to be answered, filmed, or posted."""
        studio = self.studio
        return not (studio.cards.followed() or studio.seen.unfinished() or studio.jobs.queue())

    def settled_with(self, films: int) -> bool:
        """The same, and so many films are in the channel."""
        return self.settled and len(self.server.films()) == films

    async def film(self) -> None:
        """Film what waits."""
        while self.studio.jobs.queue():
            self.films.finish(await self.films.work())

    def require_once(self, requests: int) -> None:
        """Each request has one card, one job, and one take that one message shows."""
        films, takes = self.server.films(), self.studio.takes.history(f"discord:{CHANNEL}")
        assert len(self.server.cards()) == len(self.studio.jobs.recent()) == len(takes) == len(films) == requests
        shown = [self.studio.takes.by_message(message["id"]) for message in films]
        assert {take.id for take in shown if take} == {take.id for take in takes}
        assert [self.server.file(m) for m, take in zip(films, shown, strict=True) if take] == [
            self.studio.media.path(take.film.video).read_bytes() for take in shown if take
        ]


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    environment = {
        "LONGTAKE_DATA_DIR": str(folder / "data"),
        "LONGTAKE_DISCORD_TOKEN": TOKEN,
        "LONGTAKE_DISCORD_APPROVE": "false",
        "LONGTAKE_DISCORD_EDIT_SECONDS": "0.2",
        "LONGTAKE_WORKERS": "0",
    }
    studio = Studio(settings_in(folder))
    async with serving() as server:
        bot = Mortal("bot", environment, folder / "bot.log", server.port)
        films = World(None, None, studio, None, None, None, None, folder)  # type: ignore[arg-type]
        here = Place(server, bot, studio, films, draw(folder / "dog.png", 1).read_bytes())
        try:
            yield here
        finally:
            await here.kill()


async def test_killed_before_every_one_of_its_writes(tmp_path: Path):
    """From each step to the next: a life of one write, of two, of three ... Each does what comes before its next write,
    and cannot note it. Discord remembers no nonces: what was sent is only seen in the channel. Nobody listens when
    somebody speaks, in a channel where nobody spoke yet, or reacts."""
    async with place(tmp_path) as p:
        p.server.nonces = False

        async def lives(done: Callable[[], object]) -> None:
            for writes in itertools.count(1):
                await p.connect(writes)
                await until(lambda: done() or not p.bot.alive)
                await p.kill()
                if done():
                    break

        await p.connect()
        await until(lambda: p.studio.manners.note(NOTE))
        await p.kill()
        await p.server.say(ANN, STORY, photo=p.photo)
        await lives(p.studio.jobs.queue)
        await p.film()
        await lives(lambda: p.settled_with(1))
        await p.server.react(BOB, p.server.films()[0], "🔁")
        await lives(p.studio.jobs.queue)
        await p.film()
        await lives(lambda: p.settled_with(2))
        p.require_once(2)
        assert p.bot.lives > 20


async def test_a_request_counts_once_however_often_its_bot_is_killed(tmp_path: Path):
    """A life of one write, of two ...: what was counted is heard again all the same, and leaves no room for another."""
    async with place(tmp_path) as p:
        p.studio.manners.keep_policy(f"discord:{GUILD}", Policy(approve=False, requests_per_hour=1))
        await p.connect()
        await until(lambda: p.studio.manners.note(NOTE))
        await p.kill()
        await p.server.say(ANN, STORY, photo=p.photo)
        for writes in itertools.count(1):
            await p.connect(writes)
            await until(lambda: p.studio.jobs.queue() or not p.bot.alive, 60)
            await p.kill()
            if p.studio.jobs.queue():
                break
        assert p.bot.lives > 3
        await p.connect()
        await p.server.say(ANN, STORY, photo=p.photo)
        await until(lambda: "You asked 1 times within an hour" in p.server.ours()[-1]["content"], 60)
        assert len(p.studio.jobs.recent()) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-done", "before-it-is-told"])
@pytest.mark.parametrize(
    ("method", "path", "filmed"),
    [
        pytest.param("POST", f"{ROOM}$", False, id="card"),
        pytest.param("PATCH", f"{ROOM}/", False, id="plan"),
        pytest.param("POST", f"{ROOM}$", True, id="film"),
        pytest.param("PUT", f"{ROOM}/.*/reactions", True, id="offer"),
    ],
)
async def test_killed_while_discord_does_what_it_was_asked(
    tmp_path: Path, method: str, path: str, filmed: bool, after: bool
):
    async with place(tmp_path) as p:
        fault = Fault(method, path, after=after, kill=p.kill)
        p.server.faults += [] if filmed else [fault]
        await p.connect()
        await p.server.say(ANN, STORY, photo=p.photo)
        if filmed:
            await until(p.studio.jobs.queue)
            p.server.faults.append(fault)
            await p.film()
        await until(lambda: not p.bot.alive)
        assert not p.server.faults, "it was killed then"
        await p.connect()
        if not filmed:
            await until(p.studio.jobs.queue)
            await p.film()
        await until(lambda: p.settled_with(1))
        p.require_once(1)


async def test_a_reaction_to_a_film_that_was_sent_and_not_noted_is_heard_by_the_next_life(tmp_path: Path):
    """That life looks through what it missed before it finds that its film is there already."""
    async with place(tmp_path) as p:
        await p.connect()
        await p.server.say(ANN, STORY, photo=p.photo)
        await until(p.studio.jobs.queue)

        async def react_and_kill() -> None:
            await p.server.react(BOB, p.server.films()[0], "🔁")
            await p.kill()

        p.server.faults.append(Fault("POST", f"{ROOM}$", after=True, kill=react_and_kill))
        await p.film()
        await until(lambda: not p.bot.alive)
        read, looks_for_it = p.studio.manners.note(NOTE), rf"{ROOM}\?.*after="
        p.server.faults.append(Fault("GET", looks_for_it, status=409, times=float("inf")))
        await p.connect()
        await until(lambda: p.studio.manners.note(NOTE) != read)
        p.server.faults.clear()
        await until(p.studio.jobs.queue)
        await p.film()
        await until(lambda: p.settled_with(2))
        p.require_once(2)
