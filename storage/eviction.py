"""A budget for the media store: the oldest videos go first, and everything that is needed to have them again stays.

A take whose video is gone keeps its plan, pictures and tail. The plan gives the same video again, so it can be
continued as any other take: who films the continuation films it again first. Never removed: what is pinned, what was
made just now, what waits to be posted, and what a job or a draft continues.
"""

import time
from collections.abc import Callable

from storage.database import Database, to_milliseconds
from storage.disk import GIB
from storage.forget import media_in
from storage.media import Media
from storage.schema import MediaId

FRESH_SECONDS = 600.0  # that whoever asked for a film has, at least, to fetch it
_NEEDED = """
    SELECT plan AS text FROM jobs WHERE state IN ('queued', 'running')
    UNION ALL SELECT draft FROM cards WHERE draft IS NOT NULL AND NOT closed
    UNION ALL SELECT draft FROM channels WHERE draft IS NOT NULL
    UNION ALL SELECT film FROM takes WHERE pinned OR created_ms >= :fresh
        OR job IN (SELECT job FROM cards WHERE NOT closed AND job IS NOT NULL)
"""


class Eviction:
    """Holds the media store to `most_gib`; 0 has no limit. `now` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, media: Media, most_gib: float, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._media = media
        self._most_bytes = most_gib * GIB
        self._now = now

    def evict(self) -> list[MediaId]:
        """Remove the oldest videos that nobody needs until the rest fits; returns them, the oldest first.

        A video is noted as gone before it is removed. Who is killed in between leaves it to the next call.
        """
        if not self._most_bytes:
            return []
        over, gone = self._media.bytes_kept() - self._most_bytes, []
        for video in self._candidates() if over > 0 else []:
            if over <= 0:
                break
            gone.append(video)
            over -= self._media.size(video)
        self._note(gone)
        for video in gone:
            self._media.remove(video)
        return gone

    def _candidates(self) -> list[MediaId]:
        """The videos that are there and may go, the oldest first."""
        fresh = to_milliseconds(self._now() - FRESH_SECONDS)
        needed = media_in(self._database.rows(_NEEDED, {"fresh": fresh}))
        rows = self._database.rows("SELECT video FROM takes WHERE video IS NOT NULL ORDER BY id", {})
        videos = dict.fromkeys(row["video"] for row in rows)
        return [video for video in videos if video not in needed and self._media.has(video)]

    def _note(self, videos: list[MediaId]) -> None:
        with self._database.write() as db:
            for video in videos:
                sql = "UPDATE takes SET evicted_ms = :now WHERE video = :video"
                db.execute(sql, {"now": to_milliseconds(self._now()), "video": video})
