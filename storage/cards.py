"""Cards and what they need: which events were seen already, what servers and people want."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import sqlite_utils

from storage.database import Database, Row, Unreadable, first_row, stored, to_datetime, to_milliseconds
from storage.schema import Card, Draft, Person, Policy, UserError

_OPEN = "open "  # before the name of an event that is not ended
_CHANGING = ("message", "job", "take_message", "windows_posted", "closed", "outcome", "reason")


class Withdrawn(UserError):
    """The card is forgotten; there is nobody to tell."""


class NothingToFilm(UserError):
    """The draft is filmed, changed or thrown away."""

    def __init__(self) -> None:
        super().__init__("There is no draft to film any more: it is filmed, or changed. Say what you want to see.")


class Cards:
    """The cards of every channel. `now` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def open(self, card: Card) -> Card:
        """Keep a new card; its number and time are given here."""
        values = card.model_dump(include={"place", "channel", "asker", "asked", "words", "locale"})
        sql = """
            INSERT INTO cards (place, channel, asker, asked, words, locale, draft, job, opened_ms)
            VALUES (:place, :channel, :asker, :asked, :words, :locale, :draft, :job, :now) RETURNING *
        """
        more = {"draft": _json(card.draft), "job": card.job, "now": to_milliseconds(self._now())}
        with self._database.write() as db:
            row = first_row(db, sql, values | more)
        assert row is not None
        return _card(row)

    def change(self, card: int, **values: str | int | None) -> Card:
        """Note what became of a card: its message, job, take_message, windows_posted, closed, outcome or reason."""
        assert values.keys() <= set(_CHANGING), values
        sets = ", ".join(f"{name} = :{name}" for name in values)
        with self._database.write() as db:
            row = first_row(db, f"UPDATE cards SET {sets} WHERE id = :card RETURNING *", {"card": card, **values})
        return _card(_still(row))

    def propose(self, card: int, draft: Draft | None, instead_of: int | None = None) -> Card:
        """Show a draft on a card, or none any more. It settles the card that it is `instead_of`, unless that one is
        filmed already."""
        settle = "UPDATE cards SET draft = NULL, closed = 1 WHERE id = :former AND job IS NULL"
        with self._database.write() as db:
            db.execute(settle, {"former": instead_of})
            row = first_row(
                db,
                "UPDATE cards SET draft = :draft WHERE id = :card RETURNING *",
                {"card": card, "draft": _json(draft)},
            )
        return _card(_still(row))

    def begin_sending(self, card: int) -> datetime | None:
        """Note that a card's film is about to be sent. Since when it may stand in the channel already, for all we know;
        None: it was never tried before."""
        first = "UPDATE cards SET sending_ms = :now WHERE id = :card AND sending_ms IS NULL"
        with self._database.write() as db:
            if db.execute(first, {"card": card, "now": to_milliseconds(self._now())}).rowcount:
                return None
            row = _still(first_row(db, "SELECT sending_ms FROM cards WHERE id = :card", {"card": card}))
        return to_datetime(row["sending_ms"])

    def get(self, card: int) -> Card | None:
        """The card of this number; None if it was never there, or is forgotten."""
        return self._one("id = :value", card)

    def by_message(self, message: str) -> Card | None:
        """The card that a message shows."""
        return self._one("message = :value", message)

    def by_event(self, event: str) -> Card | None:
        """The card that an event asked for."""
        return self._one("asked = :value", event)

    def by_job(self, job: int) -> Card | None:
        """The card that follows a job."""
        return self._one("job = :value", job)

    def discussed(self, channel: str, asker: str) -> Card | None:
        """A person's newest card in a channel that shows a draft."""
        where = "channel = :channel AND asker = :asker AND draft IS NOT NULL AND NOT closed"
        return self._first(where, {"channel": channel, "asker": asker})

    def before(self, channel: str, asker: str, event: str) -> Card | None:
        """A person's newest card in a channel, but for that of an event."""
        where = "channel = :channel AND asker = :asker AND asked != :event"
        return self._first(where, {"channel": channel, "asker": asker, "event": event})

    def waiting(self, place: str) -> int:
        """How many films of a server wait or are being filmed."""
        sql = """
            SELECT count(DISTINCT jobs.id) AS waiting FROM jobs JOIN cards ON cards.job = jobs.id
            WHERE jobs.state IN ('queued', 'running') AND cards.place = :place
        """
        return int(self._database.rows(sql, {"place": place})[0]["waiting"])

    def following(self, place: str) -> dict[int, Card]:
        """The cards of a server whose films wait or are being filmed, by job; a film has one."""
        sql = """
            SELECT cards.* FROM jobs JOIN cards ON cards.job = jobs.id
            WHERE jobs.state IN ('queued', 'running') AND cards.place = :place ORDER BY cards.id
        """
        return {row["job"]: _card(row) for row in self._database.rows(sql, {"place": place})}

    def of(self, asker: str) -> list[Card]:
        """All cards of a person, oldest first."""
        rows = self._database.rows("SELECT * FROM cards WHERE asker = :asker ORDER BY id", {"asker": asker})
        return [_card(row) for row in rows]

    def open_cards(self, asker: str | None = None) -> list[Card]:
        """Cards that may still change, oldest first: all, or those of a person."""
        sql = "SELECT * FROM cards WHERE closed = 0 AND (:asker IS NULL OR asker = :asker) ORDER BY id"
        return [_card(row) for row in self._database.rows(sql, {"asker": asker})]

    def followed(self) -> list[Card]:
        """Cards that change by themselves, oldest first: being planned, or with a job. A draft waits for a word."""
        sql = "SELECT * FROM cards WHERE closed = 0 AND (job IS NOT NULL OR draft IS NULL) ORDER BY id"
        return [_card(row) for row in self._database.rows(sql, {})]

    def _one(self, where: str, value: str | int) -> Card | None:
        return self._first(where, {"value": value})

    def _first(self, where: str, values: dict[str, str | int]) -> Card | None:
        rows = self._database.rows(f"SELECT * FROM cards WHERE {where} ORDER BY id DESC LIMIT 1", values)
        return _card(rows[0]) if rows else None


