"""A worker is there while something waits."""

import asyncio
import logging

from bot.crew import WorkerFailed
from bot.studio import Studio

log = logging.getLogger(__name__)


class Shift:
    """Starts workers, unless they are started by hand. `trouble` says why nothing is filmed, to who waits for it."""

    def __init__(self, studio: Studio, wanted: bool) -> None:
        self._studio = studio
        self._wanted = wanted
        self.trouble = ""

    async def keep(self) -> None:
        """Look whether somebody is needed, and whether there is room to film."""
        trouble = self._studio.settings.disk.trouble
        try:
            if self._wanted and await asyncio.to_thread(self._studio.jobs.any_open):
                await asyncio.to_thread(self._studio.ensure_worker)
        except WorkerFailed as error:
            trouble = str(error)
        if trouble and trouble != self.trouble:
            log.error("%s", trouble)
        self.trouble = trouble
