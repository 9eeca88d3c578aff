"""One claimed job being filmed: its folder, the files that it reads, and the render, with less memory where it must."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from engine.folder import WorkFolder, belongs_to
from engine.models import ModelShelf
from engine.pace import Pace
from engine.pipeline import OnProgress, Rendering, gather, render
from engine.settings import EngineSettings
from storage.jobs import Jobs
from storage.media import Media
from storage.renders import render_folder
from storage.schema import Film, Job, JobEvent, MediaId, Plan, Progress, Size, Stage, UserError
from storage.takes import Takes

KEPT_SECONDS = 86400.0  # for which the windows of a job that failed are kept, in case it is tried again

AGAIN_WITH_LESS = "The GPU ran out of memory, so it goes on with less at a time, which is slower."


class Stopped(Exception):
    """The render ends between two steps: the worker is to end, or the job is not its own any more."""


class OutOfMemory(UserError):
    """A film that does not fit the device, not even with less at a time."""


@dataclass(frozen=True)
class Kit:
    """What a worker films with. `crowded` is what it learnt: films of a model and a size that did not fit at once."""

    settings: EngineSettings
    jobs: Jobs
    takes: Takes
    media: Media
    shelf: ModelShelf
    pace: Pace = field(default_factory=Pace)
    crowded: set[tuple[str, Size]] = field(default_factory=set)


@dataclass(frozen=True)
class Shoot:
    """The filming of one attempt. `lost` is set when the job is not its own any more, `stopping` when it is to end."""

    kit: Kit
    job: Job
    lost: threading.Event
    stopping: threading.Event

    @property
    def folder(self) -> Path:
        """Where the finished windows are."""
        return render_folder(self.kit.settings.renders, self.job.id)

    def film(self) -> Film:
        """The film of the job, its files already in the media store. Stopped, DiskFull, or what went wrong."""
        self._open()
        self.kit.pace.start()
        self._on_progress(loading(self.job.plan))
        self._lay_out(self.job.plan, self.folder)
        started = time.monotonic()
        rendering = self._rendering(self.job.plan, self.folder, self._on_progress)
        return self._kept(rendering, time.monotonic() - started)

    def gathered(self) -> Film | None:
        """The finished windows of a job that came to nothing, as a film; None if there is none."""
        if not self.folder.exists():
            return None
        self._open()
        self._lay_out(self.job.plan, self.folder)
        shelf = self.kit.shelf
        rendering = gather(self.job.plan, self.folder, shelf.finish_dir, shelf.device)
        if rendering is None:
            return None
        film = self._kept(rendering, filming_seconds(self.kit.jobs.events(self.job.id)))
        whole = rendering.windows == len(self.job.plan.windows)
        return film if whole else film.model_copy(update={"windows": rendering.windows})

    # ---- inside ----

    def _rendering(self, plan: Plan, folder: Path, on_progress: OnProgress) -> Rendering:
        """A render; where memory runs out, once more in the next smaller tier, from the first unfinished window on, and
        the person is told. The worker stays in that tier."""
        with contextlib.suppress(torch.OutOfMemoryError):  # whose traceback holds the tensors that did not fit
            return render(plan, self.kit.shelf.load(plan), folder, on_progress)
        if self.kit.shelf.shrink() is not None:
            self.kit.crowded.add((plan.model, plan.size))
            self.kit.jobs.remark(self.job.id, self.job.attempts, AGAIN_WITH_LESS)
            with contextlib.suppress(torch.OutOfMemoryError):
                return render(plan, self.kit.shelf.load(plan), folder, on_progress)
        raise OutOfMemory(f"A film of {plan.size} does not fit this GPU's memory. Ask for a smaller one.")

    def _kept(self, rendering: Rendering, seconds: float) -> Film:
        """A rendering as a film, in the media store."""
        plan = self.job.plan
        return Film(
            video=self.kit.media.add_file(rendering.video, move=True),
            tail=self.kit.media.add_file(rendering.tail),
            frames=rendering.frames,
            render_seconds=seconds,
            trained=self.kit.shelf.find(plan.model).trained,
            measured=rendering.measured,
            short_of_memory=(plan.model, plan.size) in self.kit.crowded,
        )

    def _on_progress(self, progress: Progress) -> None:
        job, jobs = self.job, self.kit.jobs
        if progress.stage is Stage.FILMED:  # also when it is the last thing that is told
            jobs.window_filmed(job.id, job.attempts, progress.window)
        if self.lost.is_set() or self.stopping.is_set():
            raise Stopped
        if not jobs.progress(job.id, job.attempts, self.kit.pace.timed(progress)):
            self.lost.set()

    def _open(self) -> None:
        """The work folder: as it was left, or as a job that failed left it, or a new one."""
        if not belongs_to(self.folder, self.job.plan):  # of a job of this number in another database
            shutil.rmtree(self.folder)
        if not self.folder.exists():
            self._take_up()
        self.folder.mkdir(parents=True, exist_ok=True)

    def _lay_out(self, plan: Plan, folder: Path) -> None:
        """Put the files that a plan names into a work folder, as links."""
        (folder / "media").mkdir(parents=True, exist_ok=True)
        for media in plan.media:
            link = folder / "media" / media
            if not link.exists():
                link.unlink(missing_ok=True)  # to a video that was evicted meanwhile
                link.symlink_to(self._file(media, folder).resolve())

    def _file(self, media: MediaId, folder: Path) -> Path:
        """A file of the media store. An evicted video is filmed again from its plan, which gives the same; so is what
        that one continues."""
        take = None if self.kit.media.has(media) else self.kit.takes.by_video(media)
        if take is None:
            self.kit.media.require([media])
            return self.kit.media.path(media)
        inner = folder / f"take-{take.id}"
        self._lay_out(take.plan, inner)
        return self._rendering(take.plan, inner, self._on_restoring).video

    def _on_restoring(self, progress: Progress) -> None:
        if progress.stage is not Stage.FILMED:
            self._on_progress(progress.model_copy(update={"stage": Stage.RESTORING}))

    def _take_up(self) -> None:
        """What a job that failed left of the same plan, so that its finished windows are not filmed again."""
        jobs = self.kit.jobs
        for left in (render_folder(self.kit.settings.renders, job) for job in jobs.failed_since(KEPT_SECONDS)):
            if (left / "plan.json").is_file() and belongs_to(left, self.job.plan):
                with contextlib.suppress(FileNotFoundError):  # another worker was first
                    left.rename(self.folder)
                    for number in WorkFolder(self.folder, self.job.plan).finished:
                        jobs.window_filmed(self.job.id, self.job.attempts, number)
                    return


def loading(plan: Plan) -> Progress:
    """The progress of a render that has not begun."""
    return Progress(stage=Stage.LOADING, window=1, windows=len(plan.windows), step=0, steps=plan.sampling.steps)


def filming_seconds(events: Iterable[JobEvent]) -> float:
    """How long the finished windows of a job took, attempts together: in each from its claim to its last window."""
    spent, begun, last = 0.0, None, None
    for event in events:
        if event.kind == "claimed":
            spent += (last - begun).total_seconds() if begun and last else 0.0
            begun, last = event.at, None
        elif event.kind == "window":
            last = event.at
    return spent + ((last - begun).total_seconds() if begun and last else 0.0)