class Seen:
    """Events that were answered, so that a repeated one is not answered twice, and how far each channel was read."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def first(self, event: str) -> bool:
        """Whether an event is met for the first time; of two that ask at once, one is told so."""
        with self._database.write() as db:
            return self._note(db, event)

    def begin(self, event: str, channel: str) -> bool:
        """Like `first`; and the event counts as unfinished until `end` says otherwise, whoever is killed meanwhile."""
        with self._database.write() as db:
            first = self._note(db, event)
            if first:
                values = {"open": f"{_OPEN}{channel} {event}", "now": to_milliseconds(self._now())}
                db.execute("INSERT OR REPLACE INTO seen (event, at_ms) VALUES (:open, :now)", values)
            return first

    def _note(self, db: sqlite_utils.Database, event: str) -> bool:
        """Keep an event; whether it is a new one."""
        sql = "INSERT INTO seen (event, at_ms) VALUES (:event, :now) ON CONFLICT DO NOTHING"
        return db.execute(sql, {"event": event, "now": to_milliseconds(self._now())}).rowcount == 1

    def end(self, event: str, channel: str) -> None:
        """The event was answered."""
        self.unsee(f"{_OPEN}{channel} {event}")

    def unfinished(self) -> list[tuple[str, str]]:
        """Events that were begun and not ended, oldest first, each with its channel."""
        sql = "SELECT event FROM seen WHERE event GLOB :open ORDER BY at_ms, event"
        rows = self._database.rows(sql, {"open": f"{_OPEN}*"})
        names = [row["event"].removeprefix(_OPEN).partition(" ") for row in rows]
        return [(event, channel) for channel, _, event in names]

    def reactions(self) -> set[str]:
        """The events that are reactions, ended or not."""
        rows = self._database.rows("SELECT event FROM seen WHERE event >= 'reaction:' AND event < 'reaction;'", {})
        return {row["event"] for row in rows}

    def unsee(self, event: str) -> None:
        """Answer an event anew."""
        with self._database.write() as db:
            db.execute("DELETE FROM seen WHERE event = :event", {"event": event})

    def forget(self, older_than: float) -> None:
        """Forget events that are older than so many seconds."""
        with self._database.write() as db:
            db.execute("DELETE FROM seen WHERE at_ms < :then", {"then": to_milliseconds(self._now() - older_than)})

    def read(self, channel: str, message: int, place: str = "") -> None:
        """A channel was read up to this message. `place` is its server ("" for a direct message)."""
        sql = """
            INSERT INTO read_marks (channel, message, place) VALUES (:channel, :message, :place)
            ON CONFLICT (channel) DO UPDATE SET message = max(message, excluded.message), place = excluded.place
        """
        with self._database.write() as db:
            db.execute(sql, {"channel": channel, "message": message, "place": place})

    def marks(self) -> dict[str, int]:
        """For every channel in which we were spoken to, the newest message that was read."""
        return {row["channel"]: row["message"] for row in self._database.rows("SELECT * FROM read_marks", {})}


class Manners:
    """What servers and people want."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def policy(self, place: str, default: Policy | None = None) -> Policy:
        """What the owners of a server allow; the default where they said nothing yet."""
        text = self._text("place:" + place)
        return Policy.model_validate_json(text) if text else default or Policy()

    def keep_policy(self, place: str, policy: Policy) -> None:
        """Allow this from now on."""
        self._keep("place:" + place, policy.model_dump_json())

    def banned(self, person: str) -> bool:
        """Whether any server bans a person."""
        sql = """
            SELECT 1 FROM manners AS kept, json_each(kept.value, '$.banned') AS ban
            WHERE kept.key LIKE 'place:%' AND ban.value = :person
        """
        return bool(self._database.rows(sql, {"person": person}))

    def person(self, person: str) -> Person:
        """What a person wants."""
        text = self._text("person:" + person)
        return Person.model_validate_json(text) if text else Person()

    def keep_person(self, person: str, wants: Person) -> None:
        """Remember what a person wants."""
        self._keep("person:" + person, wants.model_dump_json())

    def note(self, key: str) -> str | None:
        """Something small that the bot itself remembers."""
        return self._text("note:" + key)

    def keep_note(self, key: str, value: str) -> None:
        """Remember something small."""
        self._keep("note:" + key, value)

    def _text(self, key: str) -> str | None:
        rows = self._database.rows("SELECT value FROM manners WHERE key = :key", {"key": key})
        return rows[0]["value"] if rows else None

    def _keep(self, key: str, value: str) -> None:
        sql = "INSERT INTO manners (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = :value"
        with self._database.write() as db:
            db.execute(sql, {"key": key, "value": value})


