"""The job table: every job is filmed by one worker at a time, whoever crashes, stops or comes back late."""

import contextlib
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlite_utils
from clock import Clock
from waiting import LIMIT_SECONDS

from storage.database import Database
from storage.jobs import MAX_ATTEMPTS, Fenced, Jobs
from storage.schema import (
    Errand,
    Expert,
    Film,
    JobState,
    Phase,
    Plan,
    Progress,
    Sampling,
    Size,
    Solver,
    Stage,
    StartImage,
    Storyboard,
    StoryboardWindow,
    UserError,
    Window,
)
from storage.takes import Takes

PROCESSES = multiprocessing.get_context("spawn")
ERRAND = Errand(channel="lobby", requester="ada")
FILM = Film(video="b" * 64, tail="c" * 64, frames=81, render_seconds=12.5)
PROGRESS = Progress(stage=Stage.DENOISING, window=1, windows=2, step=3, steps=8, seconds_left=4.5)
LEASE = 30.0


def plan(title="Rain"):
    return Plan(
        storyboard=Storyboard(title=title, windows=(StoryboardWindow(scene="a street"),)),
        size=Size(width=832, height=480),
        source=StartImage(image="a" * 64),
        windows=(Window(prompt="a street", negative="blur", seed=1),),
        sampling=Sampling(
            solver=Solver.EULER, sigmas=(1.0, 0.1 + 0.2, 0.0), phases=(Phase(expert=Expert.LOW_NOISE, above=0),)
        ),
        seed=7,
        model="demo",
    )


@pytest.fixture
def clock():
    return Clock(1_800_000_000.25)


@pytest.fixture
def jobs(database, clock):
    return Jobs(database, clock)


def kinds(jobs, job):
    return [event.kind for event in jobs.events(job)]


# ---- the queue ----


def test_a_job_is_what_was_enqueued(jobs, clock):
    errand = Errand(channel="lobby", requester="ada", message="m1")
    job = jobs.enqueue(plan(), errand)
    assert (job.plan, job.errand) == (plan(), errand)
    assert (job.state, job.attempts, job.worker, job.take) == (JobState.QUEUED, 0, None, None)
    assert job.created == datetime.fromtimestamp(clock(), UTC)
    assert jobs.get(job.id) == job


def test_jobs_are_claimed_in_the_order_in_which_they_came(jobs):
    ids = [jobs.enqueue(plan(), ERRAND).id for _ in range(3)]
    assert [jobs.position(job) for job in ids] == [1, 2, 3]
    claimed = jobs.claim("w", LEASE)
    assert (claimed.id, claimed.state, claimed.attempts, claimed.worker) == (ids[0], JobState.RUNNING, 1, "w")
    assert [jobs.position(job) for job in ids] == [None, 1, 2]
    assert [job.id for job in jobs.queue()] == ids
    assert [jobs.claim("w", LEASE).id for _ in range(2)] == ids[1:]
    assert jobs.claim("w", LEASE) is None


def test_people_take_turns(jobs, clock):
    """Who floods the queue waits for everybody else's next job, also while nothing of theirs is being filmed."""
    ann = [jobs.enqueue(plan(), Errand(channel="lobby", requester="ann")).id for _ in range(3)]
    bob = [jobs.enqueue(plan(), Errand(channel="lobby", requester="bob")).id for _ in range(2)]
    expected = [ann[0], bob[0], ann[1], bob[1], ann[2]]
    assert [jobs.position(job) for job in ann + bob] == [1, 3, 5, 2, 4]
    claimed = []
    while (job := jobs.claim("w", 30)) is not None:
        claimed.append(job.id)
        assert [waiting.id for waiting in jobs.queue()][len(claimed) :] == expected[len(claimed) :]
        clock.advance(1)
    assert claimed == expected


def test_who_was_filmed_for_last_waits(jobs, clock):
    first = jobs.enqueue(plan(), Errand(channel="lobby", requester="ann"))
    clock.advance(1)
    jobs.claim("w", 30)
    again = jobs.enqueue(plan(), Errand(channel="lobby", requester="ann"))
    other = jobs.enqueue(plan(), Errand(channel="lobby", requester="bob"))
    assert [job.id for job in jobs.queue()] == [first.id, other.id, again.id]


