"""The line as it stands: who is filmed, who waits, and how long it takes.

It is read every second while cards are open. So it asks the job table for turns alone; what a job costs follows from
its plan, which never changes and is read once.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from storage.job_reader import Turn
from storage.jobs import Jobs
from storage.schema import Job, Plan, Take
from storage.takes import Takes

LIKE = 5  # films of the same kind that an estimate is made from
SPARE_KINDS = 100  # that are remembered though nothing of them waits
AT_ONCE = 200  # plans that are read in one statement, so that nobody waits long for the database


@dataclass(frozen=True)
class Estimate:
    """Seconds until a job starts and ends; None where nothing like it was ever measured."""

    starts: float | None
    ends: float | None


@dataclass(frozen=True)
class Place:
    """A job in the line. `number` is its place among those that wait, from 1; None is being filmed."""

    job: int
    requester: str
    number: int | None
    ahead: int  # jobs that are done before this one starts
    estimate: Estimate


@dataclass(frozen=True)
class Cost:
    """What filming a plan takes: so many windows that cost as much as those of another plan, the first of its kind."""

    like: Plan
    windows: int


class Line:
    """Jobs that are filmed or wait, in their order; as one worker would go through them."""

    def __init__(self, turns: Iterable[Turn], left: Callable[[int], float | None]) -> None:
        self.places: dict[int, Place] = {}
        starts: float | None = 0.0
        waiting = 0
        for ahead, turn in enumerate(turns):
            waiting += turn.place is not None
            number, begins = (None, 0.0) if turn.place is None else (waiting, starts)
            seconds = left(turn.job)
            ends = None if begins is None or seconds is None else begins + seconds
            self.places[turn.job] = Place(turn.job, turn.requester, number, ahead, Estimate(begins, ends))
            starts = ends if starts is not None else None

    def soonest(self, person: str) -> float | None:
        """Seconds until a person's first job is done."""
        own = next((place for place in self.places.values() if place.requester == person), None)
        return own.estimate.ends if own else None


class Lines:
    """The line of one studio, time and again. May be used from several threads."""

    def __init__(self, jobs: Jobs, takes: Takes) -> None:
        self._jobs = jobs
        self._takes = takes
        self._costs: dict[int, Cost | None] = {}  # by job; None: its plan cannot be read
        self._kinds: dict[tuple[object, ...], Plan] = {}  # what a window's cost follows from, and the first such plan
        self._lock = threading.Lock()

    def now(self) -> Line:
        """The line as it stands. A job that cannot be read is left out, as everywhere."""
        turns = self._jobs.turns()
        with self._lock:
            costs = self._known([turn.job for turn in turns])
        running = {job.id: job for job in self._jobs.some(turn.job for turn in turns if turn.place is None)}
        seconds: dict[int, float | None] = {}  # of a window, by the id() of a plan like it

        def left(job: int) -> float | None:
            """Seconds that a job still takes: as its worker measures, or as films like it took."""
            if job in running and (progress := running[job].progress) and progress.seconds_left is not None:
                return progress.seconds_left
            cost, kind = costs[job], id(costs[job].like)
            if kind not in seconds:
                seconds[kind] = _a_window(self._takes.like(cost.like, LIKE))
            window = seconds[kind]
            gone = _gone(running[job]) if job in running else 0.0
            return None if window is None else max(0.0, window * cost.windows - gone)

        return Line([turn for turn in turns if turn.job in costs], left)

    # ---- inside ----

    def _known(self, jobs: Sequence[int]) -> Mapping[int, Cost]:
        """What these jobs cost; what others did is forgotten."""
        new = [job for job in jobs if job not in self._costs]
        self._costs = {job: self._costs[job] for job in jobs if job in self._costs}
        if len(self._kinds) > SPARE_KINDS + len(self._costs):
            self._kinds = {}
        for begin in range(0, len(new), AT_ONCE):
            some = new[begin : begin + AT_ONCE]
            self._costs |= dict.fromkeys(some)
            self._costs |= {job.id: self._cost(job.plan) for job in self._jobs.some(some)}
        return {job: cost for job, cost in self._costs.items() if cost is not None}

    def _cost(self, plan: Plan) -> Cost:
        like = self._kinds.setdefault((plan.model, plan.size, plan.sampling), plan)
        return Cost(like, len(plan.windows))


def _gone(job: Job) -> float:
    """Seconds since a job that shows progress was begun."""
    return (datetime.now(UTC) - job.started).total_seconds() if job.started and job.progress else 0.0


def _a_window(takes: Sequence[Take]) -> float | None:
    if not takes:
        return None
    return sum(take.film.render_seconds for take in takes) / sum(len(take.plan.windows) for take in takes)
