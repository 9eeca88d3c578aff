"""The line that cards and lists read: the same as reading every job anew, and quiet while nothing moves."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from discord_world import World, texts_of, world
from filming import SAMPLING, film_plan, window

from bot.discord import board
from bot.line import Lines
from storage.database import Database
from storage.jobs import Jobs
from storage.schema import Errand, Film, JobState, Plan, Policy, Progress, Sampling, Stage
from storage.takes import Takes

LEASE = 600
FILM = Film(video="b" * 64, tail="c" * 64, frames=81, render_seconds=12.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "db") as database:
        yield database


def plan_of(windows: int, sigma: float) -> Plan:
    sampling = Sampling.model_validate({**dict(SAMPLING), "sigmas": (1.0, 0.9, sigma, 0.0)})
    return film_plan([window(number) for number in range(windows)], sampling=sampling)


def anew(jobs: Jobs, takes: Takes) -> list[tuple[int, str, int | None, int, float | None, float | None]]:
    """The line as it follows from whole jobs: number, who, place, those ahead, when it starts and ends."""
    told, starts = [], 0.0
    for ahead, (job, place) in enumerate(jobs.placed()):
        like = takes.like(job.plan, 5)
        begins = 0.0 if place is None else starts
        left = job.progress.seconds_left if job.progress else None
        if left is None and like:
            windows = sum(len(take.plan.windows) for take in like)
            left = len(job.plan.windows) * sum(take.film.render_seconds for take in like) / windows
        ends = None if begins is None or left is None else begins + left
        starts = None if starts is None else ends
        told.append((job.id, job.errand.requester, place, ahead, begins, ends))
    return told


@pytest.mark.parametrize("seed", range(3))
def test_the_line_is_what_whole_jobs_say_however_often_it_is_read(database: Database, seed: int) -> None:
    jobs, takes, chance = Jobs(database), Takes(database), random.Random(seed)
    lines, held = Lines(jobs, takes), []
    for _ in range(120):
        match chance.randrange(6):
            case 0 | 1 | 2:
                made = plan_of(chance.randint(1, 3), chance.choice((0.5, 0.4, 0.3)))
                channel, person = chance.choice(("lobby", "hall")), chance.choice("abc")
                jobs.enqueue(made, Errand(channel=channel, requester=person))
            case 3 if (job := jobs.claim("w", LEASE)) is not None:
                held.append(job)
                if chance.random() < 0.5:
                    told = Progress(stage=Stage.DENOISING, window=1, windows=2, step=1, steps=3, seconds_left=7.0)
                    jobs.progress(job.id, job.attempts, told)
            case 4 if held:
                job = held.pop(chance.randrange(len(held)))
                if chance.random() < 0.5:
                    jobs.finish(job.id, job.attempts, FILM)
                else:
                    jobs.release(job.id, job.attempts)
            case 5 if waiting := [job for job in jobs.queue() if job.state is JobState.QUEUED]:
                jobs.cancel(chance.choice(waiting).id)
        told = lines.now().places.values()
        assert [(p.job, p.requester, p.number, p.ahead, p.estimate.starts, p.estimate.ends) for p in told] == anew(
            jobs, takes
        )
        placed = jobs.placed()
        assert [(turn.job, turn.requester, turn.place) for turn in jobs.turns()] == [
            (job.id, job.errand.requester, place) for job, place in placed
        ]
        assert all(jobs.position(job.id) == place for job, place in placed)
        assert jobs.placed("hall") == [(job, place) for job, place in placed if job.errand.channel == "hall"]
        assert sorted(job.id for job, _ in jobs.placed("hall")) == [job.id for job in jobs.open_in("hall")]
        for person in ("a", "nobody", None):
            own = [place for job, place in placed if person in (None, job.errand.requester)]
            assert jobs.counts(person) == (own.count(None), len(own) - own.count(None))


def test_a_plan_is_read_once(database: Database) -> None:
    jobs = Jobs(database)
    lines = Lines(jobs, Takes(database))
    for number in range(450):
        jobs.enqueue(plan_of(1, 0.5), Errand(channel="lobby", requester=f"person {number % 7}"))
    assert len(lines.now().places) == 450
    jobs.enqueue(plan_of(1, 0.5), Errand(channel="lobby", requester="another"))
    asked: list[object] = []
    with database.db.tracer(lambda sql, parameters: asked.append(parameters) if "jobs.*" in sql else None):
        assert len(lines.now().places) == 451
        assert len(lines.now().places) == 451
    assert [each for each in asked if each != {"jobs": "[]"} and "jobs" in each] == [{"jobs": "[451]"}]


# ---- cards ----


async def waiting(w: World, count: int) -> None:
    """So many films that wait, each with a card that says so."""
    w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False, queue_per_person=50))
    for _ in range(count):
        await w.say(w.ann, "5 s of my dog, he runs to the sea", w.photo)
    await w.turn()
    assert len(w.studio.jobs.queue()) == len(w.messages) == count


def edits(w: World) -> int:
    return sum(entry.method == "PATCH" for entry in w.env.http_requests)


@pytest.mark.asyncio
async def test_a_card_that_waits_as_it_shows_is_left_alone_and_follows_when_the_line_moves(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await waiting(w, 3)
        before, asked = edits(w), []
        with w.studio.database.db.tracer(lambda sql, _: asked.append(sql)):
            await w.turn()
        assert asked
        assert [sql for sql in asked if sql.startswith(("SELECT * FROM events", "SELECT * FROM jobs"))] == [], (
            "nothing of a single job"
        )
        assert edits(w) == before
        assert ["Next in line" in texts_of(message) for message in w.messages] == [True, False, False]
        w.studio.cancel(w.studio.jobs.queue()[0].id)
        await until(lambda: "Next in line" in texts_of(w.messages[1]) and "1 film ahead" in texts_of(w.messages[2]), w)
        job = await w.work()
        await until(lambda: "Filming" in texts_of(w.messages[1]), w)
        w.studio.jobs.release(job.id, job.attempts)
        await until(lambda: "Next in line" in texts_of(w.messages[1]), w)


async def until(condition: Callable[[], bool], w: World) -> None:
    """Let the watch go round until something is true."""
    for _ in range(20):
        if condition():
            return
        await w.turn()
    raise AssertionError("waited in vain")


@pytest.mark.asyncio
async def test_more_cards_than_are_remembered_at_rest_are_not_sent_again_while_they_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "MOST_SHOWN", 1)
    async with world(tmp_path) as w:
        await waiting(w, 4)
        before = edits(w)
        for _ in range(3):
            await w.turn()
        assert edits(w) == before