@pytest.mark.parametrize("seed", range(6))
def test_the_next_turn_is_the_first_place_whatever_happens(jobs, database, clock, seed):
    """What a claim looks at says the same as the whole queue does; so does every trigger that keeps it."""
    chance, held = random.Random(seed), []
    for _ in range(120):
        clock.advance(1)
        match chance.randrange(6):
            case 0 | 1 | 2:
                jobs.enqueue(plan(), Errand(channel="lobby", requester=chance.choice("abcd")))
            case 3:
                first = next((job.id for job in jobs.queue() if job.state is JobState.QUEUED), None)
                assert [jobs.position(job.id) for job in jobs.queue() if job.id == first] == ([1] if first else [])
                claimed = jobs.claim("w", 600)
                assert (claimed.id if claimed else None) == first
                held += [claimed] if claimed else []
            case 4 if held:
                job = held.pop(chance.randrange(len(held)))
                with contextlib.suppress(Fenced):
                    end = chance.choice([jobs.release, lambda *which: jobs.fail(*which, "no", retry=True)])
                    end(job.id, job.attempts)
            case 5 if jobs.queue():
                gone = chance.choice(jobs.queue()).id
                if chance.random() < 0.5:
                    jobs.cancel(gone)
                else:
                    with database.write() as db:
                        db.execute("DELETE FROM events WHERE job = :job", {"job": gone})
                        db.execute("DELETE FROM jobs WHERE id = :job", {"job": gone})


def test_a_turn_is_kept_without_looking_at_everybody(database):
    """The plans of the triggers' statements, for one person."""
    for name in ("turns_after_insert", "turns_after_update", "turns_after_delete"):
        sql = database.rows("SELECT sql FROM sqlite_schema WHERE name = :name", {"name": name})[0]["sql"]
        body = (
            sql[sql.index("BEGIN") + 5 : sql.rindex("END")]
            .replace("new.requester", ":who")
            .replace("old.requester", ":who")
        )
        for statement in filter(str.strip, body.split(";")):
            plans = [step["detail"] for step in database.db.query(f"EXPLAIN QUERY PLAN {statement}", {"who": "ann"})]
            assert plans
            assert not [detail for detail in plans if detail.startswith("SCAN jobs") or "TEMP" in detail], plans


def test_what_waited_before_the_turns_were_kept_has_its_turn(tmp_path):
    """The step that adds the turns reads those who wait already."""
    file = tmp_path / "old.db"
    with Database.open(file) as database:
        jobs = Jobs(database)
        ids = [jobs.enqueue(plan(), Errand(channel="lobby", requester=who)).id for who in "aab"]
        with database.write() as db:
            for trigger in ("turns_after_insert", "turns_after_update", "turns_after_delete"):
                db.execute(f"DROP TRIGGER {trigger}")
            for index in ("jobs_waiting", "jobs_by_end", "jobs_by_message", "events_by_reason"):
                db.execute(f"DROP INDEX {index}")
            db.execute("DROP TABLE turns")
            db.execute("ALTER TABLE jobs DROP COLUMN message")
            for table, column in (
                ("cards", "sending_ms"),
                ("cards", "outcome"),
                ("cards", "reason"),
                ("read_marks", "place"),
            ):
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm007_turns_and_what_outlives_a_kill'")
    with Database.open(file) as database:
        jobs = Jobs(database)
        assert [jobs.position(job) for job in ids] == [1, 3, 2]
        assert [jobs.claim("w", LEASE).id for _ in range(3)] == [ids[0], ids[2], ids[1]]


def test_a_job_that_nobody_knows(jobs):
    assert jobs.position(1) is None
    assert jobs.events(1) == []
    for ask in (jobs.get, jobs.cancel):
        with pytest.raises(UserError, match=r"^There is no job 1\.$"):
            ask(1)


def test_a_job_for_a_take_that_nobody_knows_is_not_enqueued(jobs):
    for errand in (ERRAND.model_copy(update={"parent": 5}), ERRAND.model_copy(update={"again_of": 5})):
        with pytest.raises(UserError, match=r"^There is no take 5\.$"):
            jobs.enqueue(plan(), errand)
    assert jobs.recent() == []


