"""Processes that are there to be killed. They are forked from one that has read all the code, so that a new one is
there at once; what they run is what `longtake bot` and `longtake worker` run.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import sqlite_utils

HERE = Path(__file__).parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mortal_code"])


@dataclass
class Mortal:
    """A bot or a worker, killed and started again as often as one likes. `environment` is its settings."""

    work: str  # "bot" or "worker"
    environment: dict[str, str]
    log: Path
    port: int = 0  # of the Discord of a bot
    name: str = ""
    lives: int = 0
    process: BaseProcess | None = field(default=None, repr=False)

    def start(self, writes: int = 0) -> None:
        """Begin a life; with `writes` it ends by itself, like one that is killed, when it is about to begin one
        transaction more than so many: what it did since the last one is done, and not noted."""
        paths = os.pathsep.join([str(HERE.parent), str(HERE)])
        with _environment({"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}):  # of the process that all are forked from
            self.lives += 1
            process = FORKS.Process(target=live, args=(self.work, self.environment, self.log, self.port, writes))
            process.start()
        self.process = process

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None and self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.join()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def live(work: str, environment: dict[str, str], log: Path, port: int, writes: int) -> None:
    """One life, from its settings to its end."""
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if writes:
        _die_before(writes)
    if work == "bot":
        from discord_server import redirected

        from bot.cli import main

        with redirected(port):
            main(["bot"])
    else:
        from engine.__main__ import work as film
        from engine.settings import EngineSettings

        film(EngineSettings(_env_file=None), f"{work}-{os.getpid()}", until_idle=False)  # type: ignore[call-arg]


def _die_before(writes: int) -> None:
    """End this process when it is about to begin one transaction more than so many."""
    from storage.database import Database

    write, left = Database.write, iter(range(writes, -1, -1))

    @contextmanager
    def counted(self: Database) -> Iterator[sqlite_utils.Database]:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        with write(self) as db:
            yield db

    Database.write = counted  # type: ignore[method-assign]
