"""Workers on this machine, for who has none: one is started when a job waits and nobody works."""

import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from storage.jobs import MAX_ATTEMPTS
from storage.workers import Workers

STARTING_SECONDS = 60.0  # for how long a worker that was started counts as alive before it has signed in


MOST_FAILURES = MAX_ATTEMPTS + 1  # of workers in a row; one bad job ends at most MAX_ATTEMPTS of them
WRONG_SETTINGS = 2  # exit code of a worker that will never start


class WorkerFailed(Exception):
    """No worker can be kept alive; the text says why, to a person."""


@dataclass(frozen=True)
class _Started:
    """A worker of ours: its process, the name under which it is signed in, and when it was started."""

    process: subprocess.Popen[bytes]
    name: str
    at: float


class Crew:
    """Starts workers, each a process of its own that ends when the queue is empty."""

    def __init__(self, workers: Workers, data_dir: Path) -> None:
        self._workers = workers
        self._log = data_dir / "worker.log"
        self._started: _Started | None = None
        self._failures = 0
        self._trouble = ""

    def ensure(self) -> None:
        """Start a worker unless one lives. Of several processes that try at once, one starts it.

        WorkerFailed when none stays alive, and from then on, while one after the other is started all the same, until
        one does.
        """
        self._bury()
        name = f"started-{uuid.uuid4().hex[:8]}"
        if self._workers.sign_in_alone(name, STARTING_SECONDS):
            self._start(name)
        elif self._started is None:  # somebody else's works
            self._trouble = ""
        if self._trouble:
            raise WorkerFailed(self._trouble)

    def _start(self, name: str) -> None:
        command = [sys.executable, "-m", "engine", "work", "--until-idle", "--name", name]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._started = _Started(process, name, time.monotonic())

    def _bury(self) -> None:
        """Sign a worker out that cannot do so itself any more. One that died by accident is followed by another."""
        if self._started is None:
            return
        code = self._started.process.poll()
        if code is None and time.monotonic() - self._started.at < STARTING_SECONDS:
            return
        if not code:  # it has ended as it should, or it stays
            self._failures, self._trouble = 0, ""
        if code is None:
            return
        self._workers.sign_out(self._started.name)
        self._started = None
        if code:
            self._failures += 1
        if code == WRONG_SETTINGS or self._failures >= MOST_FAILURES:
            last_line = (self._log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            self._trouble = f"The worker does not stay alive: {last_line.removeprefix('longtake: ')}"
            raise WorkerFailed(self._trouble)
