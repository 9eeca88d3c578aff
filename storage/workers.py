"""Who is at work: every worker signs in and keeps saying that it lives."""

import time
from collections.abc import Callable

from storage.database import Database, first_row, to_milliseconds


class Workers:
    """The workers that share this database. `now` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def sign_in(self, name: str, lease_seconds: float) -> None:
        """Say that worker `name` lives, for the next `lease_seconds`."""
        sql = "INSERT OR REPLACE INTO workers (name, lease_ms) VALUES (:name, :lease)"
        with self._database.write() as db:
            db.execute("DELETE FROM workers WHERE lease_ms < :now", {"now": self._milliseconds(0)})
            db.execute(sql, {"name": name, "lease": self._milliseconds(lease_seconds)})

    def sign_in_alone(self, name: str, lease_seconds: float) -> bool:
        """Sign in if nobody lives. Of several that try at once, one gets True."""
        sql = """
            INSERT OR REPLACE INTO workers (name, lease_ms)
            SELECT :name, :lease WHERE NOT EXISTS (SELECT 1 FROM workers WHERE lease_ms >= :now) RETURNING name
        """
        values = {"name": name, "lease": self._milliseconds(lease_seconds), "now": self._milliseconds(0)}
        with self._database.write() as db:
            return first_row(db, sql, values) is not None

    def sign_out(self, name: str) -> None:
        """Worker `name` has ended."""
        with self._database.write() as db:
            db.execute("DELETE FROM workers WHERE name = :name", {"name": name})

    def alive(self) -> list[str]:
        """Names of the workers that live."""
        sql = "SELECT name FROM workers WHERE lease_ms >= :now ORDER BY name"
        return [row["name"] for row in self._database.rows(sql, {"now": self._milliseconds(0)})]

    def _milliseconds(self, ahead: float) -> int:
        return to_milliseconds(self._now() + ahead)
