"""`longtake bot` as its owner runs it: a real process and a real worker, killed and started again at bad moments."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from discord_server import ANN, BOB, CHANNEL, TOKEN, Server, serving
from filming import draw
from waiting import LIMIT_SECONDS, reserved_port, until

from storage.cards import Cards, Seen
from storage.database import Database
from storage.footage import probe
from storage.jobs import Jobs
from storage.schema import JobState
from storage.takes import Takes

pytestmark = pytest.mark.asyncio
PROGRAM = Path(__file__).with_name("discord_server.py")
STORY = "@ 64x64, 5 s of my dog, he runs to the sea"


@dataclass
class Bots:
    """Bots on one data folder, one after the other."""

    server: Server
    folder: Path
    environment: dict[str, str]
    running: asyncio.subprocess.Process | None = None

    async def start(self, **more: str) -> asyncio.subprocess.Process:
        """Start one, and do not wait for it."""
        with (self.folder / "bot.log").open("ab") as log:
            self.running = await asyncio.create_subprocess_exec(
                sys.executable, str(PROGRAM), str(self.server.port), cwd=self.folder, stdout=log, stderr=log,
                env=self.environment | more,
            )  # fmt: skip
        return self.running

    async def connect(self, **more: str) -> None:
        """Start one, and wait until it listens."""
        before = self.server.identified
        await self.start(**more)
        await until(lambda: self.server.identified > before)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it; its exit code."""
        assert self.running
        with contextlib.suppress(ProcessLookupError):
            self.running.send_signal(number)
        return await self.running.wait()

    @property
    def log(self) -> str:
        return (self.folder / "bot.log").read_text()

    @property
    def photo(self) -> bytes:
        return draw(self.folder / "photo.png", 1).read_bytes()


@asynccontextmanager
async def bots(folder: Path, models: Path) -> AsyncIterator[Bots]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[1]), str(PROGRAM.parent)]),
        "LONGTAKE_DATA_DIR": str(folder / "data"),
        "LONGTAKE_MODELS_DIR": str(models),
        "LONGTAKE_THREADS": "1",
        "LONGTAKE_PRECISION": "float32",
        "LONGTAKE_POLL_SECONDS": "0.05",
        "LONGTAKE_DISCORD_TOKEN": TOKEN,
        "LONGTAKE_DISCORD_EDIT_SECONDS": "0.2",
    }
    async with serving() as server:
        some = Bots(server, folder, environment)
        try:
            yield some
        finally:
            if some.running and some.running.returncode is None:
                await some.kill()


async def test_the_whole_walk_from_a_photo_to_a_sibling_with_a_bot_that_is_killed_in_a_render(
    tmp_path: Path, toy_models_dir: Path, database: Database
):
    jobs, takes = Jobs(database), Takes(database)
    async with bots(tmp_path, toy_models_dir) as some:
        server = some.server
        await some.connect()
        await server.say(ANN, STORY, photo=some.photo)
        await until(lambda: server.cards("film"))
        await server.press(ANN, server.cards("film")[0], "film")
        await until(server.films)
        first = server.films()[0]
        video = tmp_path / "first.mp4"
        video.write_bytes(server.file(first))
        assert (probe(video).frames, probe(video).width, probe(video).codec) == (81, 64, "h264")

        await server.say(BOB, "@ now he meets a crab", reply=int(first["id"]))
        await until(lambda: server.cards("film"))
        await server.press(BOB, server.cards("film")[0], "film")
        await until(lambda: any(job.state is JobState.RUNNING for job in jobs.queue()))
        await some.kill()
        await some.connect()
        await until(lambda: len(server.films()) == 2 and takes.by_message(server.films()[1]["id"]))
        second = takes.by_message(server.films()[1]["id"])
        assert second is not None
        assert (second.errand.parent, second.plan.source.kind) == (1, "take"), "it goes on from the stored tail"

        await server.react(ANN, server.films()[1], "🔁")
        await until(lambda: len(server.films()) == 3 and takes.by_message(server.films()[2]["id"]))
        third = takes.by_message(server.films()[2]["id"])
        assert third is not None
        assert (third.errand.parent, third.errand.again_of) == (1, second.id)
        assert third.plan.seed != second.plan.seed

        token = await server.press(BOB, first, "details")
        await until(lambda: len(server.answers.get(token, [])) == 2)
        assert "64x64" in json.dumps(server.answers[token]), "buttons outlive the bot that made them"
        await until(lambda: not Cards(database).followed())
        assert len(server.ours()) == 6, "three cards and three films"
        assert len(jobs.recent()) == 3
        for secret in (TOKEN, *server.answers):
            assert secret not in some.log


