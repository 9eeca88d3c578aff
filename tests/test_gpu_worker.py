"""A worker whose films two processes make: through the job table, and through the end of any of its processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from filming import draw, film_plan, window
from test_gpus import FAILING, children, ended, sampling
from waiting import LIMIT_SECONDS, wait_until

from engine.models import ModelShelf
from engine.settings import EngineSettings
from engine.team.followers import FOLLOW
from engine.team.lead import Lead
from engine.worker import Worker
from storage.database import Database
from storage.footage import read_frames
from storage.jobs import Jobs
from storage.media import Media
from storage.schema import Errand, Job, JobState, Progress, Sampling, StartImage
from storage.takes import Takes

CPU = torch.device("cpu")


GUIDED, PLAIN = sampling(3.0, 3.0, sigmas=(1.0, 0.95, 0.5, 0.0)), sampling(1.0, 1.0, sigmas=(1.0, 0.95, 0.5, 0.0))


def settings_in(folder: Path, models: Path) -> EngineSettings:
    return EngineSettings(data_dir=folder, models_dir=models, gpus=2, device="cpu", precision="float32")


@pytest.fixture
def settings(tmp_path: Path, toy_models_dir: Path) -> EngineSettings:
    return settings_in(tmp_path, toy_models_dir)


@pytest.fixture
def database(settings: EngineSettings) -> Iterator[Database]:
    with Database.open(settings.database) as database:
        yield database


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, toy_models_dir: Path) -> dict[Sampling, Path]:
    """Films of two windows that one process made."""
    settings = settings_in(tmp_path_factory.mktemp("alone"), toy_models_dir)
    with Database.open(settings.database) as database, working(settings, database, command=None) as worker:
        return {chosen: video_of(worker, filmed(worker, chosen)) for chosen in (GUIDED, PLAIN)}


@contextmanager
def working(settings: EngineSettings, database: Database, command: tuple[str, ...] | None = FOLLOW) -> Iterator[Worker]:
    """A worker that leads such a follower; None: that works alone."""
    with closing(Lead(settings, CPU, [CPU], command or ())) as lead:
        yield Worker(settings, database, ModelShelf(settings, CPU, torch.float32, lead if command else None))


def enqueue(settings: EngineSettings, database: Database, chosen: Sampling, windows: int = 2) -> int:
    photo = Media(settings.media).add_file(draw(settings.data_dir / "photo.png", 1))
    plan = film_plan([window(number + 1) for number in range(windows)], StartImage(image=photo), chosen)
    return Jobs(database).enqueue(plan, Errand(channel="c", requester="ann")).id


def filmed(worker: Worker, chosen: Sampling) -> Job:
    job = enqueue(worker.settings, worker.database, chosen)
    worker.work(until_idle=True)
    return worker.jobs.get(job)


def video_of(worker: Worker, job: Job) -> Path:
    assert job.state is JobState.DONE, job.error
    return worker.media.path(Takes(worker.database).get(job.take or 0).film.video)


def kept(jobs: Jobs, job: Job) -> list[tuple[int, str]]:
    """Attempt and number of each window that is kept."""
    return [(event.attempt, event.text) for event in jobs.events(job.id) if event.kind == "window"]


def test_a_film_of_two_processes_is_that_of_one(
    settings: EngineSettings, database: Database, alone: dict[Sampling, Path]
):
    """Bit for bit where each predicts for a text, to rounding where they share the tokens."""
    with working(settings, database) as worker:
        together = {chosen: video_of(worker, filmed(worker, chosen)) for chosen in alone}
    assert not children()
    assert together[GUIDED].name == alone[GUIDED].name, "files are named by their content"
    a, b = (np.stack(list(read_frames(videos[PLAIN]))).astype(float) for videos in (together, alone))
    assert 10 * np.log10(255**2 / max(np.square(a - b).mean(), 1e-9)) > 50


def test_a_follower_that_is_killed_costs_the_window_that_it_was_at(
    settings: EngineSettings, database: Database, alone: dict[Sampling, Path]
):
    with working(settings, database) as worker:
        note = worker.jobs.progress

        def kill(job: int, attempt: int, progress: Progress) -> bool:
            if (attempt, progress.window, progress.step) == (1, 2, 1):
                for pid in children():
                    os.kill(pid, signal.SIGKILL)
                    assert ended(pid)
            return note(job, attempt, progress)

        worker.jobs.progress = kill  # type: ignore[method-assign]
        job = filmed(worker, GUIDED)
        assert video_of(worker, job).name == alone[GUIDED].name
        assert (job.attempts, kept(worker.jobs, job)) == (2, [(1, "1"), (2, "2")])
        said = [event.text for event in worker.jobs.events(job.id) if event.kind == "queued"]
        assert said == ["", "The process that films along on cpu was killed by signal 9."]


def test_memory_that_a_follower_lacks_is_the_teams(
    settings: EngineSettings, database: Database, alone: dict[Sampling, Path]
):
    """They all go on with less at a time, and the person is told."""
    with working(settings, database, (sys.executable, str(FAILING), "memory")) as worker:
        job = filmed(worker, GUIDED)
        assert video_of(worker, job).name == alone[GUIDED].name
        assert job.attempts == 1
        assert Takes(database).get(job.take or 0).film.short_of_memory


@contextmanager
def process(settings: EngineSettings) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {f"LONGTAKE_{name.upper()}": str(value) for name, value in settings}
    command = [sys.executable, "-m", "engine", "work"]
    worker = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_however_a_leader_ends_its_followers_end_and_nothing_is_lost(
    settings: EngineSettings, database: Database, number: signal.Signals
):
    """In the middle of a window. To be stopped is told to all processes of a worker at once, as a service's manager
    does; to be killed, to the leader alone."""
    steps = 400
    long = sampling(1.0, 1.0, sigmas=tuple(1 - step / steps for step in range(steps + 1)))
    jobs, job = Jobs(database), enqueue(settings, database, long)
    with process(settings) as worker:
        wait_until(lambda: (progress := jobs.get(job).progress) is not None and progress.step > 1)
        (follower,) = children(worker.pid)
        if number is signal.SIGTERM:
            os.killpg(worker.pid, number)
            assert worker.wait(LIMIT_SECONDS) == 0
            assert jobs.get(job).state is JobState.QUEUED
            assert [event.kind for event in jobs.events(job)] == ["queued", "claimed", "released"]
        else:
            worker.kill()
        assert ended(follower)
