"""The takes of every channel, and the messages that show them.

Takes of a channel form a tree: a continuation has a parent; another take is a sibling of the first take of its plan.
A take is made by Jobs.finish, or by Jobs.fail of what was finished, and never changes but
for its video, which may be pinned or evicted. Its plan is its job's, or as
much of it as was filmed; its errand is its job's. A take that cannot be read any more is left out, as a job is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

import sqlite_utils

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
from storage.schema import Errand, Film, Job, MediaId, Plan, Take, UserError

LATELY = 300  # takes, the newest ones
OWNER = "owner"  # who runs Longtake, among those who pin takes
_SELECT = "SELECT takes.*, jobs.plan, jobs.errand FROM takes JOIN jobs ON jobs.id = takes.job"


class Takes:
    """The finished videos."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, take: int) -> Take:
        """The take of this number."""
        rows = self._database.rows(f"{_SELECT} WHERE takes.id = :take", {"take": take})
        if not rows:
            raise UserError(f"There is no take {take}.")
        return _take(rows[0])

    def made_by(self, job: int) -> Take | None:
        """What a job left: its film, or, of one that failed, the windows that it had finished."""
        return next(iter(self._select("WHERE takes.job = :job", {"job": job})), None)

    def history(self, channel: str, limit: int = 20) -> list[Take]:
        """The newest takes of a channel, newest first."""
        where = "WHERE takes.channel = :channel ORDER BY takes.id DESC LIMIT :limit"
        return self._select(where, {"channel": channel, "limit": limit})

    def last(self, channel: str) -> Take | None:
        """The newest take of a channel."""
        return next(iter(self.history(channel, limit=1)), None)

    def made_for(self, person: str, since: datetime) -> list[Take]:
        """The takes that a person asked for and got since a time, oldest first."""
        where = "WHERE jobs.requester = :person AND takes.created_ms >= :since ORDER BY takes.id"
        return self._select(where, {"person": person, "since": to_milliseconds(since.timestamp())})

    def made_in(self, place: str, since: datetime) -> list[Take]:
        """The takes that a server got since a time, oldest first; a card says which server asked."""
        where = """
            JOIN cards ON cards.job = jobs.id
            WHERE cards.place = :place AND takes.id >
                coalesce((SELECT id FROM takes WHERE created_ms < :since ORDER BY id DESC LIMIT 1), 0)
            GROUP BY takes.id ORDER BY takes.id
        """
        return self._select(where, {"place": place, "since": to_milliseconds(since.timestamp())})

    def like(self, plan: Plan, limit: int) -> list[Take]:
        """The newest takes whose windows cost as much as those of a plan: same model, size and sampling. Only the last
        few hundred takes are looked at."""
        where = f"""
            WHERE takes.id IN (SELECT id FROM takes ORDER BY id DESC LIMIT {LATELY})
                AND CASE WHEN json_valid(jobs.plan) THEN jobs.plan ->> '$.model' = :model
                AND jobs.plan -> '$.size' = json(:size) AND jobs.plan -> '$.sampling' = json(:sampling) END
            ORDER BY takes.id DESC LIMIT :limit
        """
        values = {"model": plan.model, "size": plan.size.model_dump_json(), "sampling": plan.sampling.model_dump_json()}
        return self._select(where, {**values, "limit": limit})

    def by_video(self, video: MediaId) -> Take | None:
        """The oldest take that a video belongs to."""
        where = "WHERE takes.video = :video ORDER BY takes.id LIMIT 1"
        return next(iter(self._select(where, {"video": video})), None)

    def pin(self, take: int, by: str = OWNER, most: int | None = None) -> bool:
        """Keep the video of a take whatever room it needs, until it is unpinned by who wanted that. False, and nothing
        is done, for who keeps `most` others."""
        with self._database.write() as db:
            require_take(db, take)
            rows = list(db.query("SELECT take FROM pins WHERE person = :by", {"by": by}))
            if most is not None and sum(row["take"] != take for row in rows) >= most:
                return False
            sql = "INSERT INTO pins (person, take) VALUES (:by, :take) ON CONFLICT DO NOTHING"
            db.execute(sql, {"by": by, "take": take})
        return True

    def unpin(self, take: int, by: str | None = None) -> bool:
        """Let the video of a take go when room is needed, unless others keep it; None: whoever keeps it. Whether it was
        kept."""
        with self._database.write() as db:
            require_take(db, take)
            sql = "DELETE FROM pins WHERE take = :take AND (:by IS NULL OR person = :by)"
            return db.execute(sql, {"take": take, "by": by}).rowcount > 0

    def pinned_by(self, person: str) -> list[int]:
        """The takes whose videos a person keeps, oldest first."""
        rows = self._database.rows("SELECT take FROM pins WHERE person = :person ORDER BY take", {"person": person})
        return [row["take"] for row in rows]

    def parent(self, take: Take) -> Take | None:
        """The take that this one continues."""
        return self.get(take.errand.parent) if take.errand.parent is not None else None

    def children(self, take: Take) -> list[Take]:
        """The takes that continue this one, oldest first."""
        return self._select("WHERE takes.parent = :take ORDER BY takes.id", {"take": take.id})

    def tree(self, channel: str) -> list[tuple[int, Take]]:
        """All takes of a channel as (depth, take), each followed by what continues it; other takes side by side."""
        takes = self._select(
            "WHERE takes.channel = :channel ORDER BY coalesce(takes.again_of, takes.id), takes.id", {"channel": channel}
        )
        here = {take.id for take in takes}
        branches: dict[int | None, list[Take]] = defaultdict(list)
        for take in reversed(takes):
            branches[take.errand.parent if take.errand.parent in here else None].append(take)
        tree = []
        waiting = [(0, take) for take in branches[None]]
        while waiting:
            depth, take = waiting.pop()
            tree.append((depth, take))
            waiting += [(depth + 1, child) for child in branches[take.id]]
        return tree

    def post(self, take: int, message: str, channel: str | None = None) -> None:
        """Record that a message shows a take; a message shows one take, the newest that it was given. `channel` is
        where, if not in the take's own."""
        sql = """
            INSERT INTO posts (message, take, channel) VALUES (:message, :take, :channel)
            ON CONFLICT (message) DO UPDATE SET take = excluded.take, channel = excluded.channel
        """
        with self._database.write() as db:
            require_take(db, take)
            db.execute(sql, {"message": message, "take": take, "channel": channel})

    def by_message(self, message: str) -> Take | None:
        """The take that a message shows."""
        where = "JOIN posts ON posts.take = takes.id WHERE posts.message = :message"
        return next(iter(self._select(where, {"message": message})), None)

    def messages(self, take: int) -> list[str]:
        """The messages that show a take."""
        rows = self._database.rows("SELECT message FROM posts WHERE take = :take ORDER BY rowid", {"take": take})
        return [row["message"] for row in rows]

    def _select(self, where: str, parameters: Parameters) -> list[Take]:
        return list(readable_takes(self._database.rows(f"{_SELECT} {where}", parameters)))


