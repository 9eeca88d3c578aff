"""What the job table holds, for who asks and changes nothing. See jobs.py.

A row that cannot be read any more, as after a downgrade, is nobody else's trouble: lists leave it out, and who asks for
it is told so.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from storage.database import Database, Parameters, Row, Unreadable, stored, to_datetime, to_milliseconds
from storage.schema import Errand, Job, JobEvent, JobState, Plan, Progress, UserError

# Who waits, by an index that holds those alone; each person's first job has turn 1. CROSS JOIN: in this order.
WAITING = """
    SELECT waiting.id AS id, requester, last_ms, row_number() OVER (PARTITION BY requester ORDER BY waiting.id) AS turn
    FROM turns CROSS JOIN jobs AS waiting INDEXED BY jobs_waiting USING (requester) WHERE state = 'queued'
"""
TURNS = f"SELECT id, row_number() OVER (ORDER BY turn, last_ms, id) AS place FROM ({WAITING})"


@dataclass(frozen=True)
class Turn:
    """A job that runs or waits, without what is to be filmed. Place 1 is claimed next; None is running."""

    job: int
    requester: str
    place: int | None


class JobReader:
    """Reads the job table. `now` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def get(self, job: int) -> Job:
        """The job of this number."""
        rows = self._database.rows("SELECT * FROM jobs WHERE id = :job", {"job": job})
        if not rows:
            raise UserError(f"There is no job {job}.")
        return job_of(rows[0])

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
            UNION ALL SELECT id, requester, turn, last_ms FROM ({WAITING}) ORDER BY turn, last_ms, id
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
        line = f"SELECT id, 0 AS place FROM jobs WHERE state = 'running' UNION ALL {TURNS}"
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
        sql = f"SELECT place AS position FROM ({TURNS}) WHERE id = :job"
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

    def _select(self, where: str, parameters: Parameters) -> list[Job]:
        return list(readable_jobs(self._database.rows(f"SELECT jobs.* FROM jobs {where}", parameters)))

    def _milliseconds(self) -> int:
        return to_milliseconds(self._now())


def readable_jobs(rows: Iterable[Row]) -> Iterator[Job]:
    """The jobs of rows of `jobs`, but for those that cannot be read."""
    for row in rows:
        with suppress(Unreadable):
            yield job_of(row)


def job_of(row: Row) -> Job:
    """The job of a row of `jobs`. Unreadable if it cannot be read."""
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