@pytest.mark.parametrize("shown", [False, True])
async def test_a_bot_that_is_killed_while_it_plans_plans_again_and_leaves_one_card(
    tmp_path: Path, toy_models_dir: Path, database: Database, shown: bool
):
    async with bots(tmp_path, toy_models_dir) as some:
        server, model = (
            some.server,
            {"LONGTAKE_LLM": f"http://127.0.0.1:{some.server.port}/v1", "LONGTAKE_WORKERS": "0"},
        )
        server.thinks = True
        await some.connect(**model)
        if shown:
            await server.say(ANN, STORY, photo=some.photo)  # a picture can only be a film: its card is there at once
            await until(lambda: len(server.cards()) == 1)
        else:
            await server.say(ANN, "@ my dog runs")  # the model is asked what that means
            await until(lambda: ("POST", "/v1/chat/completions") in server.calls)
            assert not server.ours()
        await some.kill()
        server.thinks = False
        await some.connect(**model)
        await until(lambda: server.cards("film") if shown else server.ours())
        asked = await server.say(BOB, "@ help")
        await until(lambda: server.answers_to(asked) and not Seen(database).unfinished())
        assert len(server.ours()) == 2, "one card, or one answer, and the help"


async def test_told_to_end_it_says_so_on_its_cards_and_goes_on_after_the_next_start(
    tmp_path: Path, toy_models_dir: Path
):
    async with bots(tmp_path, toy_models_dir) as some:
        server = some.server
        with reserved_port() as port:
            await some.connect(LONGTAKE_WORKERS="0", LONGTAKE_HTTP_PORT=str(port), LONGTAKE_LOG="json")
        await server.say(ANN, STORY, photo=some.photo)
        await until(lambda: server.cards("film"))
        await server.press(ANN, server.cards("film")[0], "film")
        await until(lambda: "Queued" in json.dumps(server.cards()))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/healthz") as told:
                assert await told.json() == {
                    "ok": True, "discord": "connected", "queued": 1, "running": 0, "workers": 0,
                }  # fmt: skip
            async with session.get("/metrics") as told:
                assert 'longtake_jobs{state="queued"} 1' in await told.text()
        assert all(json.loads(line)["text"] for line in some.log.splitlines())
        assert await some.kill(signal.SIGTERM) == 0
        assert "Paused" in json.dumps(server.cards())
        await some.connect(LONGTAKE_WORKERS="0")
        await until(lambda: "Queued" in json.dumps(server.cards()))
        assert len(server.ours()) == 1


async def test_a_message_that_the_library_cannot_read_ends_the_connection_and_not_the_bot(
    tmp_path: Path, toy_models_dir: Path
):
    async with bots(tmp_path, toy_models_dir) as some:
        server = some.server
        await some.connect(LONGTAKE_WORKERS="0")
        await server.say(ANN, "@ help")
        await until(server.ours)
        await server.dispatch("MESSAGE_CREATE", {"id": "1", "channel_id": str(CHANNEL)})
        await server.say(BOB, "@ help", send=False)
        await until(lambda: server.identified == 2)
        await until(lambda: len(server.ours()) == 2)
        assert some.running.returncode is None
        assert "the connection ended; again in 2 s" in some.log


async def sentence(some: Bots, wrong: Callable[[Server], None] = lambda _: None, **more: str) -> str:
    """What a bot says that cannot be started."""
    wrong(some.server)
    process = await some.start(**more)
    assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 2
    return some.log.splitlines()[-1]


async def test_what_only_the_owner_can_mend_is_one_sentence_and_exit_code_2(tmp_path: Path, toy_models_dir: Path):
    async with bots(tmp_path, toy_models_dir) as some:
        assert "needs a token" in await sentence(some, LONGTAKE_DISCORD_TOKEN="")
        assert "no bot token" in await sentence(some, LONGTAKE_DISCORD_TOKEN="hunter2")
        other = "MTIzNDU2Nzg5MDEyMzQ1Njc4.AAAAAA." + "b" * 38
        assert "does not know this token" in await sentence(some, LONGTAKE_DISCORD_TOKEN=other)

        def refuse(server: Server) -> None:
            server.close_on_identify = 4014

        assert "Message Content Intent" in await sentence(some, refuse, LONGTAKE_DISCORD_MESSAGE_CONTENT="true")
        assert other not in some.log
        some.server.close_on_identify = 0
        await some.connect()
        first, log = some.running, some.log
        assert "A bot runs on" in await sentence(some)
        assert "Traceback" not in some.log[len(log) :]
        some.running = first
