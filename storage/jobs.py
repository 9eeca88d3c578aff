"""The job table, where the bot and the workers meet.

    queued     -> running      claim
    running    -> done         finish
               -> queued       release; fail, to be retried; the lease ran out
               -> failed       fail, for good; the last attempt failed or its lease ran out
               -> queued       once more after the last attempt was lost, if windows are finished: to gather them
    queued, running -> cancelled

A worker holds a job by a lease, which its heartbeat renews. A worker that lost its job (the lease ran out and another
one claimed it, or somebody cancelled it) is told so by its next heartbeat, and nothing that it still sends is kept:
every claim counts `attempts` up, and a worker names the attempt that it speaks for.

A row that cannot be read any more, as after a downgrade, is nobody else's trouble: lists leave it out, who asks for it
is told so, and who would claim it marks it failed and claims the next one.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import sqlite_utils

from storage.cards import follow
from storage.database import (
    Database,
    Parameters,
    Row,
    Unreadable,
    first_row,
    stored,
    to_datetime,
    to_milliseconds,
)
from storage.schema import Errand, Film, Job, JobEvent, JobState, Plan, Progress, Take, UserError
from storage.takes import insert_take, require_take

MAX_ATTEMPTS = 3  # unless the owner wants others: after this many failures a job has failed; a released one is none

_HELD = "id = :job AND attempts = :attempt AND state = 'running'"
# Who waits, by an index that holds those alone; each person's first job has turn 1. CROSS JOIN: in this order.
_WAITING = """
    SELECT waiting.id AS id, requester, last_ms, row_number() OVER (PARTITION BY requester ORDER BY waiting.id) AS turn
    FROM turns CROSS JOIN jobs AS waiting INDEXED BY jobs_waiting USING (requester) WHERE state = 'queued'
"""
_TURNS = f"SELECT id, row_number() OVER (ORDER BY turn, last_ms, id) AS place FROM ({_WAITING})"
_NEXT = (
    "SELECT next FROM turns ORDER BY last_ms, next LIMIT 1"  # the first place of _TURNS, without looking at the rest
)
_MAY_RETRY = "attempts - releases < :most"
_MAY_GATHER = """
    attempts - releases = :most AND EXISTS (SELECT 1 FROM events WHERE job = jobs.id AND kind = 'window')
