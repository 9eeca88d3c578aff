"""Forgetting: what a person, a server or an owner wants gone is gone from the rows and from the media store.

A take may be continued by somebody else. That continuation stays whole: it is a film of its own, and the files that it
was made from are kept for as long as it is there.
"""

import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlite_utils

from storage.database import Database, Parameters, Row, first_row, to_milliseconds
from storage.media import Media
from storage.renders import render_folder
from storage.schema import MediaId
from storage.takes import readable_takes

_SALT = "SELECT value FROM manners WHERE key = 'note:salt'"
DAY_MS = 24 * 60 * 60 * 1000
_MEDIA = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
NAMING = """
    SELECT plan AS text FROM jobs UNION ALL SELECT film FROM takes
    UNION ALL SELECT draft FROM cards WHERE draft IS NOT NULL UNION ALL SELECT taken FROM cards WHERE taken IS NOT NULL
    UNION ALL SELECT draft FROM channels WHERE draft IS NOT NULL
    UNION ALL SELECT taken FROM channels WHERE taken IS NOT NULL
"""
_DOOMED_TEXTS = """
    SELECT plan AS text FROM jobs WHERE id IN doomed_jobs
    UNION ALL SELECT film FROM takes WHERE job IN doomed_jobs
    UNION ALL SELECT draft FROM cards WHERE id IN doomed_cards AND draft IS NOT NULL
    UNION ALL SELECT taken FROM cards WHERE id IN doomed_cards AND taken IS NOT NULL
"""


@dataclass(frozen=True)
class Forgotten:
    """What is gone, and what stays. `messages` showed it: (channel, message), for who can delete them."""

    takes: tuple[int, ...] = ()
    cards: tuple[int, ...] = ()
    files: int = 0
    kept_files: int = 0  # that somebody else's take needs
    continued: tuple[int, ...] = ()  # takes of others that went on from one of these, or are other takes of its plan
    messages: tuple[tuple[str, str], ...] = ()