def insert_take(db: sqlite_utils.Database, job: Job, film: Film, created_ms: int) -> Take:
    """The take that `job` made, added inside the transaction that marks the job done."""
    sql = """
        INSERT INTO takes (job, channel, parent, again_of, film, created_ms)
        VALUES (:job, :channel, :parent, :again_of, :film, :now)
    """
    errand = job.errand
    values = {
        "job": job.id,
        "channel": errand.channel,
        "parent": errand.parent,
        "again_of": errand.again_of,
        "film": film.model_dump_json(),
        "now": created_ms,
    }
    take = db.execute(sql, values).lastrowid
    assert take is not None
    sql = "UPDATE takes SET evicted_ms = NULL WHERE video = :video AND evicted_ms IS NOT NULL"  # it is there again
    db.execute(sql, {"video": film.video})
    row = {"id": take, "job": job.id, "created_ms": created_ms, "pinned": 0, "evicted_ms": None}
    return _made(row, job.plan, film, errand)


def require_take(db: sqlite_utils.Database, take: int) -> Row:
    """The row of a take that somebody named; a sentence for them when there is none."""
    row = first_row(db, "SELECT * FROM takes WHERE id = :take", {"take": take})
    if row is None:
        raise UserError(f"There is no take {take}.")
    return row


def readable_takes(rows: Iterable[Row]) -> Iterator[Take]:
    """The takes of rows of `takes` with the plan and the errand of their jobs, but for those that cannot be read."""
    for row in rows:
        with suppress(Unreadable):
            yield _take(row)


def _take(row: Row) -> Take:
    name = f"Take {row['id']}"
    plan, film = stored(Plan, row["plan"], name), stored(Film, row["film"], name)
    return _made(row, plan, film, stored(Errand, row["errand"], name))


def _made(row: Row, plan: Plan, film: Film, errand: Errand) -> Take:
    """A take from its own columns and what its job was to film."""
    kept = plan if film.windows is None else plan.first(film.windows)
    return Take(
        id=row["id"],
        job=row["job"],
        plan=kept,
        film=film,
        errand=errand,
        created=to_datetime(row["created_ms"]),
        missing_windows=len(plan.windows) - len(kept.windows),
        pinned=bool(row["pinned"]),
        evicted=row["evicted_ms"] is not None,
    )