def follow(db: sqlite_utils.Database, card: int, job: int) -> None:
    """A card follows a job, inside the transaction that queues it; its draft is no longer discussed. UserError where it
    follows one already or is settled."""
    sql = """
        UPDATE cards SET job = :job, taken = coalesce(draft, taken), draft = NULL
        WHERE id = :card AND job IS NULL AND NOT closed RETURNING id
    """
    if first_row(db, sql, {"card": card, "job": job}) is None:
        _still(first_row(db, "SELECT id FROM cards WHERE id = :card", {"card": card}))
        raise NothingToFilm


def _still(row: Row | None) -> Row:
    """The row of a card; UserError when it is forgotten, as when somebody deletes what they asked."""
    if row is None:
        raise Withdrawn("That request was withdrawn.")
    return row


def _json(draft: Draft | None) -> str | None:
    return draft.model_dump_json() if draft else None


def _card(row: Row) -> Card:
    fields = {name: row[name] for name in Card.model_fields if name not in ("draft", "opened")}
    draft = None
    if row["draft"]:
        with suppress(Unreadable):  # as if it had been thrown away: its card can be asked for anew
            draft = stored(Draft, row["draft"], f"The draft of card {row['id']}")
    return Card.model_validate({**fields, "draft": draft, "opened": to_datetime(row["opened_ms"])})