def test_jobs_by_state_and_channel(jobs):
    hall = Errand(channel="hall", requester="ada")
    ids = [jobs.enqueue(plan(), errand).id for errand in (ERRAND, hall, ERRAND, hall)]
    jobs.claim("w", LEASE)

    def of(**wanted):
        return [ids.index(job.id) for job in jobs.recent(**wanted)]

    assert of() == [3, 2, 1, 0]
    assert of(limit=2) == [3, 2]
    assert of(channel="hall") == [3, 1]
    assert of(channel="hall", limit=1) == [3]
    assert of(state=JobState.QUEUED) == [3, 2, 1]
    assert of(channel="lobby", state=JobState.RUNNING) == [0]
    assert of(channel="hall", state=JobState.RUNNING) == []
    assert [job.id for job in jobs.queue("hall")] == [ids[1], ids[3]]


# ---- a render from beginning to end ----


def test_finishing_makes_the_take_and_ends_the_job(jobs, database, clock):
    job = jobs.enqueue(plan(), ERRAND)
    clock.advance(5)
    jobs.claim("w", LEASE)
    clock.advance(7)
    assert jobs.progress(job.id, 1, PROGRESS)
    assert jobs.get(job.id).progress == PROGRESS
    assert jobs.window_filmed(job.id, 1, 1)
    clock.advance(11)
    take = jobs.finish(job.id, 1, FILM)
    assert (take.job, take.plan, take.film, take.errand) == (job.id, plan(), FILM, ERRAND)
    assert Takes(database).get(take.id) == take
    done = jobs.get(job.id)
    assert (done.state, done.take, done.progress, done.error) == (JobState.DONE, take.id, None, None)
    assert ((done.started - done.created).seconds, (done.finished - done.started).seconds) == (5, 18)
    assert take.created == done.finished


def test_events_tell_the_story_and_not_every_step(jobs, clock):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    for step in range(9):
        jobs.progress(job, 1, PROGRESS.model_copy(update={"step": step}))
        jobs.heartbeat(job, 1, LEASE)
    clock.advance(3)
    jobs.window_filmed(job, 1, 1)
    jobs.finish(job, 1, FILM)
    events = jobs.events(job)
    assert [(event.kind, event.attempt, event.text) for event in events] == [
        ("queued", 0, ""),
        ("claimed", 1, "w"),
        ("window", 1, "1"),
        ("done", 1, "take 1"),
    ]
    assert (events[2].at - events[1].at).seconds == 3
    assert jobs.events(job, after=events[1].id) == events[2:]
    assert jobs.events(job, after=events[3].id) == []


# ---- leases and fences ----


def test_a_lease_is_kept_alive_by_its_heartbeat(jobs, clock):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("first", LEASE)
    for _ in range(5):
        clock.advance(LEASE)
        assert jobs.claim("second", LEASE) is None
        assert jobs.heartbeat(job, 1, LEASE)


def test_a_worker_that_comes_back_late_changes_nothing(jobs, database, clock):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("first", LEASE)
    clock.advance(LEASE + 0.001)
    assert jobs.claim("second", LEASE).attempts == 2
    before = (jobs.get(job), jobs.events(job))
    assert not jobs.heartbeat(job, 1, LEASE)
    assert not jobs.progress(job, 1, PROGRESS)
    assert not jobs.window_filmed(job, 1, 1)
    for late in (
        lambda: jobs.finish(job, 1, FILM),
        lambda: jobs.fail(job, 1, "out of memory", retry=False),
        lambda: jobs.release(job, 1),
    ):
        with pytest.raises(Fenced, match=f"attempt 1 does not hold job {job}"):
            late()
    assert (jobs.get(job), jobs.events(job)) == before
    assert Takes(database).last("lobby") is None
    assert jobs.finish(job, 2, FILM).job == job


def test_a_late_worker_may_go_on_while_nobody_took_over(jobs, clock):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    clock.advance(10 * LEASE)
    assert jobs.heartbeat(job, 1, LEASE)
    assert jobs.claim("other", LEASE) is None
    assert jobs.finish(job, 1, FILM).job == job


def test_a_job_is_finished_once(jobs, database):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    jobs.finish(job, 1, FILM)
    with pytest.raises(Fenced):
        jobs.finish(job, 1, FILM)
    assert len(Takes(database).history("lobby")) == 1


