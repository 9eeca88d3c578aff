"""How the studio does, in figures, read from the tables: for monitoring, and for `longtake doctor`."""

import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from storage.database import Database, to_milliseconds
from storage.schema import JobState

LATELY_SECONDS = 86400.0  # what has ended is counted for so long
MOST_REASONS = 20  # that are told apart


@dataclass(frozen=True)
class WindowSeconds:
    """What windows of a model and a size took lately, each take's mean counted once for each of its windows."""

    windows: int
    total: float
    median: float
    slowest: float  # the 95th percentile


@dataclass(frozen=True)
class Figures:
    """The queue now, and what ended in the last 24 hours."""

    queued: int
    running: int
    oldest_wait_seconds: float  # 0 while nothing waits
    workers: int  # that live
    ended: Mapping[JobState, int]
    failures: Mapping[str, int]  # by reason, the most frequent first
    window_seconds: Mapping[tuple[str, str], WindowSeconds]  # by model and size


def read_figures(database: Database, now: float | None = None) -> Figures:
    """The figures at this moment; `now` is in seconds since 1970. By index, however large the tables are."""
    now_ms = to_milliseconds(time.time() if now is None else now)
    lately = {"then": now_ms - to_milliseconds(LATELY_SECONDS)}

    def number(sql: str) -> int:
        return int(database.rows(sql, {"now": now_ms})[0]["n"] or 0)

    first = number("SELECT (SELECT created_ms FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 1) AS n")
    return Figures(
        queued=number("SELECT count(*) AS n FROM jobs WHERE state = 'queued'"),
        running=number("SELECT count(*) AS n FROM jobs WHERE state = 'running'"),
        oldest_wait_seconds=max(0, now_ms - first) / 1000 if first else 0.0,
        workers=number("SELECT count(*) AS n FROM workers WHERE lease_ms >= :now"),
        ended=_ended(database, lately),
        failures=_failures(database, lately),
        window_seconds=_window_seconds(database, lately),
    )


def reason_of(error: str) -> str:
    """Why a job failed, without what is true of one job alone: its numbers, and what an exception says.

    >>> reason_of("OutOfMemoryError: 3 GiB are missing"), reason_of("The worker died or hung in attempt 3.")
    ('OutOfMemoryError', 'The worker died or hung in attempt N.')
    """
    kind = re.match(r"[A-Za-z]\w*(?=:)", error)
    return kind[0] if kind else re.sub(r"\d+(?:\.\d+)?", "N", error)[:80]


def _ended(database: Database, lately: Mapping[str, int]) -> dict[JobState, int]:
    sql = """
        SELECT state, count(*) AS n FROM jobs
        WHERE state IN ('done', 'failed', 'cancelled') AND finished_ms >= :then GROUP BY state
    """
    counted = {JobState(row["state"]): int(row["n"]) for row in database.rows(sql, lately)}
    return {state: counted.get(state, 0) for state in JobState if state.final}


def _failures(database: Database, lately: Mapping[str, int]) -> dict[str, int]:
    sql = "SELECT error FROM jobs WHERE state = 'failed' AND finished_ms >= :then"
    counted = Counter(reason_of(row["error"] or "") for row in database.rows(sql, lately)).most_common()
    others = sum(number for _, number in counted[MOST_REASONS:])
    return {**dict(counted[:MOST_REASONS]), **({"others": others} if others else {})}


def _window_seconds(database: Database, lately: Mapping[str, int]) -> dict[tuple[str, str], WindowSeconds]:
    sql = """
        SELECT plan ->> '$.model' AS model, plan ->> '$.size.width' AS width, plan ->> '$.size.height' AS height,
            json_array_length(plan, '$.windows') AS windows, film ->> '$.render_seconds' AS seconds
        FROM jobs JOIN takes ON takes.job = jobs.id WHERE state = 'done' AND finished_ms >= :then
            AND CASE WHEN json_valid(plan) THEN json_array_length(plan, '$.windows') END > 0
    """
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in database.rows(sql, lately):
        kind = row["model"], f"{row['width']}x{row['height']}"
        took[kind] += [row["seconds"] / row["windows"]] * row["windows"]
    return {
        kind: WindowSeconds(len(all_), sum(all_), statistics.median(all_), sorted(all_)[round(0.95 * (len(all_) - 1))])
        for kind, all_ in took.items()
    }
