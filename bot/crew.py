"""Workers on this machine, for who has none: one is started when a job waits and nobody works."""

import subprocess
import sys
import uuid
from pathlib import Path

from storage.workers import Workers

STARTING_SECONDS = 60.0  # for how long a worker that was started counts as alive before it has signed in


class WorkerFailed(Exception):
    """A worker that was started has ended without taking up its job."""


class Crew:
    """Starts workers, each a process of its own that ends when the queue is empty."""

    def __init__(self, workers: Workers, data_dir: Path) -> None:
        self._workers = workers
        self._log = data_dir / "worker.log"
        self._started: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start a worker unless one lives. Of several processes that try at once, one starts it."""
        if self._started is not None and (code := self._started.poll()) not in (None, 0):
            raise WorkerFailed(f"The worker ended with exit code {code}; {self._log} says why.")
        name = f"started-{uuid.uuid4().hex[:8]}"
        if not self._workers.sign_in_alone(name, STARTING_SECONDS):
            return
        command = [sys.executable, "-m", "engine", "work", "--until-idle", "--name", name]
        with self._log.open("ab") as log:
            self._started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
