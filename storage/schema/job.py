"""What is kept: drafts, jobs and takes."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from storage.schema.measured import Measured
from storage.schema.plan import Plan
from storage.schema.request import Request
from storage.schema.value import MediaId, Value
from storage.timeline import FPS


class Draft(Value):
    """A plan under discussion: shown, and waiting for a word. `parent` and `again_of` are as in an errand."""

    request: Request  # its pictures are those that the storyboard numbers
    plan: Plan
    parent: int | None = None
    again_of: int | None = None


class JobState(StrEnum):
    """Where a job is. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Nothing will happen to the job any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Stage(StrEnum):
    """What a worker is doing for a job."""

    LOADING = "loading"
    DENOISING = "denoising"
    DECODING = "decoding"
    FILMED = "filmed"  # the window is finished and kept; the next one may be on its way
    JOINING = "joining"


class Progress(Value):
    """How far a render is. Windows and steps are counted from 1; `step` 0 is before the first."""

    stage: Stage
    window: int
    windows: int
    step: int
    steps: int
    seconds_left: float | None = None  # measured, None before the first step

    @property
    def fraction(self) -> float:
        """Share of the whole render that is done, in [0, 1]; a decode counts as one step.

        It never falls, but that FILMED says what is kept, when more than that is done.
        """
        if self.stage in (Stage.FILMED, Stage.JOINING):
            return self.window / self.windows
        return (self.window - 1 + self.step / (self.steps + 1)) / self.windows


class Errand(Value):
    """Who wants a plan filmed, where, and what it descends from: everything of a job that the plan must not hold."""

    channel: str
    requester: str
    parent: int | None = None  # the take that this one continues
    again_of: int | None = None  # the first take of which this is another take
    message: str | None = None  # the message that asked
    restricted: bool = False  # the take belongs into age-restricted channels, or behind a spoiler


class Job(Value):
    """A plan with an identity."""

    id: int
    state: JobState
    plan: Plan
    errand: Errand
    attempts: int
    worker: str | None
    progress: Progress | None
    error: str | None
    take: int | None
    created: datetime
    started: datetime | None
    finished: datetime | None


class JobEvent(Value):
    """Something that happened to a job."""

    id: int
    job: int
    at: datetime
    kind: str  # queued, claimed, progress, window, released, done, failed, cancelled, lost
    attempt: int
    text: str


class Film(Value):
    """What a render leaves: the whole video, and what a continuation needs.

    `tail` is a safetensors file: two float32 latents [16, 1, h, w], "tail", the last denoised latent frame, and
    "anchor", the anchor of the last window; "shown", uint8 [F, H, W, 3], the last frames before the film's finish; and
    "measured", as here, in its header. `measured` tells of the windows of the whole film, continued ones included, but
    for those that were filmed before windows were measured.
    """

    video: MediaId
    tail: MediaId
    frames: Annotated[int, Field(gt=0)]  # at 16 a second, whatever the file's own rate is
    render_seconds: Annotated[float, Field(ge=0)]
    trained: bool = True  # False: made with untrained weights, which every face says
    measured: tuple[Measured, ...] = ()

    @property
    def seconds(self) -> float:
        """Length at 16 fps."""
        return self.frames / FPS


class Take(Value):
    """A finished video with its plan and its place in the channel's tree."""

    id: int
    job: int
    plan: Plan
    film: Film
    errand: Errand
    created: datetime

    @property
    def windows(self) -> int:
        """Windows of the whole film, the continued ones included."""
        return self.plan.source.head_windows + len(self.plan.windows)
