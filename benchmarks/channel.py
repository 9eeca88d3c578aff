"""How fast the bot answers while many channels render: the real bot as a process, on real sockets.

python benchmarks/channel.py [--channels 50] [--rate 20] [--seconds 20]

Films are rendered in every channel (their progress is written to the job table twice a second each, as workers write
it), and people ask: half of them for the queue's state, a quarter for a film with a photo, a quarter press a button.
An answer is the reply, the card, or the acknowledgement of the press, when it reaches Discord: tests/discord_server.py.
Prints a table, and as its last line one JSON object. "blocked" counts discord.py's warnings of a blocked heartbeat.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from discord_server import ANN, BOB, CHANNEL, GUILD, TOKEN, Server, serving  # noqa: E402
from filming import draw  # noqa: E402
from wire import until  # noqa: E402

from bot.discord.keys import key_of  # noqa: E402
from storage.cards import Manners  # noqa: E402
from storage.database import Database  # noqa: E402
from storage.jobs import Jobs  # noqa: E402
from storage.schema import Job, Policy, Progress, Stage  # noqa: E402

STORY = "@ 10 s of my dog on the beach, he runs to the sea at 2 seconds, he barks at 7 seconds"
LATE = 10.0  # seconds after which an answer counts as lost


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), options))
    for name, value in figures.items():
        print(f"{name:24} {value}")
    print(json.dumps(figures))


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Films in every channel, then people who ask."""
    rooms = [CHANNEL + number for number in range(options.channels)]
    photo = draw(folder / "photo.png", 1, (1280, 720)).read_bytes()
    database = Database.open(folder / "data" / "longtake.db")
    Manners(database).keep_policy(
        key_of(GUILD), Policy(queue_per_person=50, minutes_per_day=1440, requests_per_hour=1000)
    )
    async with serving() as server:
        server.messages |= {room: {} for room in rooms}
        bot = await start_bot(folder, server.port)
        try:
            await until(lambda: server.identified, 60)
            jobs = await begin_films(server, Jobs(database), rooms, photo)
            before = len(server.calls)
            rendering = asyncio.create_task(render(Jobs(database), jobs))
            answers = await ask(server, rooms, photo, options)
            rendering.cancel()
            edits = sum(method == "PATCH" for method, _ in server.calls[before:])
        finally:
            bot.terminate()
            await bot.wait()
    blocked = (folder / "bot.log").read_text().count("heartbeat blocked")
    seconds = sorted(answers)
    return {
        "channels": len(rooms),
        "requests": len(seconds),
        "requests_a_second": options.rate,
        "median_s": round(statistics.median(seconds), 3),
        "p99_s": round(seconds[int(0.99 * (len(seconds) - 1))], 3),
        "most_s": round(seconds[-1], 3),
        "lost": sum(second >= LATE for second in seconds),
        "card_edits_a_second": round(edits / options.seconds, 1),
        "blocked": blocked,
        "cores": os.cpu_count(),
    }


async def start_bot(folder: Path, port: int) -> asyncio.subprocess.Process:
    """`longtake bot`, which takes our server for Discord."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path[:2]),
        "LONGTAKE_DATA_DIR": str(folder / "data"),
        "LONGTAKE_DISCORD_TOKEN": TOKEN,
        "LONGTAKE_WORKERS": "0",
    }
    with (folder / "bot.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "tests" / "discord_server.py"), str(port),
            cwd=folder, stdout=log, stderr=log, env=environment,
        )  # fmt: skip


async def begin_films(server: Server, jobs: Jobs, rooms: list[int], photo: bytes) -> list[Job]:
    """A film in every channel, claimed by a worker each."""
    for who, room in zip(itertools.cycle((ANN, BOB)), rooms, strict=False):
        await server.say(who, STORY, where=room, photo=photo)
        await until(lambda room=room: any("card:film" in json.dumps(m) for m in server.ours(room)), 60)
        await server.press(who, server.ours(room)[-1], "film")
    await until(lambda: len(jobs.queue()) == len(rooms), 60)
    claimed = [jobs.claim(f"worker-{number}", 600) for number in range(len(rooms))]
    return [job for job in claimed if job]


async def render(jobs: Jobs, running: list[Job]) -> None:
    """Progress as workers tell it: a step of every film twice a second."""
    for step in itertools.count():
        for job in running:
            window, own = divmod(step, 20)
            told = Progress(
                stage=Stage.DENOISING, window=min(window + 1, 2), windows=2, step=own, steps=20, seconds_left=300 - step
            )
            jobs.progress(job.id, job.attempts, told)
            await asyncio.sleep(0.5 / len(running))


async def ask(server: Server, rooms: list[int], photo: bytes, options: argparse.Namespace) -> list[float]:
    """Seconds that each answer took; people ask at a steady rate, whatever the answers take."""
    kinds, places = itertools.cycle(("status", "film", "status", "press")), itertools.cycle(rooms)
    cards = {room: server.ours(room)[-1] for room in rooms}
    waiting, begun = [], time.monotonic()
    for number in range(int(options.rate * options.seconds)):
        await asyncio.sleep(max(0.0, begun + number / options.rate - time.monotonic()))
        room, who = next(places), (ANN, BOB)[number % 2]
        match next(kinds):
            case "status":
                asked = server.say(who, "@ status", where=room)
            case "film":
                asked = server.say(who, STORY, where=room, photo=photo)
            case _:
                asked = server.press(who, cards[room], "plan")
        waiting.append(asyncio.create_task(answered(server, room, await asked)))
    return list(await asyncio.gather(*waiting))


async def answered(server: Server, room: int, asked: dict[str, Any] | str) -> float:
    """Seconds until the answer to a message or a press is there."""
    begun = time.monotonic()
    while time.monotonic() - begun < LATE:
        if isinstance(asked, str):
            if server.answers.get(asked):
                break
        elif any((m.get("message_reference") or {}).get("message_id") == asked["id"] for m in newest(server, room)):
            break
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


def newest(server: Server, room: int) -> list[dict[str, Any]]:
    """The bot's last messages of a channel."""
    return server.ours(room)[-12:]


if __name__ == "__main__":
    main()
