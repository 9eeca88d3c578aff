"""What only the owner may know stays with them: real processes with marked secrets, and all that they leave is read."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from discord_server import ANN, TOKEN
from test_bot_process import bots
from waiting import LIMIT_SECONDS, until

from planner.settings import PlannerSettings, language_model
from storage.schema import UserError

KEY, PASSWORD = "sk-marked-0123456789abcdef", "hunter2-marked"
SECRETS = (TOKEN, KEY, PASSWORD)


@asynccontextmanager
async def spiteful_model() -> AsyncIterator[tuple[int, list[str]]]:
    """A language model server that says aloud whatever it is told, in every way in which one can fail: its port, and
    with what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        said = f"{request.headers.get('Authorization')} {request.headers} {request.url}"
        asked.append(request.headers.get("Authorization", ""))
        match len(asked) % 4:
            case 1:
                return web.Response(status=500, text=said)
            case 2:
                raise web.HTTPTemporaryRedirect(f"http://{request.host}/leaked?{KEY}")
            case 3:
                return web.Response(status=200, text=f"data: {said}\n\n")
        request.transport.close()
        return web.Response()

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


def model_settings(port: int, secret: str) -> dict[str, str]:
    if secret == "key":
        return {"LONGTAKE_LLM": f"http://127.0.0.1:{port}/v1", "LONGTAKE_LLM_KEY": KEY}
    return {"LONGTAKE_LLM": f"http://owner:{PASSWORD}@127.0.0.1:{port}/v1"}


def leaks(*texts: str, folder: Path | None = None) -> list[str]:
    """Where a secret stands: in what was printed, or in a file of the folder, the database among them."""
    found = [f"{secret} in text {number}" for number, text in enumerate(texts) for secret in SECRETS if secret in text]
    for file in folder.rglob("*") if folder else ():
        data = file.read_bytes() if file.is_file() else b""
        found += [f"{secret} in {file.name}" for secret in SECRETS if secret.encode() in data]
    return found


async def longtake(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """A command in a process: its exit code, and all that it printed."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "LONGTAKE_DATA_DIR": str(folder / "data")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from bot.cli import main; main()", *arguments,
        cwd=folder, env=environment | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


@pytest.mark.asyncio
@pytest.mark.parametrize("secret", ["key", "password"])
async def test_a_bot_with_a_spiteful_model_leaves_no_secret_anywhere(tmp_path: Path, secret: str) -> None:
    async with spiteful_model() as (port, asked), bots(tmp_path, tmp_path) as some:
        await some.connect(**model_settings(port, secret), LONGTAKE_WORKERS="0")
        for text in ("@ 5 s of my dog, he runs", "@ make it night and let it snow", "@ what can you do", "@ something"):
            cards = len(some.server.ours())
            await some.server.say(ANN, text, photo=some.photo if "dog" in text else None)
            await until(lambda before=cards: len(some.server.ours()) > before)
        await until(lambda: some.server.cards("film"))
        await some.kill()
        assert len(asked) >= 4, "every kind of spite was met"
        assert all(asked), "the secret was used"
        assert leaks(some.log, *(str(message) for message in some.server.ours()), folder=tmp_path) == []
        assert "INFO" in some.log, "there is a log to look into"


@pytest.mark.asyncio
async def test_a_token_that_discord_refuses_is_not_repeated(tmp_path: Path) -> None:
    async with bots(tmp_path, tmp_path) as some:
        wrong = TOKEN[:-4] + "wrng"
        process = await some.start(LONGTAKE_DISCORD_TOKEN=wrong)
        await asyncio.wait_for(process.wait(), LIMIT_SECONDS)
        assert process.returncode
        assert "Traceback" not in some.log
        assert wrong not in some.log


@pytest.mark.asyncio
@pytest.mark.parametrize("secret", ["key", "password"])
async def test_commands_with_a_spiteful_model_print_no_secret(tmp_path: Path, secret: str) -> None:
    async with spiteful_model() as (port, asked):
        settings = {**model_settings(port, secret), "LONGTAKE_DISCORD_TOKEN": TOKEN}
        code, planned = await longtake(tmp_path, "plan", "5 s of a cat, she jumps at 2 seconds", **settings)
        assert (code, "Traceback" in planned) == (0, False), planned
        assert asked
        assert all(asked), "the secret was used"
        if secret == "password":
            _, told = await longtake(tmp_path, "doctor", **settings)
            assert "http://127.0.0.1" in told, "which model plans is told"
        else:
            _, told = await longtake(tmp_path, "plan", "a cat", **settings, LONGTAKE_LLM_SECONDS="soon")
            assert "LONGTAKE_LLM_SECONDS" in told
        assert leaks(planned, told, folder=tmp_path) == []


def test_a_server_takes_a_key_or_a_password() -> None:
    settings = PlannerSettings(llm="http://a:b@127.0.0.1/v1", llm_key=KEY, _env_file=None)
    with pytest.raises(UserError, match="a server takes one"):
        language_model(settings)