class Forget:
    """Deletes, in one transaction each. `renders` holds the work folders of jobs, `copies` films made smaller, named
    after what they were. `now` is the clock, in seconds since 1970."""

    def __init__(
        self, database: Database, media: Media, renders: Path, copies: Path, now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._media = media
        self._renders = renders
        self._copies = copies
        self._now = now

    def take(self, take: int) -> Forgotten:
        """A take, its plan and its card. What continues it stays playable."""
        return self._drop("SELECT job FROM takes WHERE id = :take", "SELECT id FROM cards WHERE FALSE", {"take": take})

    def card(self, card: int) -> Forgotten:
        """A request that was not filmed: its words, its draft and its pictures."""
        jobs = "SELECT job FROM cards WHERE id = :card AND job IS NOT NULL"
        return self._drop(jobs, "SELECT id FROM cards WHERE id = :card", {"card": card})

    def person(self, person: str) -> Forgotten:
        """Everything of a person but a ban: that is a server's own note, without which it would not hold."""
        values = {"person": person}
        with self._database.write() as db:
            jobs, cards = "SELECT id FROM jobs WHERE requester = :person", "SELECT id FROM cards WHERE asker = :person"
            gone = self._drop_inside(db, jobs, cards, values)
            db.execute("DELETE FROM manners WHERE key = 'person:' || :person", values)
            db.execute("DELETE FROM pins WHERE person = :person", values)
            part = {"part": f"%:{person.rpartition(':')[2]}:%"}
            db.execute("DELETE FROM seen WHERE ':' || event || ':' LIKE :part", part)
            for column in ("draft", "taken"):
                asked = f"{column} ->> '$.request.requester'"
                db.execute(f"UPDATE channels SET {column} = NULL WHERE {asked} = :person", values)
        return self._finished(gone)

    def place(self, place: str) -> Forgotten:
        """Everything of a server that we are no longer on."""
        values, channels = {"place": place}, "SELECT channel FROM cards WHERE place = :place"
        heard = f"{channels} UNION SELECT channel FROM read_marks WHERE place = :place"
        with self._database.write() as db:
            for table in ("channels", "read_marks"):
                db.execute(f"DELETE FROM {table} WHERE channel IN ({heard})", values)
            jobs, cards = (
                f"SELECT id FROM jobs WHERE channel IN ({channels})",
                "SELECT id FROM cards WHERE place = :place",
            )
            gone = self._drop_inside(db, jobs, cards, values)
            db.execute("DELETE FROM manners WHERE key = 'place:' || :place", values)
        return self._finished(gone)

    def older_than(self, seconds: float, place: str | None = None) -> Forgotten:
        """What is older, everywhere or on one server. Films that wait, and plans that are discussed, stay."""
        here = "(:place IS NULL OR cards.place = :place)"
        jobs = f"""
            SELECT jobs.id FROM jobs LEFT JOIN cards ON cards.job = jobs.id
            WHERE state NOT IN ('queued', 'running') AND created_ms < :then AND {here}
        """
        cards = f"SELECT id FROM cards WHERE closed AND job IS NULL AND opened_ms < :then AND {here}"
        then = to_milliseconds(self._now() - seconds)
        return self._drop(jobs, cards, {"then": then, "place": place})

    def strays(self, seconds: float) -> int:
        """Remove media that no row names and that came so long ago, as pictures of requests that came to nothing."""
        then = self._now() - seconds
        with self._database.write() as db:
            named = media_in(db.query(NAMING))
            strays = [m for m in self._media.all() if m not in named and self._media.path(m).stat().st_mtime < then]
            for media in strays:
                self._remove(media)
        return len(strays)

    # ---- inside ----

    def _drop(self, jobs: str, cards: str, values: Parameters) -> Forgotten:
        with self._database.write() as db:
            gone = self._drop_inside(db, jobs, cards, values)
        return self._finished(gone)

    def _drop_inside(self, db: sqlite_utils.Database, jobs: str, cards: str, values: Parameters) -> Forgotten:
        """Drop the jobs and the cards that two SELECTs find, and what hangs on them."""
        db.execute("PRAGMA defer_foreign_keys = ON")
        for name, sql in (("doomed_jobs", jobs), ("doomed_cards", cards)):
            db.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} (id INTEGER PRIMARY KEY)")
            db.execute(f"DELETE FROM {name}")
            db.execute(f"INSERT OR IGNORE INTO {name} {sql}", dict(values))
        db.execute("INSERT OR IGNORE INTO doomed_cards SELECT id FROM cards WHERE job IN doomed_jobs")
        takes = _numbers(db, "SELECT id FROM takes WHERE job IN doomed_jobs")
        gone = Forgotten(
            takes=takes,
            cards=_numbers(db, "SELECT id FROM doomed_cards"),
            continued=_numbers(db, f"SELECT id FROM takes WHERE {_made_of(takes)} AND job NOT IN doomed_jobs"),
            messages=_messages(db),
        )
        files = media_in(db.query(_DOOMED_TEXTS))
        self._count_spent(db)
        _part(db, takes)
        for job in _numbers(db, "SELECT id FROM doomed_jobs"):
            shutil.rmtree(render_folder(self._renders, job), ignore_errors=True)
        for sql in (
            "DELETE FROM posts WHERE take IN (SELECT id FROM takes WHERE job IN doomed_jobs)",
            "DELETE FROM pins WHERE take IN (SELECT id FROM takes WHERE job IN doomed_jobs)",
            "DELETE FROM events WHERE job IN doomed_jobs",
            "DELETE FROM seen WHERE event IN (SELECT asked FROM cards WHERE id IN doomed_cards)",
            "DELETE FROM cards WHERE id IN doomed_cards",
            "DELETE FROM takes WHERE job IN doomed_jobs",
            "DELETE FROM jobs WHERE id IN doomed_jobs",
        ):
            db.execute(sql)
        needed = files & media_in(db.query(NAMING))
        for media in files - needed:
            self._remove(media)
        return Forgotten(**{**vars(gone), "files": len(files - needed), "kept_files": len(needed)})

    def _finished(self, gone: Forgotten) -> Forgotten:
        """Nothing of it is left in the write-ahead log either; deleted rows are overwritten where they stood."""
        self._database.checkpoint()
        return gone

    def _remove(self, media: MediaId) -> None:
        self._media.remove(media)
        for copy in self._copies.glob(f"{media}-*"):
            copy.unlink(missing_ok=True)

    def _count_spent(self, db: sqlite_utils.Database) -> None:
        """Film of the last day still counts for who had it, or deleting would be a way around the limit."""
        now, salt = to_milliseconds(self._now()), salted(db)
        db.execute("DELETE FROM spent WHERE at_ms < :then", {"then": now - DAY_MS})
        sql = """
            SELECT takes.*, jobs.plan, jobs.errand FROM takes JOIN jobs ON jobs.id = takes.job
            WHERE jobs.id IN doomed_jobs AND takes.created_ms >= :then
        """
        for take in readable_takes(list(db.query(sql, {"then": now - DAY_MS}))):
            who, at = blind(salt, take.errand.requester), to_milliseconds(take.created.timestamp())
            db.execute(
                "INSERT INTO spent (who, at_ms, seconds) VALUES (:who, :at, :seconds)",
                {"who": who, "at": at, "seconds": take.plan.new_seconds},
            )


