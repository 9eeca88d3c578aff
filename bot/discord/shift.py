"""A worker is there while something waits."""

import asyncio
import logging

from bot.crew import WorkerFailed
from bot.studio import Studio

log = logging.getLogger(__name__)


class Shift:
    """Starts workers, unless they are started by hand. `trouble` says why none stays alive, to who waits for one."""

    def __init__(self, studio: Studio, wanted: bool) -> None:
        self._studio = studio
        self._wanted = wanted
        self.trouble = ""

    async def keep(self) -> None:
        """Look whether somebody is needed."""
        if not self._wanted:
            return
        try:
            if await asyncio.to_thread(self._studio.jobs.any_open):
                await asyncio.to_thread(self._studio.ensure_worker)
            self.trouble = ""
        except WorkerFailed as error:
            if str(error) != self.trouble:
                log.error("%s", error)
            self.trouble = str(error)
