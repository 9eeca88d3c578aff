"""The tables, as a list of steps that only grows: a step that has shipped is never edited, the next one is added.

Steps are kept by sqlite-utils' own migrations facility, which notes each one in `_sqlite_migrations`.
"""

import sqlite_utils
from sqlite_utils.migrations import Migrations

from storage.schema import UserError

steps = Migrations("longtake")


def migrate(db: sqlite_utils.Database) -> None:
    """Apply the steps that the file lacks, in one transaction. A file of a newer Longtake is refused untouched.

    The write lock is taken before anything is looked up, so of several processes one migrates and the others find it
    done. Without it, sqlite-utils makes its own table outside a transaction, and they trip over one another.
    """
    if not steps.pending(db):
        _refuse_newer(db)
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        _refuse_newer(db)
        steps.apply(db)
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def _refuse_newer(db: sqlite_utils.Database) -> None:
    with sqlite_utils.Database(memory=True) as empty:
        known = {step.name for step in steps.pending(empty)}
    unknown = {step.name for step in steps.applied(db)} - known
    if unknown:
        raise UserError(f"The database was written by a newer Longtake: it has {', '.join(sorted(unknown))}.")


@steps()
def m001_jobs_takes_posts_events(db: sqlite_utils.Database) -> None:
    """The first tables."""
    # plan, errand, progress and film are the JSON of the schema's models; channel, parent and again_of are copies of
    # what an errand says, for the indices. `attempts` counts claims and only grows, so it also fences; `releases` are
    # those of them that were handed back and are no failure.
    db.execute("""
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            channel TEXT NOT NULL,
            plan TEXT NOT NULL,
            errand TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            releases INTEGER NOT NULL DEFAULT 0,
            worker TEXT,
            lease_ms INTEGER CHECK ((lease_ms IS NOT NULL) = (state = 'running')),
            progress TEXT,
            error TEXT,
            take INTEGER REFERENCES takes (id) CHECK ((take IS NOT NULL) <= (state = 'done')),
            created_ms INTEGER NOT NULL,
            started_ms INTEGER,
            finished_ms INTEGER
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE takes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job INTEGER NOT NULL UNIQUE REFERENCES jobs (id),
            channel TEXT NOT NULL,
            parent INTEGER REFERENCES takes (id),
            again_of INTEGER REFERENCES takes (id),
            film TEXT NOT NULL,
            created_ms INTEGER NOT NULL
        ) STRICT
    """)
    db.execute("CREATE TABLE posts (message TEXT PRIMARY KEY, take INTEGER NOT NULL REFERENCES takes (id)) STRICT")
    db.execute("""
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job INTEGER NOT NULL REFERENCES jobs (id),
            at_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            text TEXT NOT NULL
        ) STRICT
    """)
    # Every index ends with the row's id by itself, so each of these also gives its rows in order of age.
    db.execute("CREATE INDEX jobs_by_state ON jobs (state)")
    db.execute("CREATE INDEX jobs_by_channel ON jobs (channel)")
    db.execute("CREATE INDEX jobs_by_channel_and_state ON jobs (channel, state)")
    db.execute("CREATE INDEX takes_by_channel ON takes (channel)")
    db.execute("CREATE INDEX takes_by_parent ON takes (parent) WHERE parent IS NOT NULL")
    db.execute("CREATE INDEX takes_by_first ON takes (again_of) WHERE again_of IS NOT NULL")
    db.execute("CREATE INDEX posts_by_take ON posts (take)")
    db.execute("CREATE INDEX events_by_job ON events (job)")


@steps()
def m002_workers(db: sqlite_utils.Database) -> None:
    """The workers that live, for storage.workers."""
    db.execute("CREATE TABLE workers (name TEXT PRIMARY KEY, lease_ms INTEGER NOT NULL) STRICT")


@steps()
def m003_channels(db: sqlite_utils.Database) -> None:
    """What is being talked about, for storage.channels: JSON of the schema's Draft and Wishes."""
    db.execute("CREATE TABLE channels (channel TEXT PRIMARY KEY, draft TEXT, taken TEXT, wishes TEXT) STRICT")


@steps()
def m004_cards(db: sqlite_utils.Database) -> None:
    """What a chat shows and was told, for storage.cards: drafts and manners are JSON of the schema's models."""
    db.execute("ALTER TABLE jobs ADD COLUMN requester TEXT GENERATED ALWAYS AS (errand ->> '$.requester') VIRTUAL")
    db.execute("CREATE INDEX jobs_by_requester ON jobs (requester, started_ms)")
    db.execute("""
        CREATE TABLE cards (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            place TEXT NOT NULL,
            channel TEXT NOT NULL,
            asker TEXT NOT NULL,
            asked TEXT NOT NULL,
            words TEXT NOT NULL,
            locale TEXT NOT NULL,
            message TEXT UNIQUE,
            draft TEXT,
            taken TEXT,
            job INTEGER REFERENCES jobs (id),
            take_message TEXT,
            windows_posted INTEGER NOT NULL DEFAULT 0,
            closed INTEGER NOT NULL DEFAULT 0,
            opened_ms INTEGER NOT NULL
        ) STRICT
    """)
    db.execute("CREATE INDEX cards_by_job ON cards (job) WHERE job IS NOT NULL")
    db.execute("CREATE INDEX cards_by_event ON cards (asked)")
    db.execute("CREATE INDEX cards_open ON cards (closed) WHERE closed = 0")
    db.execute("CREATE INDEX cards_by_asker ON cards (channel, asker)")
    db.execute("CREATE TABLE seen (event TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT")
    db.execute("CREATE INDEX seen_by_age ON seen (at_ms)")
    db.execute("CREATE TABLE read_marks (channel TEXT PRIMARY KEY, message INTEGER NOT NULL) STRICT")
    db.execute("CREATE TABLE manners (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")


