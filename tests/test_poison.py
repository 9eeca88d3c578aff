"""Rows that cannot be read any more, and jobs that kill who films them: nobody else is kept waiting."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest
from filming import film_plan, window

from bot.line import Lines
from storage.cards import Cards
from storage.channels import Channels
from storage.check import Check
from storage.database import Database, Unreadable
from storage.jobs import MAX_ATTEMPTS, Jobs
from storage.media import Media
from storage.schema import Card, Draft, Errand, Film, Job, JobState, Request
from storage.takes import Takes

PLAN = film_plan([window(1), window(2)])
FILM = Film(video="b" * 64, tail="c" * 64, frames=157, render_seconds=2.0)
STRANGE = ['{"storyboard": 1}', "{}", "no JSON", ""]  # of a newer Longtake, of an older one, damaged, gone
PROCESSES = get_context("spawn")


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


def enqueued(jobs: Jobs, requester: str) -> Job:
    return jobs.enqueue(PLAN, Errand(channel="lobby", requester=requester))


def spoil(database: Database, table: str, row: int, **columns: str) -> None:
    with database.write() as db:
        for column, text in columns.items():
            db.execute(f"UPDATE {table} SET {column} = :text WHERE id = :row", {"text": text, "row": row})


@pytest.mark.parametrize("text", STRANGE)
def test_a_job_whose_plan_cannot_be_read_fails_and_the_next_one_is_claimed(
    database: Database, jobs: Jobs, tmp_path: Path, text: str
) -> None:
    strange, good = enqueued(jobs, "ann"), enqueued(jobs, "bob")
    spoil(database, "jobs", strange.id, plan=text)
    assert [job.id for job in jobs.queue()] == [good.id]
    assert Lines(jobs, Takes(database)).now().places[good.id].number == 1
    claimed = jobs.claim("w", 30)
    assert claimed is not None
    assert claimed.id == good.id
    assert [event.kind for event in jobs.events(strange.id)] == ["queued", "claimed", "failed"]
    with pytest.raises(Unreadable, match=r"^Job 1 cannot be read any more"):
        jobs.get(strange.id)
    assert [job.id for job in jobs.recent()] == [good.id]
    assert Check(database, Media(tmp_path / "media")).unreadable() == [strange.id]
    assert jobs.claim("w", 30) is None


def test_an_errand_that_cannot_be_read_is_nobody_elses_trouble(database: Database, jobs: Jobs) -> None:
    strange, good = enqueued(jobs, "ann"), enqueued(jobs, "bob")
    spoil(database, "jobs", strange.id, errand='{"requester": "ann", "unknown": 1}')
    claimed = jobs.claim("w", 30)
    assert claimed is not None
    assert claimed.id == good.id
    with pytest.raises(Unreadable):
        jobs.cancel(strange.id)


@pytest.mark.parametrize("text", STRANGE)
def test_a_take_that_cannot_be_read_is_left_out_of_histories_trees_and_estimates(
    database: Database, jobs: Jobs, text: str
) -> None:
    takes = Takes(database)
    made = []
    for who in ("ann", "bob"):
        job = enqueued(jobs, who)
        jobs.claim("w", 30)
        made.append(jobs.finish(job.id, 1, FILM))
    spoil(database, "jobs", made[0].job, plan=text)
    spoil(database, "takes", made[0].id, film=text)
    assert takes.history("lobby") == [made[1]]
    assert takes.tree("lobby") == [(0, made[1])]
    assert takes.like(PLAN, 5) == [made[1]]
    with pytest.raises(Unreadable, match=r"^Take 1 cannot be read any more"):
        takes.get(made[0].id)


def test_a_draft_that_cannot_be_read_is_none(database: Database) -> None:
    cards, channels = Cards(database), Channels(database)
    draft = Draft(request=Request(text="x", channel="lobby", requester="ann"), plan=PLAN)
    card = cards.open(Card(id=0, place="", channel="lobby", asker="ann", draft=draft, opened="2026-01-01T00:00:00Z"))
    channels.keep_draft("lobby", draft)
    assert cards.get(card.id).draft == channels.draft("lobby") == draft
    spoil(database, "cards", card.id, draft='{"plan": {}}')
    with database.write() as db:
        db.execute("UPDATE channels SET draft = '{}'")
    assert [known.draft for known in cards.open_cards()] == [None]
    assert channels.draft("lobby") is None
    with pytest.raises(Unreadable):
        channels.take_draft("lobby")


def work(folder: Path) -> None:
    """A worker in small: it dies of what ann asked, and fails what has no file, as a real one does."""
    with Database.open(folder / "data" / "longtake.db") as database:
        jobs, media = Jobs(database), Media(folder / "media")
        while (job := jobs.claim(str(os.getpid()), lease_seconds=0.05)) is not None:
            if job.errand.requester == "ann":
                os.kill(os.getpid(), signal.SIGKILL)
            jobs.finish(job.id, job.attempts, FILM.model_copy(update={"tail": media.add_bytes(b"tail")}))


def test_a_job_that_kills_its_workers_is_given_up_and_all_others_are_filmed(
    database: Database, jobs: Jobs, tmp_path: Path
) -> None:
    deadly = enqueued(jobs, "ann")
    others = [enqueued(jobs, who) for who in ("bob", "cy", "bob", "dee")]
    killed = 0
    while jobs.any_open():
        worker = PROCESSES.Process(target=work, args=(tmp_path,))
        worker.start()
        worker.join()
        killed += worker.exitcode == -signal.SIGKILL
        assert killed <= MAX_ATTEMPTS
    assert killed == MAX_ATTEMPTS
    assert jobs.get(deadly.id).state is JobState.FAILED
    assert jobs.get(deadly.id).error == "The worker died or hung in attempt 3."
    assert {jobs.get(job.id).state for job in others} == {JobState.DONE}


# ---- what was filmed of a job that came to nothing ----


def test_what_was_finished_of_a_failed_job_is_a_take_of_the_first_windows(database: Database, jobs: Jobs) -> None:
    job = enqueued(jobs, "ann")
    jobs.claim("w", 30)
    part = FILM.model_copy(update={"windows": 1, "frames": 81})
    failed = jobs.fail(job.id, 1, "The card burnt.", retry=False, film=part)
    assert (failed.state, failed.error, failed.take) == (JobState.FAILED, "The card burnt.", None)
    take = Takes(database).made_by(job.id)
    assert take is not None
    assert (take.plan, take.windows, take.missing_windows) == (PLAN.first(1), 1, 1)
    assert Takes(database).get(take.id) == take


def test_a_failure_that_is_tried_again_leaves_no_take(database: Database, jobs: Jobs) -> None:
    job = enqueued(jobs, "ann")
    jobs.claim("w", 30)
    jobs.fail(job.id, 1, "bad luck", retry=True, film=FILM.model_copy(update={"windows": 1}))
    assert Takes(database).made_by(job.id) is None
    assert jobs.get(job.id).state is JobState.QUEUED


def lose(jobs: Jobs, database: Database) -> None:
    """The worker of what runs is gone."""
    with database.write() as db:
        db.execute("UPDATE jobs SET lease_ms = 0 WHERE state = 'running'")


@pytest.mark.parametrize("windows", [0, 1])
def test_a_job_whose_last_worker_died_is_claimed_once_more_if_a_window_is_finished(
    database: Database, jobs: Jobs, windows: int
) -> None:
    job = enqueued(jobs, "ann")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = jobs.claim("w", 30)
        assert claimed is not None
        assert claimed.tries == attempt
        for number in range(windows):
            jobs.window_filmed(job.id, attempt, number + 1)
        lose(jobs, database)
    claimed = jobs.claim("w", 30)
    if not windows:
        assert claimed is None
    else:
        assert claimed is not None
        assert claimed.tries == MAX_ATTEMPTS + 1
        lose(jobs, database)
        assert jobs.claim("w", 30) is None, "who dies of gathering, too, is not asked again"
    assert jobs.get(job.id).state is JobState.FAILED
    assert jobs.get(job.id).error == "The worker died or hung in attempt 3."
