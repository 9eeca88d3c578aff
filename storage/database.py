"""The one SQLite file that the bot and the workers share."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlite_utils
from pydantic import ValidationError

from storage.disk import needs_room
from storage.migrations import migrate
from storage.schema import UserError, Value

Row = dict[str, Any]  # one row, column name -> value; it becomes a model of storage.schema before it leaves storage
Kept = TypeVar("Kept", bound=Value)
Parameters = Mapping[str, object]  # name -> str, int, float or None


class Database:
    """One connection to the file, in WAL mode with foreign keys on, usable from every thread of its process.

    A lock lets one thread at a time in, for the length of a statement or of a whole transaction: every call here takes
    a few milliseconds at most, so a heartbeat thread never waits for long. Each process opens its own Database; one
    that was carried over a fork refuses to work, because SQLite's locks do not survive it.

    Times in the file are integers: milliseconds since 1970, UTC.
    """

    def __init__(self, db: sqlite_utils.Database) -> None:
        self.db = db
        self._lock = threading.RLock()
        self._process = os.getpid()

    @classmethod
    def open(cls, path: Path, busy_seconds: float = 30.0) -> Self:
        """Open the file at `path`, made and migrated where needed. Any number of processes may do so at once.

        A statement waits up to `busy_seconds` for another process's transaction. DiskFull without room.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        # isolation_level None: the driver opens no transaction of its own. check_same_thread: see the lock above.
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        db = sqlite_utils.Database(connection, execute_plugins=False)
        try:
            with needs_room():
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA secure_delete = ON")  # what people delete is overwritten, not only unlinked
                _switch_to_wal(db, busy_seconds)
                migrate(db)
        except BaseException:
            db.close()
            raise
        return cls(db)

    @contextmanager
    def write(self) -> Iterator[sqlite_utils.Database]:
        """Run the block as one transaction: all of it happens, or, after an error, none. DiskFull without room.

        NOTE: BEGIN IMMEDIATE takes the write lock first. A plain BEGIN that reads before it writes makes two processes
        wait for each other's snapshot, which SQLite ends with "database is locked" at once, whatever the timeout.
        """
        with self._alone() as db, needs_room():
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise

    def rows(self, sql: str, parameters: Parameters) -> list[Row]:
        """All rows of a SELECT."""
        with self._alone() as db:
            return list(db.query(sql, dict(parameters)))

    def copy(self, path: Path) -> None:
        """Write the whole database, as it is at one moment, to a new file; others may go on, and this one may be within
        a transaction, which is then not in the copy."""
        with self._alone() as db:
            own = db.execute("PRAGMA database_list").fetchone()[2]
            with contextlib.closing(sqlite3.connect(own)) as source, contextlib.closing(sqlite3.connect(path)) as copy:
                source.backup(copy)

    def checkpoint(self) -> None:
        """Write the log into the file and empty it, unless somebody reads from it just now."""
        with self._alone() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._alone() as db:
            db.close()

    @contextmanager
    def _alone(self) -> Iterator[sqlite_utils.Database]:
        if os.getpid() != self._process:
            raise RuntimeError(f"this Database was opened by process {self._process}; open another one after a fork")
        with self._lock:
            yield self.db

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _switch_to_wal(db: sqlite_utils.Database, busy_seconds: float) -> None:
    """Put the file into WAL mode. The switch needs the file alone and SQLite does not wait for that, so it is retried.

    The mode is kept in the file: only the first process ever does this.
    """
    give_up = time.monotonic() + busy_seconds
    while True:
        try:
            db.enable_wal()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.005)


def first_row(db: sqlite_utils.Database, sql: str, parameters: Parameters) -> Row | None:
    """The first row of a statement that gives rows, run to its end; None when it gives none."""
    rows = list(db.query(sql, dict(parameters)))
    return rows[0] if rows else None


class Unreadable(UserError):
    """A row that another Longtake wrote, or that was damaged."""


def stored(kind: type[Kept], text: str, whose: str) -> Kept:
    """A value from the JSON of a row; Unreadable, which names `whose` it is, when it is none any more."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise Unreadable(f"{whose} cannot be read any more: another version of Longtake wrote it.") from error


def to_milliseconds(seconds: float) -> int:
    """Seconds since 1970, as time.time() gives them, as the file keeps them."""
    return round(seconds * 1000)


def to_datetime(milliseconds: int) -> datetime:
    """A time of the file, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