@steps()
def m005_posts_know_their_channel_and_spent_film_is_counted(db: sqlite_utils.Database) -> None:
    """For storage.forget: where a post is (null: the take's own channel), and film whose take was deleted."""
    db.execute("ALTER TABLE posts ADD COLUMN channel TEXT")
    db.execute("CREATE TABLE spent (who TEXT NOT NULL, at_ms INTEGER NOT NULL, seconds REAL NOT NULL) STRICT")
    db.execute("CREATE INDEX spent_by_who ON spent (who, at_ms)")


@steps()
def m006_takes_are_pinned_and_evicted(db: sqlite_utils.Database) -> None:
    """For storage.eviction: whose video stays, and since when one is not kept. By its video a take is filmed again."""
    db.execute("ALTER TABLE takes ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1))")
    db.execute("ALTER TABLE takes ADD COLUMN evicted_ms INTEGER")
    video = (
        "CASE WHEN json_valid(film) THEN film ->> '$.video' END"  # a damaged row must not keep the file from opening
    )
    db.execute(f"ALTER TABLE takes ADD COLUMN video TEXT GENERATED ALWAYS AS ({video}) VIRTUAL")
    db.execute("CREATE INDEX takes_by_video ON takes (video)")


_NEXT_TURN = """
    DELETE FROM turns WHERE requester = {who};
    INSERT INTO turns (requester, last_ms, next)
        SELECT {who}, coalesce((SELECT max(started_ms) FROM jobs WHERE requester = {who}), 0), id
        FROM jobs WHERE requester = {who} AND state = 'queued' ORDER BY id LIMIT 1;
"""


@steps()
def m007_turns_and_what_outlives_a_kill(db: sqlite_utils.Database) -> None:
    """For claims that stay fast whoever waits, and for requests and posts that a killed bot must not repeat."""
    # One row a person who waits: their oldest queued job, and when they were filmed for last. Triggers keep it, so that
    # it is true whoever changes jobs; it says nothing that jobs does not say.
    db.execute(
        "CREATE TABLE turns (requester TEXT PRIMARY KEY, last_ms INTEGER NOT NULL, next INTEGER NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX turns_by_wait ON turns (last_ms, next)")
    db.execute("CREATE INDEX jobs_waiting ON jobs (requester) WHERE state = 'queued'")
    for name, event, who in (
        ("turns_after_insert", "INSERT ON jobs WHEN new.state = 'queued'", "new"),
        ("turns_after_update", "UPDATE OF state ON jobs WHEN 'queued' IN (old.state, new.state)", "new"),
        ("turns_after_delete", "DELETE ON jobs", "old"),
    ):
        db.execute(f"CREATE TRIGGER {name} AFTER {event} BEGIN {_NEXT_TURN.format(who=f'{who}.requester')} END")
    db.execute("""
        INSERT INTO turns (requester, last_ms, next)
        SELECT requester, coalesce((SELECT max(started_ms) FROM jobs AS past WHERE past.requester = jobs.requester), 0),
            min(id)
        FROM jobs WHERE state = 'queued' GROUP BY requester
    """)
    db.execute("CREATE INDEX jobs_by_end ON jobs (state, finished_ms) WHERE finished_ms IS NOT NULL")
    # The message that asked, so that hearing it once more films nothing twice.
    message = "CASE WHEN json_valid(errand) THEN errand ->> '$.message' END"  # as of the video, in m006
    db.execute(f"ALTER TABLE jobs ADD COLUMN message TEXT GENERATED ALWAYS AS ({message}) VIRTUAL")
    db.execute("CREATE INDEX jobs_by_message ON jobs (message) WHERE message IS NOT NULL")
    db.execute("CREATE INDEX events_by_reason ON events (kind, text) WHERE kind = 'cancelled'")
    # Since when the film may stand in the channel, for all we know; what became of a request that led to no job; and
    # the server of a channel.
    db.execute("ALTER TABLE cards ADD COLUMN sending_ms INTEGER")
    db.execute("ALTER TABLE cards ADD COLUMN outcome TEXT")
    db.execute("ALTER TABLE cards ADD COLUMN reason TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE read_marks ADD COLUMN place TEXT")


@steps()
def m008_pins_know_who_wants_them(db: sqlite_utils.Database) -> None:
    """For storage.takes: who keeps a take's video; 'owner' is who runs Longtake."""
    db.execute("""
        CREATE TABLE pins (
            person TEXT NOT NULL, take INTEGER NOT NULL REFERENCES takes (id), PRIMARY KEY (person, take)
        ) STRICT
    """)
    db.execute("CREATE INDEX pins_by_take ON pins (take)")
    db.execute("INSERT INTO pins (person, take) SELECT 'owner', id FROM takes WHERE pinned")
    # takes.pinned says whether anybody keeps a take, whoever changes pins.
    for name, event, take in (("insert", "INSERT", "new"), ("delete", "DELETE", "old")):
        db.execute(f"""
            CREATE TRIGGER pins_after_{name} AFTER {event} ON pins BEGIN
                UPDATE takes SET pinned = EXISTS (SELECT 1 FROM pins WHERE take = {take}.take) WHERE id = {take}.take;
            END
        """)


@steps()
def m009_requests_of_the_last_hour(db: sqlite_utils.Database) -> None:
    """For storage.requests: who asked and what, as salted hashes. NULL: what was taken back, which counts still."""
    db.execute("CREATE TABLE requests (who TEXT NOT NULL, event TEXT UNIQUE, at_ms INTEGER NOT NULL) STRICT")
    db.execute("CREATE INDEX requests_by_who ON requests (who, at_ms)")
    db.execute("CREATE INDEX requests_by_age ON requests (at_ms)")
