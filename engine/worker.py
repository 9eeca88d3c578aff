"""The worker: claim a job, render it, finish it; for ever, or until the queue is empty.

A worker and the bot never talk: they meet in the job table. A lease that a thread renews says that the worker lives;
between two steps a render asks whether it is still wanted.
"""

import contextlib
import logging
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.folder import WorkFolder, belongs_to
from engine.models import ModelShelf
from engine.pace import Pace
from engine.pipeline import render
from engine.settings import EngineSettings
from storage.database import Database
from storage.jobs import Fenced, Jobs
from storage.logs import about
from storage.media import Media
from storage.renders import render_folder
from storage.schema import Film, Job, Plan, Progress, Stage, UserError
from storage.workers import Workers

log = logging.getLogger("longtake.worker")


SWEEP_SECONDS = 3600.0  # no file takes longer to be written
KEPT_SECONDS = 86400.0  # for which the windows of a job that failed are kept, in case it is tried again


class Stopped(Exception):
    """The render ends between two steps: the worker is to end, or the job is not its own any more."""


@dataclass
class Worker:
    """One process with one device and one job at a time. `stopping` may be set by a signal handler."""

    settings: EngineSettings
    database: Database
    shelf: ModelShelf
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.database, attempts=self.settings.attempts)
        self.workers = Workers(self.database)
        self.media = Media(self.settings.media)
        self.pace = Pace()

    def work(self, *, until_idle: bool = False) -> None:
        """Take up one job after the other; with `until_idle`, until none is queued."""
        self._sweep()
        with self._beating(self._sign_in):
            while not self.stopping.is_set():
                try:
                    job = self.jobs.claim(self.name, self.settings.lease_seconds)
                except sqlite3.OperationalError:  # a busy or full disk may have room again
                    log.exception("no job can be claimed")
                    job = None
                if job is not None:
                    self.film(job)
                elif until_idle and not self.jobs.any_open():  # what a dead worker holds is waited for
                    break
                else:
                    self.stopping.wait(self.settings.poll_seconds)
        self.workers.sign_out(self.name)

    def film(self, job: Job) -> None:
        """Render one claimed job and settle it: finished, failed with its reason, or given back."""
        lost = threading.Event()

        def beat() -> None:
            if not self.jobs.heartbeat(job.id, job.attempts, self.settings.lease_seconds):
                lost.set()

        with about(job=job.id):
            self._film(job, lost, beat)

    def _film(self, job: Job, lost: threading.Event, beat: Callable[[], None]) -> None:
        log.info("attempt %d", job.attempts)
        try:
            with self._beating(beat):
                film = self._render(job, lost)
                take = self.jobs.finish(job.id, job.attempts, film)
            log.info("take %d, %.1f s", take.id, film.render_seconds)
            shutil.rmtree(self._folder(job.id), ignore_errors=True)
        except (Stopped, Fenced):
            self._stopped(job)
        except UserError as error:
            self._failed(job, str(error), retry=False)
        except Exception as error:  # the outermost place: whatever one job does, the next one is filmed
            log.exception("attempt %d failed", job.attempts)
            self._failed(job, f"{type(error).__name__}: {error}", retry=True)

    def _render(self, job: Job, lost: threading.Event) -> Film:
        """The film of a job, its files already in the media store."""
        folder = self._folder(job.id)
        self._lay_out(job, folder)
        started = time.monotonic()
        self.pace.start()

        def on_progress(progress: Progress) -> None:
            if progress.stage is Stage.FILMED:  # also when it is the last thing that is told
                self.jobs.window_filmed(job.id, job.attempts, progress.window)
            if lost.is_set() or self.stopping.is_set():
                raise Stopped
            if not self.jobs.progress(job.id, job.attempts, self.pace.timed(progress)):
                lost.set()

        on_progress(loading(job.plan))
        models = self.shelf.load(job.plan)
        rendering = render(job.plan, models, folder, on_progress)
        return Film(
            video=self.media.add_file(rendering.video, move=True),
            tail=self.media.add_file(rendering.tail),
            frames=rendering.frames,
            render_seconds=time.monotonic() - started,
            trained=models.trained,
            measured=rendering.measured,
        )

    def _lay_out(self, job: Job, folder: Path) -> None:
        """Put the files that the plan names into the work folder, as links."""
        plan = job.plan
        if not belongs_to(folder, plan):  # of a job of this number in another database
            shutil.rmtree(folder)
        if not folder.exists():
            self._take_up(job, folder)
        (folder / "media").mkdir(parents=True, exist_ok=True)
        self.media.require(plan.media)
        for media in plan.media:
            link = folder / "media" / media
            if not link.is_symlink():
                link.symlink_to(self.media.path(media).resolve())

    def _take_up(self, job: Job, folder: Path) -> None:
        """What a job that failed left of the same plan, so that its finished windows are not filmed again."""
        for left in map(self._folder, self.jobs.failed_since(KEPT_SECONDS)):
            if (left / "plan.json").is_file() and belongs_to(left, job.plan):
                with contextlib.suppress(FileNotFoundError):  # another worker was first
                    left.rename(folder)
                    for number in WorkFolder(folder, job.plan).finished:
                        self.jobs.window_filmed(job.id, job.attempts, number)
                    return

    def _stopped(self, job: Job) -> None:
        """Give a job back that is still ours; what was cancelled loses its folder, what another worker has stays."""
        try:
            self.jobs.release(job.id, job.attempts)
            log.info("given back")
        except Fenced:
            log.info("no longer ours")
            if self.jobs.unwanted(job.id):
                shutil.rmtree(self._folder(job.id), ignore_errors=True)

    def _failed(self, job: Job, reason: str, *, retry: bool) -> None:
        try:
            self.jobs.fail(job.id, job.attempts, reason, retry=retry)
        except Fenced:
            log.info("no longer ours")

    def _sweep(self) -> None:
        """Remove what nobody needs: folders of jobs that will never be rendered again, and files half written.
        What failed lately may be tried again."""
        folders = list(self.settings.renders.glob("*"))  # first, or a job that comes meanwhile would lose its folder
        wanted = {str(job.id) for job in self.jobs.queue()} | {str(job) for job in self.jobs.failed_since(KEPT_SECONDS)}
        for folder in folders:
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)
        self.media.sweep(older_than=SWEEP_SECONDS)

    def _folder(self, job: int) -> Path:
        return render_folder(self.settings.renders, job)

    def _sign_in(self) -> None:
        self.workers.sign_in(self.name, self.settings.lease_seconds)

    @contextmanager
    def _beating(self, beat: Callable[[], None]) -> Iterator[None]:
        """Call `beat` now and then three times a lease, in a thread, for as long as the block runs."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(self.settings.lease_seconds / 3):
                try:
                    beat()
                except sqlite3.OperationalError:  # a busy or full disk: the lease says for how long that may last
                    log.exception("heartbeat failed")

        beat()
        thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def loading(plan: Plan) -> Progress:
    """The progress of a render that has not begun."""
    return Progress(stage=Stage.LOADING, window=1, windows=len(plan.windows), step=0, steps=plan.sampling.steps)
