"""How long films will take: measured from films like them, from the running job and from the queue."""

from dataclasses import dataclass
from datetime import UTC, datetime

from storage.jobs import Jobs
from storage.schema import Job, JobState, Plan
from storage.takes import Takes

LIKE = 5  # films of the same kind that an estimate is made from


@dataclass(frozen=True)
class Estimate:
    """Seconds until something happens; None where nothing like it was ever measured."""

    starts: float | None
    ends: float | None


class Pace:
    """Of the workers that share a database."""

    def __init__(self, jobs: Jobs, takes: Takes) -> None:
        self._jobs = jobs
        self._takes = takes

    def window_seconds(self, plan: Plan) -> float | None:
        """How long a window of such a plan took lately; None if none was filmed."""
        alike = self._takes.like(plan, LIKE)
        if not alike:
            return None
        return sum(take.film.render_seconds for take in alike) / sum(len(take.plan.windows) for take in alike)

    def estimate(self, job: Job, workers: int = 1) -> Estimate:
        """When a job starts and ends, if `workers` share the queue."""
        if job.state is JobState.RUNNING:
            return Estimate(0.0, self._left(job))
        ahead = []
        for other in self._jobs.queue():
            if other.id == job.id:
                break
            ahead.append(self._left(other))
        own = self._left(job)
        if any(seconds is None for seconds in ahead):
            return Estimate(None, None)
        starts = sum(seconds for seconds in ahead if seconds is not None) / max(1, workers)
        return Estimate(starts, None if own is None else starts + own)

    def seconds_until_free(self, person: str) -> float | None:
        """Until a person's first job is done."""
        own = next((job for job in self._jobs.queue() if job.errand.requester == person), None)
        return self.estimate(own).ends if own else None

    def _left(self, job: Job) -> float | None:
        """Seconds that a job still takes."""
        progress = job.progress
        if job.state is JobState.RUNNING and progress and progress.seconds_left is not None:
            return progress.seconds_left
        window = self.window_seconds(job.plan)
        if window is None:
            return None
        whole = window * len(job.plan.windows)
        if job.state is not JobState.RUNNING or job.started is None:
            return whole
        return max(0.0, whole - (datetime.now(UTC) - job.started).total_seconds())
