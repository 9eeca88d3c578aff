"""Whether the media store holds what the rows name, and what each name says."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.database import Database
from storage.forget import NAMING, Forget, media_in
from storage.job_reader import readable_jobs
from storage.media import Media
from storage.schema import MediaId

STRAY_SECONDS = 3600.0  # for which a file may wait for the row that names it
_OWNERS = """
    SELECT 'take ' || id AS owner, film AS text, evicted_ms FROM takes
    UNION ALL SELECT 'job ' || id, plan, NULL FROM jobs WHERE state IN ('queued', 'running')
    UNION ALL SELECT 'take ' || take, plan, NULL FROM jobs WHERE take IS NOT NULL
"""


@dataclass(frozen=True)
class Report:
    """What is wrong. `missing` are files with who needs them: "take 3"; evicted videos are not among them."""

    files: int
    damaged: tuple[MediaId, ...]
    missing: tuple[tuple[str, MediaId], ...]
    strays: tuple[MediaId, ...]  # that no row names; a new one may still get its row

    @property
    def sound(self) -> bool:
        """Nothing is damaged or missing."""
        return not self.damaged and not self.missing


class Check:
    """Looks through the media store."""

    def __init__(self, database: Database, media: Media) -> None:
        self._database = database
        self._media = media

    def missing(self) -> tuple[tuple[str, MediaId], ...]:
        """Files that takes and open jobs need and that are not there, each once. Nothing is read but rows."""
        rows = self._database.rows(_OWNERS, {})
        evicted = {video for row in rows if row["evicted_ms"] is not None for video in _videos(row["text"])}
        wanted = {media: row["owner"] for row in reversed(rows) for media in media_in([row])}
        gone = [(owner, media) for media, owner in wanted.items() if media not in evicted]
        return tuple(sorted((owner, media) for owner, media in gone if not self._media.has(media)))

    def unreadable(self, newest: int = 1000) -> list[int]:
        """Of the newest jobs, those that cannot be read any more, newest first."""
        rows = self._database.rows("SELECT * FROM jobs ORDER BY id DESC LIMIT :newest", {"newest": newest})
        readable = {job.id for job in readable_jobs(rows)}
        return [row["id"] for row in rows if row["id"] not in readable]

    def whole(self, on_file: Callable[[int, int], None] = lambda _, __: None) -> Report:
        """Reads every file. `on_file` is told how many of how many are done."""
        files, damaged = self._media.all(), []
        for number, media in enumerate(files, start=1):
            if self._media.has(media) and not self._media.intact(media):
                damaged.append(media)
            on_file(number, len(files))
        strays = tuple(sorted(set(files) - media_in(self._database.rows(NAMING, {}))))
        return Report(len(files), tuple(sorted(damaged)), self.missing(), strays)

    def repair(self, report: Report, forget: Forget) -> tuple[tuple[Path, ...], int]:
        """Set what is damaged aside and remove old strays. -> where it lies, number of strays

        A video that is gone is filmed again from its plan where it is continued.
        """
        return tuple(self._media.set_aside(media) for media in report.damaged), forget.strays(STRAY_SECONDS)


def _videos(film: str) -> list[MediaId]:
    return re.findall(r'"video":"([0-9a-f]{64})"', film)
