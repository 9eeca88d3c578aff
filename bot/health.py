"""How the bot does, for machines that ask: /healthz and, for Prometheus, /metrics.

On the loopback interface unless LONGTAKE_HTTP_HOST says otherwise, and then behind a password.
"""

import asyncio
import base64
import contextlib
import hmac
import ipaddress
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.settings import HttpSettings
from storage.figures import LATELY_SECONDS, Figures
from storage.schema import UserError

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus
LATELY = f"in the last {LATELY_SECONDS / 3600:.0f} hours"

Sample = tuple[str, Mapping[str, str], float]  # what follows the metric's name, its labels, its value


@asynccontextmanager
async def health(
    settings: HttpSettings, read: Callable[[], Figures], connected: Callable[[], bool]
) -> AsyncIterator[None]:
    """Answer for as long as the block lasts. UserError if that is not safe, or not possible; without a port, nothing is
    answered."""
    if not settings.http_port:
        yield
        return
    _require_password(settings)
    app = web.Application(middlewares=[_asking_for(settings.http_password.get_secret_value())])

    async def healthz(_: web.Request) -> web.Response:
        try:
            figures = await asyncio.to_thread(read)
        except sqlite3.Error as error:
            return _said({"ok": False, "database": str(error)})
        state = {"queued": figures.queued, "running": figures.running, "workers": figures.workers}
        return _said({"ok": connected(), "discord": "connected" if connected() else "not connected", **state})

    async def metrics(_: web.Request) -> web.Response:
        text = exposition(await asyncio.to_thread(read), connected())
        return web.Response(body=text.encode(), headers={"Content-Type": TEXT_FORMAT})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.http_host, settings.http_port).start()
    except OSError as error:
        await runner.cleanup()
        raise UserError(f"LONGTAKE_HTTP_PORT {settings.http_port} cannot be used: {error.strerror}.") from error
    try:
        yield
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(runner.cleanup(), 1.0)


def exposition(figures: Figures, connected: bool) -> str:
    """The figures in Prometheus' text format."""
    ended = [("", {"state": state}, number) for state, number in figures.ended.items()]
    windows: list[Sample] = []
    for (model, size), took in figures.window_seconds.items():
        kind = {"model": model, "size": size}
        windows += [("", {**kind, "quantile": "0.5"}, took.median), ("", {**kind, "quantile": "0.95"}, took.slowest)]
        windows += [("_sum", kind, took.total), ("_count", kind, took.windows)]
    jobs = [("", {"state": "queued"}, figures.queued), ("", {"state": "running"}, figures.running)]
    failures = [("", {"reason": reason}, number) for reason, number in figures.failures.items()]
    return "".join(
        (
            _metric("longtake_connected", "Whether Discord is connected.", "gauge", [("", {}, connected)]),
            _metric("longtake_workers", "Workers that live.", "gauge", [("", {}, figures.workers)]),
            _metric("longtake_jobs", "Jobs that wait or are filmed.", "gauge", jobs),
            _metric(
                "longtake_oldest_wait_seconds", "How long the oldest job has waited.", "gauge",
                [("", {}, figures.oldest_wait_seconds)],
            ),
            _metric("longtake_jobs_ended", f"Jobs that ended {LATELY}.", "gauge", ended),
            _metric("longtake_failures", f"Jobs that failed {LATELY}, by reason.", "gauge", failures),
            _metric("longtake_window_seconds", f"Seconds that a window took {LATELY}.", "summary", windows),
        )
    )  # fmt: skip


def _metric(name: str, about: str, kind: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for suffix, labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{suffix}{{{told}}} {float(value):g}" if told else f"{name}{suffix} {float(value):g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _said(state: Mapping[str, object]) -> web.Response:
    return web.json_response(state, status=200 if state["ok"] else 503, dumps=json.dumps)


def _require_password(settings: HttpSettings) -> None:
    """UserError where others could ask and nothing keeps them from it."""
    with contextlib.suppress(ValueError):
        if settings.http_host == "localhost" or ipaddress.ip_address(settings.http_host).is_loopback:
            return
    if not settings.http_password.get_secret_value():
        raise UserError(f"LONGTAKE_HTTP_HOST {settings.http_host} lets others in: set LONGTAKE_HTTP_PASSWORD, too.")


def _asking_for(password: str) -> Middleware:
    """Let in who knows the password, under any name."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        if password and not _knows(password, request.headers.get("Authorization", "")):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="longtake"'})
        return await handler(request)

    return ask


def _knows(password: str, header: str) -> bool:
    """Whether a header is basic authentication with the password: "Basic " and base64 of "name:password"."""
    kind, _, said = header.partition(" ")
    try:
        _, _, told = base64.b64decode(said, validate=True).partition(b":")
    except ValueError:
        return False
    return kind == "Basic" and hmac.compare_digest(told, password.encode())
