"""Laws of who starts workers, with processes that end as real ones do."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import crew
from bot.crew import MOST_FAILURES, Crew, WorkerFailed
from storage.database import Database
from storage.workers import Workers


@pytest.fixture
def some(tmp_path: Path) -> Iterator[Crew]:
    some = Crew(Workers(Database.open(tmp_path / "jobs.db")), tmp_path)
    yield some
    if some._started:
        some._started.process.kill()
        some._started.process.wait()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the worker's place, which the test writes."""
    script = tmp_path / "worker"
    monkeypatch.setattr(sys, "executable", str(script))
    return script


def becomes(worker: Path, what: str) -> None:
    (worker.parent / "new").write_text(f"#!/bin/sh\necho life >> {worker.parent}/lives\n{what}\n")
    (worker.parent / "new").chmod(0o755)
    (worker.parent / "new").replace(worker)  # one that runs reads on in the old one


def lives(worker: Path) -> int:
    file = worker.parent / "lives"
    return len(file.read_text().splitlines()) if file.exists() else 0


def failed(some: Crew) -> str:
    """What is said when no worker stays alive."""
    while True:
        try:
            some.ensure()
        except WorkerFailed as error:
            return str(error)
        time.sleep(0.01)


def test_why_no_worker_stays_alive_is_said_while_others_are_started(some: Crew, worker: Path):
    becomes(worker, "echo no GPU; exit 1")
    assert failed(some) == "The worker does not stay alive: no GPU"
    assert lives(worker) == MOST_FAILURES
    while lives(worker) < 2 * MOST_FAILURES:
        with pytest.raises(WorkerFailed, match="no GPU"):
            some.ensure()


@pytest.mark.parametrize("well", ["exit 0", "exec sleep 1000"])
def test_nothing_is_said_any_more_when_a_worker_has_ended_well_or_stays(
    some: Crew, worker: Path, monkeypatch: pytest.MonkeyPatch, well: str
):
    becomes(worker, "echo no GPU; exit 1")
    failed(some)
    becomes(worker, well)
    with pytest.raises(WorkerFailed, match="no GPU"):
        some.ensure()
    assert some._started is not None
    if well == "exit 0":
        some._started.process.wait()
    monkeypatch.setattr(crew, "STARTING_SECONDS", 0.0)
    some.ensure()