def test_a_film_that_cannot_be_kept_leaves_the_job_running(jobs, database):
    """The take and the end of the job are one transaction."""
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    with pytest.raises(AttributeError):
        jobs.finish(job, 1, None)
    assert jobs.get(job).state is JobState.RUNNING
    assert jobs.heartbeat(job, 1, LEASE)
    assert Takes(database).last("lobby") is None


def test_a_job_that_kills_its_workers_fails_and_lets_the_others_through(jobs, clock):
    poison, next_one = jobs.enqueue(plan(), ERRAND).id, jobs.enqueue(plan(), ERRAND).id
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = jobs.claim("w", LEASE)
        assert (claimed.id, claimed.attempts) == (poison, attempt)
        clock.advance(LEASE + 1)
    assert jobs.claim("w", LEASE).id == next_one
    failed = jobs.get(poison)
    assert failed.state is JobState.FAILED
    assert failed.error == "The worker died or hung in attempt 3."
    assert failed.finished == datetime.fromtimestamp(clock(), UTC)
    assert kinds(jobs, poison) == ["queued", *["claimed", "lost"] * 3, "failed"]


def test_a_released_attempt_is_no_failure_but_stays_fenced(jobs):
    """A worker that is told to stop, again and again, never uses the job up."""
    job = jobs.enqueue(plan(), ERRAND).id
    for attempt in range(1, 2 * MAX_ATTEMPTS):
        assert jobs.claim("w", LEASE).attempts == attempt
        released = jobs.release(job, attempt)
        assert (released.state, released.started) == (JobState.QUEUED, None)
        assert jobs.position(job) == 1
    jobs.claim("w", LEASE)
    assert not jobs.heartbeat(job, 1, LEASE)
    for _ in range(MAX_ATTEMPTS - 1):
        attempt = jobs.get(job).attempts
        assert jobs.fail(job, attempt, "out of memory", retry=True).state is JobState.QUEUED
        jobs.claim("w", LEASE)
    assert jobs.fail(job, attempt + 1, "out of memory", retry=True).state is JobState.FAILED


def test_a_job_that_is_given_back_says_why_and_one_that_begins_again_by_itself_too(jobs):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    assert jobs.release(job, 1, "The disk is full.").error == "The disk is full."
    jobs.claim("w", LEASE)
    assert jobs.release(job, 2).error == "The disk is full.", "nobody knew better"
    jobs.claim("w", LEASE)
    assert jobs.remark(job, 3, "Again, with less.")
    assert not jobs.remark(job, 2, "too late")
    assert (jobs.get(job).state, jobs.get(job).error) == (JobState.RUNNING, "Again, with less.")
    assert [event.text for event in jobs.events(job) if event.kind == "again"] == ["Again, with less."]


def test_a_failure_is_tried_again_until_the_last_attempt(jobs):
    job = jobs.enqueue(plan(), ERRAND).id
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert jobs.get(job).state is JobState.QUEUED
        jobs.claim("w", LEASE)
        ended = jobs.fail(job, attempt, f"reason {attempt}", retry=True)
        assert ended.error == f"reason {attempt}"
    assert ended.state is JobState.FAILED
    assert ended.finished is not None
    assert jobs.claim("w", LEASE) is None
    story = [(event.kind, event.text) for event in jobs.events(job)]
    assert story[-2:] == [("claimed", "w"), ("failed", "reason 3")]
    assert ("queued", "reason 1") in story


def test_a_failure_that_would_only_repeat_itself_is_final_at_once(jobs):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    jobs.progress(job, 1, PROGRESS)
    failed = jobs.fail(job, 1, "The picture is broken.", retry=False)
    assert (failed.state, failed.error, failed.progress) == (JobState.FAILED, "The picture is broken.", None)
    assert jobs.claim("w", LEASE) is None


def test_a_job_that_succeeds_after_a_failure_shows_no_error(jobs):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    jobs.progress(job, 1, PROGRESS)
    assert jobs.fail(job, 1, "a hiccup", retry=True).progress is None
    jobs.claim("w", LEASE)
    jobs.finish(job, 2, FILM)
    assert jobs.get(job).error is None


# ---- cancelling ----


def test_a_queued_job_is_cancelled_at_once(jobs):
    job, other = jobs.enqueue(plan(), ERRAND).id, jobs.enqueue(plan(), ERRAND).id
    cancelled = jobs.cancel(job)
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.finished is not None
    assert jobs.position(other) == 1
    assert jobs.claim("w", LEASE).id == other
    assert kinds(jobs, job) == ["queued", "cancelled"]


