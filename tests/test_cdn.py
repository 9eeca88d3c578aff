import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from waiting import reserved_port

from bot.discord import cdn
from bot.discord.cdn import Cdn, FetchFailed

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def files(**answers) -> AsyncIterator[tuple[str, list[str]]]:
    """A server of files that stands for Discord's: its address, and what was asked of it."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await answers[request.path.strip("/")](request)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", asked
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def served_here(monkeypatch):
    monkeypatch.setattr(cdn, "HOSTS", frozenset({("http", "127.0.0.1")}))


@pytest.mark.parametrize(
    ("address", "theirs"),
    [
        ("https://cdn.discordapp.com/attachments/1/2/dog.png?ex=1", True),
        ("https://media.discordapp.net/attachments/1/2/dog.png", True),
        ("http://cdn.discordapp.com/dog.png", False),
        ("https://cdn.discordapp.com.evil.example/dog.png", False),
        ("https://cdn.discordapp.com@evil.example/dog.png", False),
        ("https://evil.example/cdn.discordapp.com/dog.png", False),
        ("https://127.0.0.1/dog.png", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("file:///etc/passwd", False),
        ("//cdn.discordapp.com/dog.png", False),
        ("cdn.discordapp.com", False),
        ("", False),
    ],
)
async def test_files_are_theirs_by_scheme_and_host_alone(monkeypatch, address, theirs):
    monkeypatch.undo()
    assert Cdn().keeps(address) is theirs


async def test_a_file_comes_whole():
    async def whole(_):
        return web.Response(body=b"x" * 300_000)

    async with files(dog=whole) as (address, _):
        assert await Cdn().read(f"{address}/dog", 300_000) == b"x" * 300_000


async def test_a_redirect_is_not_followed():
    async def elsewhere(request):
        raise web.HTTPFound("/secret")

    async def secret(_):
        return web.Response(body=b"ours")

    async with files(dog=elsewhere, secret=secret) as (address, asked):
        with pytest.raises(FetchFailed, match="status 302"):
            await Cdn().read(f"{address}/dog", 1000)
        assert asked == ["/dog"]


async def test_a_file_that_is_larger_than_was_said_is_given_up():
    sent = 0

    async def endless(request):
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 100 * 2**20:
            await response.write(bytes(2**16))
            sent += 2**16
        return response

    async with files(dog=endless) as (address, _):
        with pytest.raises(FetchFailed, match="more than 1000 bytes"):
            await Cdn().read(f"{address}/dog", 1000)
    assert sent < 20 * 2**20, "the rest was not waited for"


async def test_a_file_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(cdn, "SECONDS", 0.3)

    async def slow(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    async with files(dog=slow) as (address, _):
        with pytest.raises(FetchFailed, match="TimeoutError"):
            await Cdn().read(f"{address}/dog", 1000)


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_file_that_is_not_there_is_not_there(status):
    async def gone(_):
        return web.Response(status=status)

    async with files(dog=gone) as (address, _):
        with pytest.raises(FetchFailed, match=f"status {status}"):
            await Cdn().read(f"{address}/dog", 1000)


async def test_a_server_that_is_not_there_is_told():
    with reserved_port() as port, pytest.raises(FetchFailed, match="ClientConnectorError"):
        await Cdn().read(f"http://127.0.0.1:{port}/dog", 1000)