class Spent:
    """Film of deleted takes: who had it is kept as a salted hash, for a day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seconds(self, person: str, since: datetime) -> float:
        """Seconds of film that a person had since a time and whose takes are deleted."""
        salt = self._database.rows(_SALT, {})
        if not salt:
            return 0.0
        sql = "SELECT coalesce(sum(seconds), 0) AS seconds FROM spent WHERE who = :who AND at_ms >= :since"
        values = {"who": blind(salt[0]["value"], person), "since": to_milliseconds(since.timestamp())}
        return float(self._database.rows(sql, values)[0]["seconds"])


def salted(db: sqlite_utils.Database) -> str:
    """What `blind` takes, made where there is none yet."""
    sql = "INSERT INTO manners (key, value) VALUES ('note:salt', :salt) ON CONFLICT DO NOTHING"
    db.execute(sql, {"salt": secrets.token_hex(16)})
    row = first_row(db, _SALT, {})
    assert row is not None
    return str(row["value"])


def blind(salt: str, person: str) -> str:
    """A name for a person that says nothing to who does not know it."""
    return hashlib.sha256(f"{salt}:{person}".encode()).hexdigest()[:32]


def media_in(rows: Iterable[Row]) -> set[MediaId]:
    """Every file of the media store that the column `text` of some rows names."""
    return {media for row in rows for media in _MEDIA.findall(row["text"])}


def _messages(db: sqlite_utils.Database) -> tuple[tuple[str, str], ...]:
    sql = """
        SELECT coalesce(posts.channel, takes.channel) AS channel, posts.message AS message FROM posts
        JOIN takes ON takes.id = posts.take WHERE takes.job IN doomed_jobs
        UNION SELECT channel, message FROM cards WHERE id IN doomed_cards AND message IS NOT NULL
    """
    return tuple((row["channel"], row["message"]) for row in db.query(sql))


def _part(db: sqlite_utils.Database, takes: tuple[int, ...]) -> None:
    """Untie what stays from `takes`. Of other takes of one plan, the oldest that stays becomes the first."""
    doomed = _list(takes)
    for first in takes:
        sql = f"SELECT min(id) AS id FROM takes WHERE again_of = {first} AND job NOT IN doomed_jobs"
        heir = (first_row(db, sql, {}) or {})["id"]
        db.execute(f"UPDATE takes SET again_of = nullif(:heir, id) WHERE again_of = {first}", {"heir": heir})
        sql = f"""
            UPDATE jobs SET errand = json_set(errand, '$.again_of', nullif(:heir, take))
            WHERE errand ->> '$.again_of' = {first}
        """
        db.execute(sql, {"heir": heir})
    db.execute(f"UPDATE takes SET parent = NULL WHERE parent IN ({doomed})")
    db.execute(f"UPDATE jobs SET errand = json_set(errand, '$.parent', NULL) WHERE errand ->> '$.parent' IN ({doomed})")
    for table in ("cards", "channels"):
        for column in ("draft", "taken"):
            for tie in ("parent", "again_of"):
                db.execute(f"""
                    UPDATE {table} SET {column} = json_set({column}, '$.{tie}', NULL)
                    WHERE {column} ->> '$.{tie}' IN ({doomed})
                """)


def _made_of(takes: tuple[int, ...]) -> str:
    return f"(parent IN ({_list(takes)}) OR again_of IN ({_list(takes)}))"


def _numbers(db: sqlite_utils.Database, sql: str) -> tuple[int, ...]:
    return tuple(row["id"] for row in db.query(sql))


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers)) or "NULL"