def test_the_worker_of_a_cancelled_job_learns_it_and_brings_nothing(jobs, database, clock):
    job = jobs.enqueue(plan(), ERRAND).id
    jobs.claim("w", LEASE)
    assert jobs.cancel(job).state is JobState.CANCELLED
    assert not jobs.heartbeat(job, 1, LEASE)
    with pytest.raises(Fenced):
        jobs.finish(job, 1, FILM)
    clock.advance(LEASE + 1)
    assert jobs.claim("w", LEASE) is None
    assert Takes(database).last("lobby") is None


def test_what_has_ended_cannot_be_cancelled(jobs):
    done, failed, cancelled = (jobs.enqueue(plan(), ERRAND).id for _ in range(3))
    jobs.finish(done, jobs.claim("w", LEASE).attempts, FILM)
    jobs.fail(failed, jobs.claim("w", LEASE).attempts, "no", retry=False)
    jobs.cancel(cancelled)
    for job, sentence in ((done, "is already done"), (failed, "has failed"), (cancelled, "is already cancelled")):
        before = (jobs.get(job), jobs.events(job))
        with pytest.raises(UserError, match=f"^Job {job} {sentence}\\.$"):
            jobs.cancel(job)
        assert (jobs.get(job), jobs.events(job)) == before


# ---- the database ----


def test_the_file_is_in_wal_mode_with_foreign_keys(database):
    settings = {
        name: database.rows(f"PRAGMA {name}", {})[0][name] for name in ("journal_mode", "foreign_keys", "synchronous")
    }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1}


def test_opening_again_keeps_everything(tmp_path, clock):
    path = tmp_path / "longtake.db"
    with Database.open(path) as database:
        job = Jobs(database, clock).enqueue(plan(), ERRAND)
    with Database.open(path) as database:
        assert Jobs(database, clock).get(job.id) == job


def test_opening_a_new_file_waits_for_another_process_that_is_making_it(tmp_path):
    """SQLite itself does not wait to switch to WAL: it says "database is locked" at once."""
    path = tmp_path / "longtake.db"
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, maker.execute, ["COMMIT"])
    done.start()
    with Database.open(path) as database:
        assert not maker.in_transaction
        assert Jobs(database).enqueue(plan(), ERRAND).id == 1
    done.join()
    maker.close()


def test_opening_a_file_that_is_never_free_says_so(tmp_path):
    path = tmp_path / "longtake.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as maker:
        maker.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            Database.open(path, busy_seconds=0.1)


def test_a_file_of_a_newer_longtake_is_refused(tmp_path):
    path = tmp_path / "longtake.db"
    Database.open(path).close()
    with sqlite_utils.Database(path) as newer:
        step = {"migration_set": "longtake", "name": "m999_later", "applied_at": "2030-01-01"}
        newer.table("_sqlite_migrations").insert(step)
    with pytest.raises(UserError, match="newer Longtake: it has m999_later"):
        Database.open(path)


