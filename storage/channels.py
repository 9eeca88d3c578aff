"""What is being talked about in each channel: the draft under discussion, and the settings that hold there."""

from contextlib import suppress

from storage.database import Database, Row, Unreadable, stored
from storage.schema import Draft, Wishes


class Channels:
    """One draft and one set of wishes a channel."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def draft(self, channel: str) -> Draft | None:
        """The plan that is being discussed; None where nothing is."""
        row = self._row(channel)
        if not row or not row["draft"]:
            return None
        with suppress(Unreadable):  # it counts as thrown away, or the channel could not talk again
            return stored(Draft, row["draft"], "The draft")
        return None

    def keep_draft(self, channel: str, draft: Draft | None) -> None:
        """Discuss this plan from now on, or none."""
        self._keep(channel, "draft", draft.model_dump_json() if draft else None)

    def take_draft(self, channel: str) -> Draft | None:
        """Return the draft, and end its discussion. Of two that ask at once, one gets it and the other None."""
        sql = """
            UPDATE channels SET draft = NULL, taken = draft
            WHERE channel = :channel AND draft IS NOT NULL RETURNING taken
        """
        with self._database.write() as db:
            rows = list(db.query(sql, {"channel": channel}))
        return stored(Draft, rows[0]["taken"], "The draft") if rows else None

    def wishes(self, channel: str) -> Wishes:
        """The settings that films of this channel begin with."""
        row = self._row(channel)
        return Wishes.model_validate_json(row["wishes"]) if row and row["wishes"] else Wishes()

    def keep_wishes(self, channel: str, wishes: Wishes) -> None:
        """Begin with these from now on."""
        self._keep(channel, "wishes", wishes.model_dump_json())

    def _row(self, channel: str) -> Row | None:
        rows = self._database.rows("SELECT * FROM channels WHERE channel = :channel", {"channel": channel})
        return rows[0] if rows else None

    def _keep(self, channel: str, column: str, value: str | None) -> None:
        sql = f"""
            INSERT INTO channels (channel, {column}) VALUES (:channel, :value)
            ON CONFLICT (channel) DO UPDATE SET {column} = :value
        """
        with self._database.write() as db:
            db.execute(sql, {"channel": channel, "value": value})
