"""What machines are told of the bot: over real HTTP, from a real database, and in the log."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from filming import PHOTO, film_plan, window
from waiting import reserved_port

from bot.figures import concerns, figure_rows
from bot.health import exposition, health
from bot.settings import HttpSettings
from storage.database import Database
from storage.figures import Figures, WindowSeconds, read_figures, reason_of
from storage.jobs import Jobs
from storage.logs import HIDDEN, about, log_to
from storage.schema import Errand, Film, JobState, UserError
from storage.workers import Workers

ERRAND = Errand(channel="lobby", requester="ada")
PLAN = film_plan([window(1, PHOTO), window(2)])
FILM = Film(video="b" * 64, tail="c" * 64, frames=157, render_seconds=13.0)
NOTHING = Figures(0, 0, 0.0, 0, {}, {}, {})


# ---- figures ----


def test_figures_tell_what_waits_what_ended_and_how_long_windows_took(database: Database):
    now = [1_800_000_000.0]
    jobs = Jobs(database, lambda: now[0])
    jobs.enqueue(PLAN, ERRAND)
    long_ago = jobs.claim("w", 60)
    assert long_ago is not None
    jobs.finish(long_ago.id, 1, FILM)
    now[0] += 2 * 86400
    for reason in ("OutOfMemoryError: 3 GiB", "OutOfMemoryError: 4 GiB", "There is no model 7.", None, None, None):
        jobs.enqueue(PLAN, ERRAND)
        if reason:
            job = jobs.claim("w", 60)
            assert job is not None
            jobs.fail(job.id, job.attempts, reason, retry=False)
    done, running = jobs.claim("w", 60), jobs.claim("w", 60)
    assert done is not None
    assert running is not None
    jobs.finish(done.id, 1, FILM)
    Workers(database, lambda: now[0]).sign_in("w", 60)
    now[0] += 30
    assert read_figures(database, now[0]) == Figures(
        queued=1,
        running=1,
        oldest_wait_seconds=30.0,
        workers=1,
        ended={JobState.DONE: 1, JobState.FAILED: 3, JobState.CANCELLED: 0},
        failures={"OutOfMemoryError": 2, "There is no model N.": 1},
        window_seconds={("demo", "64x48"): WindowSeconds(windows=2, total=13.0, median=6.5, slowest=6.5)},
    )


def test_of_an_empty_table_all_figures_are_nothing(database: Database):
    assert read_figures(database) == Figures(0, 0, 0.0, 0, {s: 0 for s in JobState if s.final}, {}, {})


def test_no_figure_reads_a_whole_table(database: Database):
    asked = []
    with database.db.tracer(lambda sql, parameters: asked.append((sql, parameters))):
        read_figures(database)
    plans = [step["detail"] for sql, more in asked for step in database.db.query(f"EXPLAIN QUERY PLAN {sql}", more)]
    assert len(plans) >= 7
    handful = ["SCAN CONSTANT ROW", "SCAN workers"]
    assert [detail for detail in plans if "SCAN" in detail] == handful


def test_the_check_up_tells_the_same_figures_and_what_is_of_concern():
    took = WindowSeconds(windows=4, total=26.0, median=6.5, slowest=7.0)
    ended = {JobState.DONE: 2, JobState.FAILED: 3, JobState.CANCELLED: 0}
    busy = Figures(3, 1, 125.0, 0, ended, {"OutOfMemoryError": 2, "lost": 1}, {("demo", "64x48"): took})
    assert figure_rows(busy) == {
        "queue": "3 waiting, the oldest for 2:05; 1 being filmed",
        "last 24 hours": "2 done, 3 failed",
        "failures": "2 x OutOfMemoryError; 1 x lost",
        "a window took": "demo 64x48 6.5 s (median of 4)",
    }
    idle, failing = concerns(busy)
    assert "no worker lives" in idle
    assert failing == "3 of 5 jobs failed in the last 24 hours, 2 of them so: OutOfMemoryError"
    assert list(concerns(NOTHING)) == []
    assert figure_rows(NOTHING)["queue"] == "0 waiting; 0 being filmed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [("ValueError: 12", "ValueError"), ("", ""), ("Photo 3 of 12.5 MB is gone.", "Photo N of N MB is gone.")],
)
def test_a_reason_is_what_failures_share(error: str, reason: str):
    assert reason_of(error) == reason


# ---- /metrics and /healthz ----


@asynccontextmanager
async def asked(
    read: Callable[[], Figures] = lambda: NOTHING, connected: bool = True, **more: str
) -> AsyncIterator[aiohttp.ClientSession]:
    with reserved_port() as port:
        settings = HttpSettings(http_port=port, _env_file=None, **more)  # type: ignore[call-arg]
        async with (
            health(settings, read, lambda: connected),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            yield session


@pytest.mark.asyncio
@pytest.mark.parametrize(("connected", "status"), [(True, 200), (False, 503)])
async def test_who_asks_for_health_is_told_whether_discord_is_connected(connected: bool, status: int):
    async with asked(connected=connected) as session, session.get("/healthz") as said:
        assert said.status == status
        assert (await said.json())["ok"] is connected


@pytest.mark.asyncio
async def test_a_database_that_cannot_be_read_is_no_good_health(database: Database):
    database.close()
    async with asked(lambda: read_figures(database)) as session, session.get("/healthz") as said:
        assert said.status == 503


@pytest.mark.asyncio
async def test_metrics_are_prometheus_text():
    took = WindowSeconds(windows=4, total=26.0, median=6.5, slowest=7.0)
    reason = 'He said "no"\\\n'
    figures = Figures(3, 1, 12.5, 2, {JobState.DONE: 4}, {reason: 1}, {("demo", "64x48"): took})
    async with asked(lambda: figures) as session, session.get("/metrics") as said:
        assert said.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = (await said.text()).splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples == {
        "longtake_connected": "1",
        "longtake_workers": "2",
        'longtake_jobs{state="queued"}': "3",
        'longtake_jobs{state="running"}': "1",
        "longtake_oldest_wait_seconds": "12.5",
        'longtake_jobs_ended{state="done"}': "4",
        'longtake_failures{reason="He said \\"no\\"\\\\\\n"}': "1",
        'longtake_window_seconds{model="demo",size="64x48",quantile="0.5"}': "6.5",
        'longtake_window_seconds{model="demo",size="64x48",quantile="0.95"}': "7",
        'longtake_window_seconds_sum{model="demo",size="64x48"}': "26",
        'longtake_window_seconds_count{model="demo",size="64x48"}': "4",
    }
    for name in {sample.partition("{")[0].removesuffix("_sum").removesuffix("_count") for sample in samples}:
        assert sum(line.startswith(f"# TYPE {name} ") for line in lines) == 1


@pytest.mark.asyncio
async def test_a_password_is_asked_for_where_one_is_set():
    async with asked(http_password="hunter2") as session:
        right = aiohttp.encode_basic_auth("prometheus", "hunter2")
        wrong = aiohttp.encode_basic_auth("prometheus", "hunter3")
        for header in ("", wrong, "Basic !!", "Basic", right.removeprefix("Basic "), right):
            for path in ("/metrics", "/healthz"):
                async with session.get(path, headers={"Authorization": header}) as said:
                    assert said.status == (200 if header == right else 401)


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_nobody_else_is_let_in_without_a_password(host: str):
    settings = HttpSettings(http_host=host, http_port=9310, _env_file=None)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="LONGTAKE_HTTP_PASSWORD"):
        async with health(settings, lambda: NOTHING, lambda: True):
            pass


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_one_sentence():
    async with asked() as session:
        settings = HttpSettings(http_port=session._base_url.port, _env_file=None)  # type: ignore[call-arg, union-attr]
        with pytest.raises(UserError, match=r"^LONGTAKE_HTTP_PORT \d+ cannot be used: "):
            async with health(settings, lambda: NOTHING, lambda: True):
                pass


@pytest.mark.asyncio
async def test_without_a_port_nothing_listens():
    async with health(HttpSettings(_env_file=None), lambda: NOTHING, lambda: True):  # type: ignore[call-arg]
        pass
    assert "longtake_workers 0" in exposition(NOTHING, False)


# ---- the log ----


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    log_to(stream, "json", ("a secret of ours",))
    yield stream
    root.handlers[:], root.level = before, level


def test_an_event_is_one_line_with_its_job_and_without_secrets(log: io.StringIO):
    with about(job=12):
        with about(card=3, event=None):
            logging.getLogger("x").info("two\nlines and %s", "a secret of ours")
        try:
            raise ValueError("a secret of ours")
        except ValueError:
            logging.getLogger("x").exception("failed")
    logging.getLogger("x").info("about nothing")
    first, second, third = map(json.loads, log.getvalue().splitlines())
    assert {name: first[name] for name in ("level", "logger", "job", "card", "text")} == {
        "level": "INFO", "logger": "x", "job": 12, "card": 3, "text": f"two\nlines and {HIDDEN}",
    }  # fmt: skip
    assert (second["job"], "card" in second) == (12, False)
    assert second["trace"].endswith(f"ValueError: {HIDDEN}")
    assert third.keys() == {"at", "level", "logger", "text"}


@pytest.mark.asyncio
async def test_jobs_that_are_followed_side_by_side_do_not_mix(log: io.StringIO):
    async def follow(job: int) -> None:
        with about(job=job):
            await asyncio.sleep(0)  # all the others begin
            logging.getLogger("x").info("%d", job)

    await asyncio.gather(*(follow(number) for number in range(5)))
    assert all(str(line["job"]) == line["text"] for line in map(json.loads, log.getvalue().splitlines()))
