"""A soak: requests by the hundred, answered by a bot and filmed by workers that are killed (-9) all the time.

python tests/soak.py [--requests 200] [--workers 3] [--kill-seconds 1] [--seed 1] [--limit-seconds 1800]

The bot is `longtake bot` on tests/discord_server.py and the workers are `longtake worker`, all on one data folder; the
model is the smallest one of the real classes. People ask in ten channels. Every request must end in one card and one
film in its channel, whose bytes are those of a run in which nobody was killed. Prints a table, and as its last line one
JSON object; the exit code is 1 if anything was lost, doubled or different.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from discord_server import ANN, BOB, CHANNEL, GUILD, TOKEN, Json, Server, serving  # noqa: E402
from filming import draw  # noqa: E402
from mortal import Mortal  # noqa: E402
from waiting import until  # noqa: E402

from bot.discord.keys import key_of  # noqa: E402
from storage.cards import Cards, Manners, Seen  # noqa: E402
from storage.database import Database  # noqa: E402
from storage.jobs import Jobs  # noqa: E402
from storage.schema import Policy  # noqa: E402

ACTIONS = ("runs to the sea", "jumps", "barks at a crab", "digs a hole", "sleeps", "looks up")
STORIES = [f"@ 64x64, 5 s of my dog, he {action}, seed {seed}" for seed, action in enumerate(ACTIONS, start=1)]
ROOMS = [CHANNEL + number for number in range(10)]
WAITING = 30  # requests at a time
UNDISTURBED_SECONDS = 600.0  # for a few films while nobody is killed
FREE = Policy(queue_per_person=50, minutes_per_day=1440, requests_per_hour=1000, approve=False)


@dataclass(frozen=True)
class Terms:
    """How many ask, who films, and how often somebody is killed."""

    requests: int = 200
    workers: int = 3
    stories: int = len(ACTIONS)  # different ones
    kill_seconds: float = 1.0  # on average, between two kills
    most_kills: int = 10**9  # then everybody is left alone
    seed: int = 1
    limit_seconds: float = 1800.0


@dataclass
class Report:
    """What came of it. All of `lost`, `double`, `different`, `unposted` and `ended` must be 0."""

    requests: int = 0
    cards: int = 0
    films: int = 0
    takes: int = 0
    lost: int = 0  # requests without a card or without a film
    double: int = 0  # requests with a second card or film
    different: int = 0  # films whose bytes are not those of the undisturbed run
    unposted: int = 0  # takes that not exactly one message is noted for
    ended: int = 0  # processes that ended by themselves
    bots_killed: int = 0
    workers_killed: int = 0
    attempts: int = 0  # at all jobs together
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether everything that was asked is there once, and as it should be."""
        wrong = self.lost or self.double or self.different or self.unposted or self.ended
        return not wrong and self.requests == self.films == self.takes == self.cards > 0


@dataclass
class Scene:
    """A Discord, a bot and workers on one data folder."""

    server: Server
    folder: Path
    bot: Mortal
    workers: list[Mortal]
    photo: bytes
    asked: dict[str, str] = field(default_factory=dict)  # request -> story
    killed: Counter[str] = field(default_factory=Counter)
    ended: int = 0

    def __post_init__(self) -> None:
        self.database = Database.open(self.folder / "longtake.db")
        Manners(self.database).keep_policy(key_of(GUILD), FREE)

    @property
    def everybody(self) -> list[Mortal]:
        return [self.bot, *self.workers]

    @property
    def ours(self) -> list[Json]:
        """Every message of the bot."""
        return [message for room in ROOMS for message in self.server.ours(room)]

    @property
    def films(self) -> list[Json]:
        return [message for room in ROOMS for message in self.server.films(room)]

    def settled(self) -> bool:
        """Everything that was asked is in its channel, and nothing is left to do."""
        if len(self.films) < len(self.asked):
            return False
        return not (Cards(self.database).followed() or Seen(self.database).unfinished() or Jobs(self.database).queue())

    async def ask(self, stories: list[str]) -> None:
        """People ask, as many at a time as wait."""
        for story, room, who in zip(stories, itertools.cycle(ROOMS), itertools.cycle((ANN, BOB)), strict=False):
            while len(self.asked) - len(self.films) >= WAITING:
                await asyncio.sleep(0.1)
            message = await self.server.say(who, story, where=room, photo=self.photo)
            self.asked[message["id"]] = story
            await asyncio.sleep(0.02)

    async def kill(self, terms: Terms) -> None:
        """Kill somebody, again and again; another one is there at once."""
        at, chance = time.monotonic(), random.Random(terms.seed)
        while self.killed.total() < terms.most_kills:
            at += chance.expovariate(1 / terms.kill_seconds)
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            victim = chance.choice(self.everybody)
            await asyncio.to_thread(victim.kill)
            self.killed[victim.work] += 1
            victim.start()

    async def mind(self) -> None:
        """Start again who ended by themselves, and count them. NOTE: who is being killed has ended as well."""
        while True:
            await asyncio.sleep(0.5)
            for one in self.everybody:
                if one.process is not None and not one.alive and one.process.exitcode not in (None, -9):
                    self.ended += 1
                    one.start()

    def of(self, request: str, messages: list[Json]) -> int:
        """How many of these messages answer a request."""
        return sum((m.get("message_reference") or {}).get("message_id") == request for m in messages)