"""
_AGAIN_AFTER_LOSS = f"({_MAY_RETRY} OR {_MAY_GATHER})"


@dataclass(frozen=True)
class Turn:
    """A job that runs or waits, without what is to be filmed. Place 1 is claimed next; None is running."""

    job: int
    requester: str
    place: int | None


class Fenced(Exception):
    """The job is not held by this attempt any more: cancelled, or taken over. What it brought was not kept."""


class Jobs:
    """The job table. `now` is the clock, in seconds since 1970.

    People take turns: everybody's oldest job comes before anybody's second one, and who was filmed for last waits
    longest.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time, attempts: int = MAX_ATTEMPTS) -> None:
        self._database = database
        self._now = now
        self._attempts = attempts

    # ---- for who wants a film ----

    def enqueue(self, plan: Plan, errand: Errand, card: int | None = None) -> Job:
        """Queue a plan. Another take of another take counts as one of the first take.

        With `card`, that card follows the job and shows no draft any more: both, or neither. UserError if it cannot.
        """
        with self._database.write() as db:
            if errand.parent is not None:
                require_take(db, errand.parent)
            if errand.again_of is not None:
                first = require_take(db, errand.again_of)["again_of"] or errand.again_of
                errand = errand.model_copy(update={"again_of": first})
            values = {"channel": errand.channel, "plan": plan.model_dump_json(), "errand": errand.model_dump_json()}
            sql = """
                INSERT INTO jobs (state, channel, plan, errand, created_ms)
                VALUES ('queued', :channel, :plan, :errand, :now) RETURNING *
            """
            (row,) = db.query(sql, values | {"now": self._milliseconds()})
            self._note(db, row, "queued")
            if card is not None:
                follow(db, card, row["id"])
        return _job(row)

    def cancel(self, job: int, by: str = "") -> Job:
        """Cancel a job that is queued or running; a running one's worker learns it from its next heartbeat. `by` names
        the message that said so, for `cancelled_by`."""
        if rows := self._cancel([job], by):
            return _job(rows[0])
        state = self.get(job).state
        raise UserError(f"Job {job} is already {state}." if state is not JobState.FAILED else f"Job {job} has failed.")

    def cancel_all(self, jobs: Iterable[int], by: str = "") -> list[int]:
        """The same for several, at once; those that were still queued or running, oldest first."""
        return sorted(row["id"] for row in self._cancel(jobs, by))

    def get(self, job: int) -> Job:
        """The job of this number."""
        rows = self._database.rows("SELECT * FROM jobs WHERE id = :job", {"job": job})
        if not rows:
            raise UserError(f"There is no job {job}.")
        return _job(rows[0])

    def cancelled_by(self, message: str) -> list[int]:
        """The jobs that a message cancelled, oldest first, so that a message heard twice cancels no more."""
        sql = "SELECT job FROM events WHERE kind = 'cancelled' AND text = :message ORDER BY job"
        return [row["job"] for row in self._database.rows(sql, {"message": message})]

    def asked_by(self, message: str) -> Job | None:
        """The job that a message led to."""
        return next(iter(self._select("WHERE message = :message ORDER BY id LIMIT 1", {"message": message})), None)

    def of(self, requester: str) -> list[Job]:
        """All jobs of a person, oldest first."""
        return self._select("WHERE requester = :requester ORDER BY id", {"requester": requester})

    def unwanted(self, job: int) -> bool:
        """Whether a job was cancelled, or forgotten altogether."""
        rows = self._database.rows("SELECT state FROM jobs WHERE id = :job", {"job": job})
        return not rows or rows[0]["state"] == JobState.CANCELLED

    def turns(self) -> list[Turn]:
        """What is running and what is queued, in the order of `queue`. Reads no plan: quick, however many wait."""
        sql = f"""
            SELECT id, requester, 0 AS turn, 0 AS last_ms FROM jobs WHERE state = 'running'
            UNION ALL SELECT id, requester, turn, last_ms FROM ({_WAITING}) ORDER BY turn, last_ms, id
        """
        place, turns = itertools.count(1), []
        for row in self._database.rows(sql, {}):
            turns.append(Turn(row["id"], row["requester"], next(place) if row["turn"] else None))
        return turns

    def queue(self, channel: str | None = None) -> list[Job]:
        """Jobs that are running or queued, those in work first, then in the order in which they will be claimed."""
        return [job for job, _ in self.placed(channel)]

    def placed(self, channel: str | None = None) -> list[tuple[Job, int | None]]:
        """The same with the place of each, as in `position`. NOTE: reads every plan; `turns` and `counts` do not."""
        here = "" if channel is None else "WHERE channel = :channel"
        line = f"SELECT id, 0 AS place FROM jobs WHERE state = 'running' UNION ALL {_TURNS}"
        sql = f"SELECT jobs.*, line.place FROM ({line}) AS line CROSS JOIN jobs USING (id) {here} ORDER BY place, id"
        rows = self._database.rows(sql, {"channel": channel})
        places = {row["id"]: row["place"] or None for row in rows}
        return [(job, places[job.id]) for job in readable_jobs(rows)]

    def open_in(self, channel: str, requester: str | None = None) -> list[Job]:
        """Jobs of a channel that are running or queued, oldest first: all, or those of a person."""
        whose = "" if requester is None else "AND requester = :requester"
        where = f"WHERE channel = :channel AND state IN ('queued', 'running') {whose} ORDER BY id"
        return self._select(where, {"channel": channel, "requester": requester})

    def some(self, jobs: Iterable[int]) -> list[Job]:
        """The jobs of these numbers, but for those that are gone or cannot be read."""
        numbers = json.dumps(list(jobs))
        return self._select("WHERE id IN (SELECT value FROM json_each(:jobs))", {"jobs": numbers})

    def counts(self, requester: str | None = None) -> tuple[int, int]:
        """How many jobs are running and how many are queued: of all, or of a person."""
        whose = "" if requester is None else "AND requester = :requester"
        sql = f"""
            SELECT (SELECT count(*) FROM jobs INDEXED BY jobs_by_state WHERE state = 'running' {whose}) AS running,
                (SELECT count(*) FROM jobs INDEXED BY jobs_waiting WHERE state = 'queued' {whose}) AS queued
        """
        (row,) = self._database.rows(sql, {"requester": requester})
        return int(row["running"]), int(row["queued"])

    def any_open(self) -> bool:
        """Whether a job is running or queued."""
        return bool(self._database.rows("SELECT 1 FROM jobs WHERE state IN ('queued', 'running') LIMIT 1", {}))

    def recent(self, channel: str | None = None, state: JobState | None = None, limit: int = 20) -> list[Job]:
        """The newest jobs, newest first: all, or those of a channel, in a state, or both."""
        wanted = [name for name, value in (("channel", channel), ("state", state)) if value is not None]
        where = " AND ".join(f"{name} = :{name}" for name in wanted) or "TRUE"
        parameters = {"channel": channel, "state": state, "limit": limit}
        return self._select(f"WHERE {where} ORDER BY id DESC LIMIT :limit", parameters)

    def position(self, job: int) -> int | None:
        """Place of a job in the queue: 1 is claimed next, None is not queued."""
        sql = f"SELECT place AS position FROM ({_TURNS}) WHERE id = :job"
        rows = self._database.rows(sql, {"job": job})
        return int(rows[0]["position"]) if rows else None

    def failed_since(self, seconds: float) -> list[int]:
        """The jobs that failed for good in the last so many seconds, newest first."""
        sql = "SELECT id FROM jobs WHERE state = 'failed' AND finished_ms >= :then ORDER BY id DESC"
        then = self._milliseconds() - to_milliseconds(seconds)
        return [row["id"] for row in self._database.rows(sql, {"then": then})]

    def events(self, job: int, after: int = 0) -> list[JobEvent]:
        """What happened to a job since event `after`, in order: each change of state and each finished window."""
        sql = "SELECT * FROM events WHERE job = :job AND id > :after ORDER BY id"
        rows = self._database.rows(sql, {"job": job, "after": after})
        return [JobEvent(at=to_datetime(row.pop("at_ms")), **row) for row in rows]

    def happened(self, after: int | None) -> tuple[set[int], int]:
        """The jobs to which something happened since event `after`, and the newest event, for the next call; with None,
        that alone."""
        if after is None:
            return set(), self._database.rows("SELECT coalesce(max(id), 0) AS id FROM events", {})[0]["id"]
        rows = self._database.rows("SELECT id, job FROM events WHERE id > :after", {"after": after})
        return {row["job"] for row in rows}, max((row["id"] for row in rows), default=after)

    # ---- for workers ----

    def claim(self, worker: str, lease_seconds: float) -> Job | None:
        """Take the job whose turn it is, or None. One whose worker let its lease run out is queued again, or failed."""
        now = self._milliseconds()
        sql = f"""
            UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = :worker, lease_ms = :lease,
                progress = NULL, started_ms = :now
            WHERE id = ({_NEXT}) RETURNING *
        """
        with self._database.write() as db:
            self._recover_lost(db, now)
            lease = now + to_milliseconds(lease_seconds)
            while (row := first_row(db, sql, {"worker": worker, "lease": lease, "now": now})) is not None:
                self._note(db, row, "claimed", worker)
                try:
                    return _job(row)
                except Unreadable as error:
                    self._fail(db, row["id"], row["attempts"], str(error), retry=False)
        return None

    def heartbeat(self, job: int, attempt: int, lease_seconds: float) -> bool:
        """Renew the lease. False: the job is not this attempt's any more, stop working on it."""
        lease = self._milliseconds() + to_milliseconds(lease_seconds)
        return self._touch(job, attempt, "lease_ms = :value", lease)

    def progress(self, job: int, attempt: int, progress: Progress) -> bool:
        """Show how far the render is; only the newest is kept. False as in `heartbeat`."""
        return self._touch(job, attempt, "progress = :value", progress.model_dump_json())

    def window_filmed(self, job: int, attempt: int, window: int) -> bool:
        """Note that a window, counted from 1 in the plan, is finished and kept. False as in `heartbeat`."""
        with self._database.write() as db:
            row = first_row(db, f"SELECT * FROM jobs WHERE {_HELD}", {"job": job, "attempt": attempt})
            if row is not None:
                self._note(db, row, "window", str(window))
        return row is not None

    def remark(self, job: int, attempt: int, text: str) -> bool:
        """Tell the person why an attempt begins again by itself. False as in `heartbeat`."""
        with self._database.write() as db:
            sql = f"UPDATE jobs SET error = :text WHERE {_HELD} RETURNING *"
            row = first_row(db, sql, {"job": job, "attempt": attempt, "text": text})
            if row is not None:
                self._note(db, row, "again", text)
        return row is not None

    def finish(self, job: int, attempt: int, film: Film) -> Take:
        """Keep the film as a take and mark the job done, both or neither."""
        with self._database.write() as db:
            now = self._milliseconds()
            row = self._settle(db, job, attempt, "state = 'done', finished_ms = :now, error = NULL", {"now": now})
            take = insert_take(db, _job(row), film, now)
            db.execute("UPDATE jobs SET take = :take WHERE id = :job", {"take": take.id, "job": job})
            self._note(db, row, "done", f"take {take.id}")
        return take

    def release(self, job: int, attempt: int, reason: str | None = None) -> Job:
        """Hand a job back unfinished, as a worker does that was told to stop; this attempt is no failure. A person
        reads the reason."""
        change = "state = 'queued', releases = releases + 1, started_ms = NULL, error = coalesce(:reason, error)"
        with self._database.write() as db:
            row = self._settle(db, job, attempt, change, {"reason": reason})
            self._note(db, row, "released", f"by {row['worker']}")
        return _job(row)

    def fail(self, job: int, attempt: int, reason: str, *, retry: bool, film: Film | None = None) -> Job:
        """End an attempt with a reason that a person reads. With `retry` the job is queued again, unless it was its
        last attempt. `film`, what was filmed so far, becomes a take of a job that failed for good."""
        with self._database.write() as db:
            row = self._fail(db, job, attempt, reason, retry=retry)
            if film is not None and row["state"] == JobState.FAILED:
                insert_take(db, _job(row), film, self._milliseconds())
        return _job(row)

    # ---- inside ----

    def _fail(self, db: sqlite_utils.Database, job: int, attempt: int, reason: str, *, retry: bool) -> Row:
        again = f"(:retry AND {_MAY_RETRY})"
        change = f"""
            state = iif({again}, 'queued', 'failed'), error = :reason,
            started_ms = iif({again}, NULL, started_ms), finished_ms = iif({again}, NULL, :now)
        """
        parameters = {"retry": retry, "reason": reason, "now": self._milliseconds(), "most": self._attempts}
        row = self._settle(db, job, attempt, change, parameters)
        self._note(db, row, row["state"], reason)
        return row

    def _recover_lost(self, db: sqlite_utils.Database, now: int) -> None:
        """Queue again what is running on a lease that ran out; what was lost in its last attempt fails, once what it
        filmed is gathered."""
        sql = f"""
            UPDATE jobs SET state = iif({_AGAIN_AFTER_LOSS}, 'queued', 'failed'), lease_ms = NULL, progress = NULL,
                error = 'The worker died or hung in attempt ' || min(attempts, :most + releases) || '.',
                started_ms = iif({_AGAIN_AFTER_LOSS}, NULL, started_ms),
                finished_ms = iif({_AGAIN_AFTER_LOSS}, NULL, :now)
            WHERE state = 'running' AND lease_ms < :now RETURNING *
        """
        for row in list(db.query(sql, {"now": now, "most": self._attempts})):
            self._note(db, row, "lost", f"by {row['worker']}")
            if row["state"] == JobState.FAILED:
                self._note(db, row, "failed", row["error"])

    def _cancel(self, jobs: Iterable[int], by: str) -> list[Row]:
        sql = """
            UPDATE jobs SET state = 'cancelled', lease_ms = NULL, finished_ms = :now
            WHERE id IN (SELECT value FROM json_each(:jobs)) AND state IN ('queued', 'running') RETURNING *
        """
        with self._database.write() as db:
            rows = list(db.query(sql, {"jobs": json.dumps(list(jobs)), "now": self._milliseconds()}))
            for row in rows:
                self._note(db, row, "cancelled", by)
        return rows

    def _settle(self, db: sqlite_utils.Database, job: int, attempt: int, change: str, parameters: Parameters) -> Row:
        """End an attempt: its job gets `change` and loses lease and progress. Fenced when it does not hold the job."""
        sql = f"UPDATE jobs SET {change}, lease_ms = NULL, progress = NULL WHERE {_HELD} RETURNING *"
        row = first_row(db, sql, {"job": job, "attempt": attempt, **parameters})
        if row is None:
            raise Fenced(f"attempt {attempt} does not hold job {job} any more")
        return row

    def _touch(self, job: int, attempt: int, change: str, value: str | int) -> bool:
        with self._database.write() as db:
            sql = f"UPDATE jobs SET {change} WHERE {_HELD}"
            return db.execute(sql, {"job": job, "attempt": attempt, "value": value}).rowcount == 1

    def _note(self, db: sqlite_utils.Database, row: Row, kind: str, text: str = "") -> None:
        sql = "INSERT INTO events (job, at_ms, kind, attempt, text) VALUES (:job, :now, :kind, :attempt, :text)"
        values = {"job": row["id"], "now": self._milliseconds(), "kind": kind, "attempt": row["attempts"]}
        db.execute(sql, values | {"text": text})

    def _select(self, where: str, parameters: Parameters) -> list[Job]:
        return list(readable_jobs(self._database.rows(f"SELECT jobs.* FROM jobs {where}", parameters)))

    def _milliseconds(self) -> int:
        return to_milliseconds(self._now())


def readable_jobs(rows: Iterable[Row]) -> Iterator[Job]:
    """The jobs of rows of `jobs`, but for those that cannot be read."""
    for row in rows:
        with suppress(Unreadable):
            yield _job(row)


def _job(row: Row) -> Job:
    name = f"Job {row['id']}"
    return Job(
        id=row["id"],
        state=row["state"],
        plan=stored(Plan, row["plan"], name),
        errand=stored(Errand, row["errand"], name),
        attempts=row["attempts"],
        releases=row["releases"],
        worker=row["worker"],
        progress=stored(Progress, row["progress"], name) if row["progress"] is not None else None,
        error=row["error"],
        take=row["take"],
        created=to_datetime(row["created_ms"]),
        started=to_datetime(row["started_ms"]) if row["started_ms"] is not None else None,
        finished=to_datetime(row["finished_ms"]) if row["finished_ms"] is not None else None,
    )
