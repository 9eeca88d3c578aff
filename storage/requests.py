"""The requests of the last hour, so that nobody has more of them than allowed, whoever is killed meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlite_utils

from storage.database import Database, to_milliseconds
from storage.forget import blind, salted

HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Full:
    """There were so many requests within an hour that another one must wait for so many seconds."""

    times: int
    wait: float


class Requests:
    """Who asked and what for are kept as salted hashes: to forget a person must not give them another hour's requests.
    `now` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def count(self, person: str, event: str, most: int) -> Full | None:
        """Count what an event asks, once, however often it is heard. With `most` within an hour nothing is counted, and
        that is said."""
        now = to_milliseconds(self._now())
        hour = to_milliseconds(HOUR)
        with self._database.write() as db:
            salt = salted(db)
            values = {"who": blind(salt, person), "event": blind(salt, event), "now": now}
            _forget(db, now - hour)
            if list(db.query("SELECT 1 FROM requests WHERE event = :event", values)):
                return None
            rows = list(db.query("SELECT at_ms FROM requests WHERE who = :who ORDER BY at_ms", values))
            if len(rows) >= most:
                return Full(len(rows), (rows[len(rows) - most]["at_ms"] + hour - now) / 1000)
            db.execute("INSERT INTO requests (who, event, at_ms) VALUES (:who, :event, :now)", values)
        return None

    def settle(self, event: str) -> None:
        """What is asked by an event of this name from now on counts anew."""
        with self._database.write() as db:
            sql = "UPDATE requests SET event = NULL WHERE event = :event"
            db.execute(sql, {"event": blind(salted(db), event)})

    def forget(self) -> None:
        """Forget those that are older than an hour."""
        with self._database.write() as db:
            _forget(db, to_milliseconds(self._now() - HOUR))


def _forget(db: sqlite_utils.Database, then_ms: int) -> None:
    db.execute("DELETE FROM requests WHERE at_ms <= :then", {"then": then_ms})
