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

What only reads is in job_reader.py. A job that cannot be read any more is failed by who would claim it.
"""

import json
import time
from collections.abc import Callable, Iterable

import sqlite_utils

from storage.cards import follow
from storage.database import (
    Database,
    Parameters,
    Row,
    Unreadable,
    first_row,
    to_milliseconds,
)
from storage.job_reader import JobReader, job_of
from storage.schema import Errand, Film, Job, JobState, Plan, Progress, Take, UserError
from storage.takes import insert_take, require_take

MAX_ATTEMPTS = 3  # unless the owner wants others: after this many failures a job has failed; a released one is none

_HELD = "id = :job AND attempts = :attempt AND state = 'running'"
# The first of JobReader.turns that waits, without looking at the rest.
_NEXT = "SELECT next FROM turns ORDER BY last_ms, next LIMIT 1"
_MAY_RETRY = "attempts - releases < :most"
_MAY_GATHER = """
    attempts - releases = :most AND EXISTS (SELECT 1 FROM events WHERE job = jobs.id AND kind = 'window')
"""
_AGAIN_AFTER_LOSS = f"({_MAY_RETRY} OR {_MAY_GATHER})"


class Fenced(Exception):
    """The job is not held by this attempt any more: cancelled, or taken over. What it brought was not kept."""


class Jobs(JobReader):
    """The job table. `now` is the clock, in seconds since 1970.

    People take turns: everybody's oldest job comes before anybody's second one, and who was filmed for last waits
    longest.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time, attempts: int = MAX_ATTEMPTS) -> None:
        super().__init__(database, now)
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
        return job_of(row)

    def cancel(self, job: int, by: str = "") -> Job:
        """Cancel a job that is queued or running; a running one's worker learns it from its next heartbeat. `by` names
        the message that said so, for `cancelled_by`."""
        if rows := self._cancel([job], by):
            return job_of(rows[0])
        state = self.get(job).state
        raise UserError(f"Job {job} is already {state}." if state is not JobState.FAILED else f"Job {job} has failed.")

    def cancel_all(self, jobs: Iterable[int], by: str = "") -> list[int]:
        """The same for several, at once; those that were still queued or running, oldest first."""
        return sorted(row["id"] for row in self._cancel(jobs, by))

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
                    return job_of(row)
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
            take = insert_take(db, job_of(row), film, now)
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
        return job_of(row)

    def fail(self, job: int, attempt: int, reason: str, *, retry: bool, film: Film | None = None) -> Job:
        """End an attempt with a reason that a person reads. With `retry` the job is queued again, unless it was its
        last attempt. `film`, what was filmed so far, becomes a take of a job that failed for good."""
        with self._database.write() as db:
            row = self._fail(db, job, attempt, reason, retry=retry)
            if film is not None and row["state"] == JobState.FAILED:
                insert_take(db, job_of(row), film, self._milliseconds())
        return job_of(row)

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