@asynccontextmanager
async def scene(folder: Path, models: Path, workers: int) -> AsyncIterator[Scene]:
    """A bot that listens and workers that wait."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "LONGTAKE_DATA_DIR": str(folder), "LONGTAKE_MODELS_DIR": str(models), "LONGTAKE_PRESET": "demo-fast",
        "LONGTAKE_THREADS": "1", "LONGTAKE_PRECISION": "float32", "LONGTAKE_POLL_SECONDS": "0.2",
        "LONGTAKE_LEASE_SECONDS": "4", "LONGTAKE_DISCORD_EDIT_SECONDS": "2", "LONGTAKE_DISCORD_TOKEN": TOKEN,
        "LONGTAKE_WORKERS": "0",
        "LONGTAKE_ATTEMPTS": "1000",  # who is killed here is killed by chance, not by the job
    }  # fmt: skip
    async with serving() as server:
        server.messages |= {room: {} for room in ROOMS}
        crew = [Mortal("worker", environment, folder / "worker.log") for _ in range(workers)]
        bot = Mortal("bot", environment, folder / "bot.log", server.port)
        photo = draw(folder / "photo.png", 1).read_bytes()
        there = Scene(server, folder, bot, crew, photo)
        for one in there.everybody:
            one.start()
        minding = asyncio.create_task(there.mind())
        try:
            await until(lambda: server.identified)
            yield there
        finally:
            minding.cancel()
            for one in there.everybody:
                one.kill()


async def undisturbed(folder: Path, models: Path, stories: list[str]) -> dict[str, str]:
    """The hash of each story's film where nobody is killed."""
    async with scene(folder, models, 1) as there:
        await there.ask(stories)
        await until(there.settled, UNDISTURBED_SECONDS)
        hashes = {}
        for request, story in there.asked.items():
            (film,) = [m for m in there.films if there.of(request, [m])]
            hashes[story] = digest(there.server.file(film))
        return hashes


async def soak(folder: Path, models: Path, terms: Terms) -> Report:
    """Ask, kill, and count."""
    expected = await undisturbed(folder / "undisturbed", models, STORIES[: terms.stories])
    began = time.monotonic()
    stories = [STORIES[number % terms.stories] for number in range(terms.requests)]
    async with scene(folder / "disturbed", models, terms.workers) as there:
        asking = asyncio.create_task(there.ask(stories))
        killing = asyncio.create_task(there.kill(terms))
        with suppress(TimeoutError):  # what is missing then is counted
            await until(lambda: asking.done() and there.settled(), terms.limit_seconds)
        for task in (killing, asking):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task  # whoever fell over did not do what is counted here
        return count(there, expected, terms.requests, time.monotonic() - began)


def count(there: Scene, expected: dict[str, str], requests: int, seconds: float) -> Report:
    """What stands in the channels and in the tables."""
    films, ours = there.films, there.ours
    cards = [message for message in ours if message["flags"] & 1 << 15]
    shown = {r: (there.of(r, cards), there.of(r, films)) for r in there.asked}
    stories = {m["id"]: there.asked.get((m.get("message_reference") or {}).get("message_id", ""), "") for m in films}
    posts = there.database.rows("SELECT count(message) AS n FROM takes LEFT JOIN posts ON take = id GROUP BY id", {})
    return Report(
        requests=requests,
        cards=len(cards),
        films=len(films),
        takes=len(posts),
        lost=requests - len(shown) + sum(0 in numbers for numbers in shown.values()),
        double=sum(max(numbers) > 1 for numbers in shown.values()),
        different=sum(digest(there.server.file(m)) != expected.get(stories[m["id"]]) for m in films),
        unposted=sum(row["n"] != 1 for row in posts),
        ended=there.ended,
        bots_killed=there.killed["bot"],
        workers_killed=there.killed["worker"],
        attempts=there.database.rows("SELECT sum(attempts) AS n FROM jobs", {})[0]["n"] or 0,
        seconds=round(seconds, 1),
    )


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_tiny(folder: Path) -> None:
    """The smallest model of the real classes."""
    from engine.demo.untrained import TEXT_DIM, write_untrained
    from engine.dit import DiTConfig
    from engine.vae import VAEConfig

    sizes = DiTConfig(dim=24, ffn_dim=32, freq_dim=16, heads=1, layers=1, text_dim=TEXT_DIM, text_len=64)
    write_untrained(folder / "demo", dit=sizes, vae=VAEConfig(base_dim=2, dim_mult=(1, 1, 1, 1), res_blocks=0))


def main() -> int:
    """Soak, print; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in asdict(Terms()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--keep", type=Path, help="a folder in which everything is left to be looked at")
    options = vars(parser.parse_args())
    kept = options.pop("keep")
    with tempfile.TemporaryDirectory() as temporary:
        folder = kept or Path(temporary)
        write_tiny(folder / "models")
        report = asyncio.run(soak(folder, folder / "models", Terms(**options)))
    for name, value in asdict(report).items():
        print(f"{name.replace('_', ' '):16} {value}")
    print(json.dumps(asdict(report) | {"sound": report.sound} | options))
    return not report.sound


if __name__ == "__main__":
    sys.exit(main())