def test_after_an_error_nothing_of_a_transaction_stays(jobs, database):
    job = jobs.enqueue(plan(), ERRAND)

    def half_a_change():
        with database.write() as db:
            db.execute("UPDATE jobs SET state = 'failed'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_a_change()
    assert jobs.get(job.id) == job
    assert jobs.claim("w", LEASE).id == job.id  # and the next transaction begins


def test_a_transaction_that_reads_first_waits_for_its_turn(tmp_path):
    """Two that had both read would end in "database is locked", for one of them must then write on old ground."""
    path = tmp_path / "longtake.db"
    read, seen = threading.Event(), []

    def count_and_add():
        with Database.open(path) as other, other.write() as db:
            seen.append(db.table("posts").count)
            read.set()
            first_is_done.wait(10)
            db.execute("DELETE FROM posts")

    first_is_done = threading.Event()
    second = threading.Thread(target=count_and_add)
    with Database.open(path) as database:
        job = Jobs(database).enqueue(plan(), ERRAND).id
        take = Jobs(database).finish(job, Jobs(database).claim("w", LEASE).attempts, FILM)
        with database.write() as db:
            second.start()
            assert not read.wait(0.3)
            db.execute("INSERT INTO posts (message, take) VALUES ('m1', :take)", {"take": take.id})
        first_is_done.set()
        second.join()
        assert seen == [1]
        assert Takes(database).messages(take.id) == []


def test_a_database_carried_over_a_fork_refuses_to_work(jobs):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            jobs.recent()
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert f"opened by process {os.getpid()}" in said.read()


def test_no_look_up_reads_a_whole_table(jobs, database):
    """What stays fast with a million jobs: every statement finds its rows by an index and in the index's order."""
    asked = []
    with database.db.tracer(lambda sql, parameters: asked.append((sql, parameters))):
        takes = Takes(database)
        job = jobs.enqueue(plan(), ERRAND).id
        jobs.claim("w", LEASE)
        jobs.heartbeat(job, 1, LEASE)
        jobs.progress(job, 1, PROGRESS)
        jobs.window_filmed(job, 1, 1)
        jobs.remark(job, 1, "again")
        take = jobs.finish(job, 1, FILM)
        again = jobs.enqueue(plan(), ERRAND.model_copy(update={"parent": take.id, "again_of": take.id})).id
        jobs.claim("w", LEASE)
        jobs.fail(again, 1, "no", retry=True)
        jobs.claim("w", LEASE)
        jobs.release(again, 2)
        jobs.position(again)
        jobs.turns()
        jobs.queue()
        jobs.queue("lobby")
        jobs.open_in("lobby")
        jobs.some([job, again])
        jobs.counts()
        jobs.counts("ann")
        jobs.cancel(again)
        jobs.events(job, after=1)
        jobs.happened(jobs.happened(None)[1])
        for channel in (None, "lobby"):
            for state in (None, JobState.DONE):
                jobs.recent(channel, state)
        takes.post(take.id, "m1")
        takes.by_message("m1")
        takes.messages(take.id)
        takes.history("lobby")
        takes.parent(take)
        takes.children(take)
        takes.made_by(job)
        takes.by_video(FILM.video)
        takes.pin(take.id, "ann", 1)
        takes.pinned_by("ann")
        takes.unpin(take.id, "ann")
    explained = 0
    for sql, parameters in asked:
        if sql.split()[0] not in ("SELECT", "INSERT", "UPDATE"):
            continue
        explained += 1
        for step in database.db.query(f"EXPLAIN QUERY PLAN {sql}", parameters):
            newest_of_all = step["detail"] == "SCAN jobs" and "WHERE TRUE ORDER BY id DESC LIMIT" in sql
            # The queue, not the table:
            waiting = step["detail"].startswith(("SCAN (", "SCAN turns", "SCAN line")) and "AS waiting" in sql
            counted = step["detail"] == "SCAN jobs USING INDEX jobs_waiting" and "count(*)" in sql
            given = step["detail"].startswith(("SCAN json_each", "SCAN CONSTANT ROW"))
            next_turn = step["detail"] == "SCAN turns USING COVERING INDEX turns_by_wait"  # its first row alone
            few = newest_of_all or waiting or counted or given or next_turn
            assert "SCAN" not in step["detail"] or few, (step["detail"], sql)
            few = "AS waiting" in sql  # jobs that wait
            assert "TEMP B-TREE" not in step["detail"] or few, (step["detail"], sql)
    assert explained > 30


# ---- threads and processes ----


def test_threads_share_a_database(jobs, database):
    """A worker's heartbeat thread and its render thread, and the bot's many, use one connection."""
    wanted, found, at_once = 40, [], threading.Barrier(4)

    def work(name):
        at_once.wait()
        for _ in range(wanted // 4):
            jobs.enqueue(plan(), ERRAND)
            job = jobs.claim(name, LEASE)
            assert jobs.heartbeat(job.id, job.attempts, LEASE)
            jobs.finish(job.id, job.attempts, FILM)
            found.append(job.id)

    threads = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sorted(found) == sorted(job.id for job in jobs.recent(state=JobState.DONE, limit=wanted)) == sorted(set(found))
    )
    assert len(found) == wanted


def start(target, *args):
    """A process of its own, which ends with the test's at the latest."""
    process = PROCESSES.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def open_and_enqueue(folder: Path, name, at_once, rounds, count):
    """Open `rounds` files that do not exist yet, each at the same moment as the other processes; then fill the last."""
    for number in range(rounds):
        at_once.wait(timeout=LIMIT_SECONDS)
        with Database.open(folder / f"{number}.db") as database:
            jobs = Jobs(database)
            for _ in range(count if number == rounds - 1 else 1):
                jobs.enqueue(plan(name), ERRAND)


def claim_and_finish(path, name, wanted, claimed):
    """Claim and finish until `wanted` jobs are done, and say which ones came this way."""
    mine = []
    with Database.open(path) as database:
        jobs = Jobs(database)
        while len(Takes(database).history("lobby", limit=wanted)) < wanted:
            job = jobs.claim(name, LEASE)
            if job is None:
                time.sleep(0.01)
                continue
            mine.append((job.id, job.attempts))
            jobs.finish(job.id, job.attempts, FILM)
    claimed.put((name, mine))


def claim_and_hang(path, ready):
    """Claim a job, say so, and never come back."""
    database = Database.open(path)
    job = Jobs(database).claim("doomed", LEASE)
    ready.put((job.id, job.attempts))
    threading.Event().wait()


def test_ten_processes_enqueue_two_claim_and_each_job_is_claimed_once(tmp_path):
    """All ten begin with files that do not exist yet, so they also race to make the tables."""
    rounds, count = 8, 6
    at_once, claimed = PROCESSES.Barrier(10), PROCESSES.Queue()
    path = tmp_path / f"{rounds - 1}.db"
    people = [start(open_and_enqueue, tmp_path, f"person {n}", at_once, rounds, count) for n in range(10)]
    workers = [start(claim_and_finish, path, f"worker {n}", 10 * count, claimed) for n in range(2)]
    for process in people:
        process.join()
    assert [process.exitcode for process in people] == [0] * 10
    told = dict(claimed.get(timeout=LIMIT_SECONDS) for _ in workers)
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0] * 2

    assert sorted(told["worker 0"] + told["worker 1"]) == [(job, 1) for job in range(1, 10 * count + 1)]
    for number in range(rounds):
        with Database.open(tmp_path / f"{number}.db") as database:
            found = Jobs(database).recent(limit=1000)
            assert len(found) == (10 * count if number == rounds - 1 else 10)
            assert {job.plan.storyboard.title for job in found} == {f"person {n}" for n in range(10)}


