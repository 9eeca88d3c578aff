"""The line as it stands: who is filmed, who waits, and how long it takes. Read once, asked many times."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from storage.jobs import Jobs
from storage.schema import Job, JobState, Plan, Take
from storage.takes import Takes

LIKE = 5  # films of the same kind that an estimate is made from


@dataclass(frozen=True)
class Estimate:
    """Seconds until a job starts and ends; None where nothing like it was ever measured."""

    starts: float | None
    ends: float | None


@dataclass(frozen=True)
class Place:
    """A job in the line. `number` is its place among those that wait, from 1; None is being filmed."""

    job: Job
    number: int | None
    ahead: int  # jobs that are done before this one starts
    estimate: Estimate


class Line:
    """Jobs that are filmed or wait, in their order; as one worker would go through them."""

    def __init__(self, jobs: Jobs, takes: Takes) -> None:
        self._takes = takes
        self._windows: dict[tuple[object, ...], float | None] = {}  # seconds a window, by what it costs
        self.places: dict[int, Place] = {}
        starts: float | None = 0.0
        waiting = 0
        queue = jobs.queue()
        for ahead, job in enumerate(queue):
            runs = job.state is JobState.RUNNING
            waiting += not runs
            left = self._left(job)
            begins = 0.0 if runs else starts
            ends = None if begins is None or left is None else begins + left
            self.places[job.id] = Place(job, None if runs else waiting, ahead, Estimate(begins, ends))
            starts = ends if starts is not None and ends is not None else None

    def window_seconds(self, plan: Plan) -> float | None:
        """How long a window of such a plan took lately; None if none was filmed."""
        kind = (plan.model, plan.size, plan.sampling)
        if kind not in self._windows:
            self._windows[kind] = _a_window(self._takes.like(plan, LIKE))
        return self._windows[kind]

    def soonest(self, person: str) -> float | None:
        """Seconds until a person's first job is done."""
        own = next((place for place in self.places.values() if place.job.errand.requester == person), None)
        return own.estimate.ends if own else None

    def _left(self, job: Job) -> float | None:
        """Seconds that a job still takes: as its worker measures, or as films like it took."""
        if job.state is JobState.RUNNING and job.progress and job.progress.seconds_left is not None:
            return job.progress.seconds_left
        window = self.window_seconds(job.plan)
        if window is None:
            return None
        gone = (datetime.now(UTC) - job.started).total_seconds() if job.started and job.progress else 0.0
        return max(0.0, window * len(job.plan.windows) - gone)


def _a_window(takes: Sequence[Take]) -> float | None:
    if not takes:
        return None
    return sum(take.film.render_seconds for take in takes) / sum(len(take.plan.windows) for take in takes)
