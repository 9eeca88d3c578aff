"""How fast the job table is when it is full: enqueue, claim and the look-ups that people wait for.

python benchmarks/job_table.py [--jobs 1000000] [--waiting 10000] [--people 2000] [--channels 500] [--folder FOLDER]

Makes a table of so many finished jobs with their takes and events, and of jobs that wait, each with a card; then times
each operation on its own. With --folder the table is kept, and used again. Prints a table of medians, and as its last
line one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from filming import PHOTO, film_plan, window  # noqa: E402

from bot.discord.board import Board  # noqa: E402
from bot.discord.faces import face_of  # noqa: E402
from bot.discord.settings import DiscordSettings  # noqa: E402
from bot.studio import Studio  # noqa: E402
from storage.database import Database  # noqa: E402
from storage.jobs import Jobs  # noqa: E402
from storage.schema import Errand, Film, JobState  # noqa: E402
from storage.takes import Takes  # noqa: E402

BEGAN_MS, EVERY_MS = 1_700_000_000_000, 20_000  # a job every 20 seconds
PLAN = film_plan([window(1, PHOTO), window(2, PHOTO), window(3, PHOTO)])
FILM = Film(video="b" * 64, tail="c" * 64, frames=233, render_seconds=60.0)
MOST_MS = 5.0  # that a median may be, but for what looks at all that wait:
MORE_MS = {
    "place of a job": 50.0,
    "queue of a channel": 150.0,
    "who waits, in order": 150.0,
    "line of the cards": 250.0,
    "turn of the watch": 1000.0,
    "whole queue": 10000.0,
}
SLOW_ROUNDS = 5  # of those that take seconds


def main() -> int:
    """Make the table, measure, print; 1 if something is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("jobs", 1_000_000), ("waiting", 10_000), ("people", 2000), ("channels", 500), ("rounds", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        file = folder / "longtake.db"
        fresh = not file.exists()
        database = Database.open(file)
        if fresh:
            fill(database, options)
        settings = DiscordSettings(data_dir=folder, workers=0, _env_file=None)  # type: ignore[call-arg]
        medians = look(Studio(settings), settings, options) | measure(database, options)
        size = file.stat().st_size / 2**20
    print(f"{options.jobs} jobs done, {options.waiting} waiting, {options.people} people; {size:.0f} MiB on disk")
    for name, (median, most) in medians.items():
        print(f"{name:34} {median:8.2f} ms   most {most:8.2f} ms")
    told = {name: round(median, 3) for name, (median, _) in medians.items()}
    print(json.dumps({"jobs": options.jobs, "waiting": options.waiting, "cores": os.cpu_count(), "median_ms": told}))
    return any(median > MORE_MS.get(name, MOST_MS) for name, median in told.items())


def fill(database: Database, options: argparse.Namespace) -> None:
    """Rows as the bot and the workers leave them, written in bulk."""
    began, cache = time.monotonic(), database.db.execute("PRAGMA cache_size").fetchone()[0]
    database.db.execute("PRAGMA cache_size = -1000000")  # 1 GB while it is made; what is measured has the usual one
    with database.write() as db:
        for sql, rows in (
            (
                """INSERT INTO jobs (id, state, channel, plan, errand, attempts, worker, created_ms, started_ms,
                    finished_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                jobs(options),
            ),
            ("INSERT INTO takes (id, job, channel, film, created_ms) VALUES (?, ?, ?, ?, ?)", takes(options)),
            ("INSERT INTO posts (message, take) VALUES (?, ?)", ((f"m{n}", n) for n in done(options))),
            ("INSERT INTO events (job, at_ms, kind, attempt, text) VALUES (?, ?, ?, 1, '')", events(options)),
            (
                """INSERT INTO cards (place, channel, asker, asked, words, locale, message, job, opened_ms)
                    VALUES ('discord:1', 'discord:1', 'discord:1', '', 'a dog runs', 'en', ?, ?, 0)""",
                ((f"c{n}", n) for n in range(options.jobs + 1, options.jobs + options.waiting + 1)),
            ),
        ):
            db.conn.executemany(sql, rows)
        db.execute("UPDATE jobs SET take = id WHERE state = 'done'")
    database.db.execute(f"PRAGMA cache_size = {cache}")
    database.checkpoint()
    print(f"the table was made in {time.monotonic() - began:.0f} s", flush=True)


def done(options: argparse.Namespace) -> range:
    return range(1, options.jobs + 1)


def jobs(options: argparse.Namespace) -> Iterator[tuple[object, ...]]:
    chance, plan = random.Random(1), PLAN.model_dump_json()
    for number in range(1, options.jobs + options.waiting + 1):
        channel, person = f"discord:{chance.randrange(options.channels)}", f"discord:{chance.randrange(options.people)}"
        errand = Errand(channel=channel, requester=person, message=str(number)).model_dump_json()
        created = BEGAN_MS + number * EVERY_MS
        if number <= options.jobs:
            yield number, "done", channel, plan, errand, 1, "w", created, created + 5000, created + 65000
        else:
            yield number, "queued", channel, plan, errand, 0, None, created, None, None


def takes(options: argparse.Namespace) -> Iterator[tuple[object, ...]]:
    chance = random.Random(1)
    film = FILM.model_dump_json()
    for number in done(options):
        channel = f"discord:{chance.randrange(options.channels)}"
        chance.randrange(options.people)
        own = film.replace(FILM.video, f"{number:064x}")  # no two films are one file
        yield number, number, channel, own, BEGAN_MS + number * EVERY_MS + 65000


def events(options: argparse.Namespace) -> Iterator[tuple[object, ...]]:
    for number in done(options):
        for kind in ("queued", "claimed", "window", "done"):
            yield number, BEGAN_MS + number * EVERY_MS, kind


def look(studio: Studio, settings: DiscordSettings, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Median and most milliseconds of what the bot reads of all that wait, while nothing moves."""
    with studio.database.write() as db:  # what was filmed when the table was used before
        db.execute("UPDATE cards SET closed = 1 WHERE job NOT IN (SELECT id FROM jobs WHERE state = 'queued')")
    jobs, chance, board = studio.jobs, random.Random(3), Board(None, studio, settings)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    operations: dict[str, Callable[[], object]] = {
        "films of a person that wait": lambda: jobs.counts(f"discord:{chance.randrange(options.people)}"),
        "place of a job": lambda: jobs.position(options.jobs + chance.randrange(1, options.waiting)),
        "queue of a channel": lambda: jobs.placed(f"discord:{chance.randrange(options.channels)}"),
        "who waits, in order": jobs.turns,
        "line of the cards": studio.line,
    }
    figures = {name: timed(work, options.rounds) for name, work in operations.items()}
    line = studio.line()
    for card in studio.cards.followed():
        board._shown[card.id].face = face_of(studio, card, (), line)
    figures["turn of the watch"] = timed(lambda: loop.run_until_complete(board.watch()), SLOW_ROUNDS)
    return figures | {"whole queue": timed(jobs.queue, SLOW_ROUNDS)}


def measure(database: Database, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Median and most milliseconds of each operation."""
    queue, history, chance = Jobs(database), Takes(database), random.Random(2)
    held: list[tuple[int, int]] = []

    def channel() -> str:
        return f"discord:{chance.randrange(options.channels)}"

    def enqueue() -> None:
        queue.enqueue(PLAN, Errand(channel=channel(), requester=f"discord:{chance.randrange(options.people)}"))

    def claim() -> None:
        job = queue.claim("w", 3600)
        assert job is not None
        held.append((job.id, job.attempts))

    def finish() -> None:
        queue.finish(*held.pop(), FILM)

    operations: dict[str, Callable[[], object]] = {
        "enqueue": enqueue,
        "claim": claim,
        "heartbeat": lambda: queue.heartbeat(*held[-1], 3600),
        "finish": finish,
        "history of a channel, 20 takes": lambda: history.history(channel(), 20),
        "last take of a channel": lambda: history.last(channel()),
        "take by its message": lambda: history.by_message(f"m{chance.randrange(1, options.jobs)}"),
        "newest jobs of a channel": lambda: queue.recent(channel(), JobState.DONE),
        "events of a job": lambda: queue.events(chance.randrange(1, options.jobs)),
    }
    return {name: timed(work, options.rounds) for name, work in operations.items()}


def timed(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took), max(took)


if __name__ == "__main__":
    print(f"SQLite {sqlite3.sqlite_version}")
    sys.exit(main())