def test_a_worker_killed_at_work_is_taken_over_when_its_lease_runs_out(tmp_path):
    path = tmp_path / "longtake.db"
    with Database.open(path) as database:
        job = Jobs(database).enqueue(plan(), ERRAND).id
        ready = PROCESSES.Queue()
        worker = start(claim_and_hang, path, ready)
        assert ready.get(timeout=LIMIT_SECONDS) == (job, 1)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        assert worker.exitcode == -signal.SIGKILL

        assert Jobs(database).claim("heir", LEASE) is None
        later = Jobs(database, now=lambda: time.time() + LEASE + 1)
        taken = later.claim("heir", LEASE)
        assert (taken.id, taken.attempts, taken.worker) == (job, 2, "heir")
        assert kinds(later, job) == ["queued", "claimed", "lost", "claimed"]
        assert later.finish(job, 2, FILM).job == job


def test_a_job_is_cancelled_in_another_process_while_its_worker_is_at_it(tmp_path):
    path = tmp_path / "longtake.db"
    with Database.open(path) as database:
        jobs = Jobs(database)
        job = jobs.enqueue(plan(), ERRAND).id
        told = PROCESSES.Queue()
        worker = start(work_until_told, path, told)
        assert told.get(timeout=LIMIT_SECONDS) == "at work"
        jobs.cancel(job)
        assert told.get(timeout=LIMIT_SECONDS) == "fenced"
        worker.join()
        assert worker.exitcode == 0
        assert jobs.get(job).state is JobState.CANCELLED
        assert Takes(database).last("lobby") is None


def work_until_told(path, told):
    """Work on a job until a heartbeat says that it is lost, then try to finish all the same."""
    with Database.open(path) as database:
        jobs = Jobs(database)
        job = jobs.claim("w", LEASE)
        told.put("at work")
        while jobs.heartbeat(job.id, 1, LEASE):
            time.sleep(0.01)
        try:
            jobs.finish(job.id, 1, FILM)
        except Fenced:
            told.put("fenced")
