"""The worker: claim a job, film it, finish it; for ever, or until the queue is empty.

A worker and the bot never talk: they meet in the job table. A lease that a thread renews says that the worker lives;
between two steps a render asks whether it is still wanted. While the disk is nearly full no job is claimed; one that a
full disk stopped is given back, and goes on at its first unfinished window when there is room.
"""

import logging
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from engine.models import ModelShelf
from engine.settings import EngineSettings
from engine.shoot import KEPT_SECONDS, Kit, Shoot, Stopped
from engine.team.followers import TeamBroken
from storage.database import Database
from storage.disk import WAITS, DiskFull
from storage.eviction import Eviction
from storage.jobs import Fenced, Jobs
from storage.logs import about
from storage.media import Media
from storage.renders import render_folder
from storage.schema import Film, Job, UserError
from storage.takes import Takes
from storage.workers import Workers

log = logging.getLogger("longtake.worker")

SWEEP_SECONDS = 3600.0  # no file takes longer to be written
BUSY = (sqlite3.OperationalError, DiskFull)  # a database that another process holds for too long, or without room

UNSETTLED = (Stopped, Fenced, DiskFull)  # what ends an attempt and is no failure of its job

Noted = TypeVar("Noted")


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
        self._eviction = Eviction(self.database, self.media, self.settings.media_gb)
        self._kit = Kit(self.settings, self.jobs, Takes(self.database), self.media, self.shelf)

    def work(self, *, until_idle: bool = False) -> None:
        """Take up one job after the other; with `until_idle`, until none is queued."""
        self._sweep()
        with self._beating(self._sign_in):
            while not self.stopping.is_set():
                job = self._claimed()
                if job is not None:
                    self.film(job)
                elif until_idle and not self.jobs.any_open():  # what a dead worker holds is waited for
                    break
                else:
                    self.stopping.wait(self.settings.poll_seconds)
        with suppress(*BUSY):  # its lease says so, too
            self.workers.sign_out(self.name)

    def film(self, job: Job) -> None:
        """Film one claimed job and settle it: finished, failed with its reason, or given back."""
        shoot = Shoot(self._kit, job, threading.Event(), self.stopping)

        def beat() -> None:
            if not self.jobs.heartbeat(job.id, job.attempts, self.settings.lease_seconds):
                shoot.lost.set()

        with about(job=job.id), self._beating(beat):
            log.info("attempt %d", job.attempts)
            try:
                self._film(shoot)
            except (Stopped, Fenced):
                self._give_back(job)
            except DiskFull:
                log.exception("the disk is full")
                self._give_back(job, WAITS)
                self.stopping.wait(self.settings.lease_seconds / 3)  # also where the disk's figures say nothing

    def _film(self, shoot: Shoot) -> None:
        """One attempt. What is UNSETTLED is for whoever called."""
        job = shoot.job
        try:
            if job.tries > self.settings.attempts:  # its worker died in the last one, and what it had filmed is left
                raise UserError(job.error or "Its worker died.")
            film = shoot.film()
            take = self._noted(lambda: self.jobs.finish(job.id, job.attempts, film))
            log.info("take %d, %.1f s", take.id, film.render_seconds)
            shutil.rmtree(shoot.folder, ignore_errors=True)
            self._noted(self._eviction.evict)
        except UNSETTLED:
            raise
        except UserError as error:
            self._failed(shoot, str(error), retry=False)
        except TeamBroken as error:
            log.warning("attempt %d failed: %s", job.attempts, error)
            self._failed(shoot, str(error), retry=job.tries < self.settings.attempts)
        except Exception as error:  # the outermost place: whatever one job does, the next one is filmed
            log.exception("attempt %d failed", job.attempts)
            self._failed(shoot, f"{type(error).__name__}: {error}", retry=job.tries < self.settings.attempts)

    def _failed(self, shoot: Shoot, reason: str, *, retry: bool) -> None:
        """End an attempt. What was filmed of a job that failed for good becomes a take."""
        film = None if retry else self._gathered(shoot)
        job = shoot.job
        self._noted(lambda: self.jobs.fail(job.id, job.attempts, reason, retry=retry, film=film))

    def _gathered(self, shoot: Shoot) -> Film | None:
        """What a job that failed had finished; it may have to wait for room, or for a worker that may go on."""
        try:
            return shoot.gathered()
        except UNSETTLED:
            raise
        except Exception:  # the outermost place: what made the job fail may have spoilt its files, too
            log.exception("its windows cannot be joined")
            return None

    def _claimed(self) -> Job | None:
        """The next job; None if there is none, or no room to film it."""
        if self.settings.disk.short:
            return None
        try:
            return self.jobs.claim(self.name, self.settings.lease_seconds)
        except BUSY:
            log.exception("no job can be claimed")
            return None

    def _give_back(self, job: Job, reason: str | None = None) -> None:
        """Give a job back that is still ours; what was cancelled loses its folder, what another worker has stays."""
        try:
            self._noted(lambda: self.jobs.release(job.id, job.attempts, reason))
            log.info("given back")
        except DiskFull:  # while we are told to end: its lease runs out
            log.warning("left behind")
        except Fenced:
            log.info("no longer ours")
            if self.jobs.unwanted(job.id):
                shutil.rmtree(render_folder(self.settings.renders, job.id), ignore_errors=True)

    def _noted(self, note: Callable[[], Noted]) -> Noted:
        """Note in the job table how an attempt ended, as soon as there is room for that."""
        while True:
            try:
                return note()
            except DiskFull:
                if self.stopping.wait(self.settings.poll_seconds):
                    raise

    def _sweep(self) -> None:
        """Remove what nobody needs: folders of jobs that will never be rendered again, and files half written.
        What failed lately may be tried again."""
        folders = list(self.settings.renders.glob("*"))  # first, or a job that comes meanwhile would lose its folder
        wanted = {str(turn.job) for turn in self.jobs.turns()}
        wanted |= {str(job) for job in self.jobs.failed_since(KEPT_SECONDS)}
        for folder in folders:
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)
        self.media.sweep(older_than=SWEEP_SECONDS)

    def _sign_in(self) -> None:
        self.workers.sign_in(self.name, self.settings.lease_seconds)

    @contextmanager
    def _beating(self, beat: Callable[[], None]) -> Iterator[None]:
        """Call `beat` now and then three times a lease, in a thread, for as long as the block runs."""
        ended = threading.Event()

        def attempt() -> None:
            try:
                beat()
            except BUSY:  # the lease says for how long that may last
                log.exception("heartbeat failed")

        def run() -> None:
            while not ended.wait(self.settings.lease_seconds / 3):
                attempt()

        attempt()
        thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
