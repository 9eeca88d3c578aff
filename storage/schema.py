"""The words of Longtake as frozen values: request -> intent -> storyboard -> plan -> job -> take.

Everything that crosses a process, a disk or a language model is one of these. A Plan is a pure value: same plan,
same video. Identities, states and times belong to Job and Take.
"""

from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from storage.timeline import DROPPED_FRAMES, FPS, film_frames

MediaId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # SHA-256 of the file's bytes
Seed = Annotated[int, Field(ge=0, lt=2**63)]

MAGCACHE_STEPS = 50  # at most; its ratios were measured over 40


class Value(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UserError(Exception):
    """A caller's mistake. The text is one clear sentence, shown to the person as it is."""


# ---- what a person asks ---------------------------------------------------------------------------------------------


class Size(Value):
    """Pixels of a video; the network needs multiples of 16."""

    width: Annotated[int, Field(ge=16, multiple_of=16)]
    height: Annotated[int, Field(ge=16, multiple_of=16)]

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Image(Value):
    """A picture in the media store, upright, with its size in pixels."""

    media: MediaId
    name: str
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class Clip(Value):
    """A video file in the media store that is to be continued."""

    media: MediaId
    name: str
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    seconds: Annotated[float, Field(gt=0)]


class Request(Value):
    """What a person asked, before anybody understood it."""

    text: str
    channel: str
    requester: str
    images: tuple[Image, ...] = ()
    clip: Clip | None = None
    keep_frames: int | None = None  # of `clip`, at 16 fps: n keeps the first n, -n drops the last n, None keeps all
    seconds: Annotated[float, Field(gt=0)] | None = None
    size: Size | None = None
    seed: Seed | None = None
    replies_to: int | None = None  # the take that the message answers


class Wishes(Value):
    """Settings that a person asked for by words. None and False: not asked for."""

    pace: Literal["fast", "best"] | None = None  # of rendering: soon, or as good as it gets
    shape: Literal["portrait", "landscape", "square"] | None = None
    lines: Annotated[int, Field(gt=0)] | None = None  # 720 is "720p"
    size: Size | None = None
    motion: Literal["more", "less"] | None = None
    steady: bool = False  # the camera
    seed: Seed | None = None

    def over(self, others: "Wishes") -> "Wishes":
        """These wishes, and of the others what these leave open."""
        return Wishes(**{**others.model_dump(exclude_defaults=True), **self.model_dump(exclude_defaults=True)})


class IntentKind(StrEnum):
    """What a person may want."""

    FILM = "film"
    CONTINUE = "continue"
    ANOTHER_TAKE = "another_take"
    REVISE = "revise"
    APPROVE = "approve"  # of the draft: film it as it is
    CANCEL = "cancel"
    STATUS = "status"
    SETTINGS = "settings"
    HELP = "help"


class Intent(Value):
    """What the agent made of a request."""

    kind: IntentKind
    story: str = ""
    seconds: Annotated[float, Field(gt=0)] | None = None
    take: int | None = None  # the take to continue, film again or revise
    job: int | None = None  # the job to cancel
    avoid: tuple[str, ...] = ()  # what must not be seen
    wishes: Wishes = Wishes()


# ---- what the director writes ---------------------------------------------------------------------------------------


class Beat(Value):
    """An action at a time. `seconds` counts in the window's own clock."""

    seconds: Annotated[float, Field(ge=0)]
    action: Annotated[str, StringConstraints(min_length=1)]


class StoryboardWindow(Value):
    """One window in words. `anchor` is the number of a picture of the request, from 1; None keeps the one before."""

    scene: str
    beats: tuple[Beat, ...] = ()
    camera: str = ""
    anchor: Annotated[int, Field(ge=1)] | None = None
    anchor_reason: str = ""  # why this picture, for the person; nothing reads it


class Storyboard(Value):
    """What the director writes: words only. The one schema that a language model sees."""

    title: str
    windows: Annotated[tuple[StoryboardWindow, ...], Field(min_length=1)]


# ---- what the engine films ------------------------------------------------------------------------------------------


class StartImage(Value):
    """Film from a picture (mode S of the source): it is the first frame."""

    kind: Literal["image"] = "image"
    image: MediaId
    head_windows: Literal[0] = 0


class ContinueTake(Value):
    """Continue a take from its stored tail latent, with nothing re-encoded (mode L)."""

    kind: Literal["take"] = "take"
    video: MediaId
    tail: MediaId
    head_windows: Annotated[int, Field(ge=1)]  # windows filmed before: the next one is head_windows + 1
    head_frames: Annotated[int, Field(ge=1)]


class ContinueVideo(Value):
    """Continue any video file from its last frames (mode V)."""

    kind: Literal["video"] = "video"
    video: MediaId
    keep_frames: int | None = None
    head_windows: Literal[0] = 0


Source = Annotated[StartImage | ContinueTake | ContinueVideo, Field(discriminator="kind")]


class Solver(StrEnum):
    """Which integrator walks down the sigmas."""

    UNIPC = "unipc"
    EULER = "euler"
    DPMPP = "dpm++"


class Expert(StrEnum):
    """Which of the two networks predicts: the one for much noise, or the one for little."""

    HIGH_NOISE = "high_noise"
    LOW_NOISE = "low_noise"


class Phase(Value):
    """A stretch of the denoising: `expert` predicts with `guidance` while the noise level is above `above`."""

    expert: Expert
    above: Annotated[float, Field(ge=0, le=1)]
    guidance: Annotated[float, Field(ge=1)] = 1.0


class GuidanceRule(StrEnum):
    """How the velocities for the positive and the negative prompt become one; see engine/guidance.py."""

    CFG = "cfg"
    CFG_STAR = "cfg*"
    APG = "apg"


class NAG(Value):
    """Normalized attention guidance: the negative prompt at work inside the cross-attention, also without guidance.

    It moves away from the negative text by `scale`, no further than `tau` times the length, and takes `alpha` of that.
    """

    scale: Annotated[float, Field(gt=1, le=20)]
    tau: Annotated[float, Field(ge=1, le=5)] = 3.5
    alpha: Annotated[float, Field(ge=0, le=2)] = 0.5


class SkipLayers(Value):
    """Skip-layer guidance: the negative prediction leaves out `blocks`, between two shares of the steps."""

    blocks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (9,)
    start: Annotated[float, Field(ge=0, le=1)] = 0.1
    stop: Annotated[float, Field(ge=0, le=1)] = 0.9

    def covers(self, step: int, steps: int) -> bool:
        """Whether step number `step`, from 0, of `steps` leaves them out."""
        return int(self.start * steps) <= step < int(self.stop * steps)


class MagCacheSettings(Value):
    """Step skipping, see engine/magcache.py: about `speed` times fewer runs of the network, for a film that is close.

    The first steps, up to and with the one at the share `start` of all, are computed in any case.
    """

    speed: Annotated[float, Field(ge=1.5, le=2.5, multiple_of=0.25)] = 1.75
    start: Annotated[float, Field(ge=0, le=1)] = 0.0


class Sampling(Value):
    """How a window is denoised.

    `sigmas` are explicit, so that a plan never depends on how a grid is computed; they fall strictly. The first phase
    whose `above` lies under the noise level is in force; the last one must reach down to 0.
    """

    solver: Solver
    sigmas: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2)]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=3)]
    rule: GuidanceRule = GuidanceRule.CFG
    zero_steps: Annotated[int, Field(ge=0)] = 0  # CFG-Zero: this many first steps have no velocity
    skip_layers: SkipLayers | None = None
    nag: NAG | None = None
    magcache: MagCacheSettings | None = None

    @model_validator(mode="after")
    def _falls(self) -> "Sampling":
        thresholds = [phase.above for phase in self.phases]
        for name, values in (("sigmas", self.sigmas), ("phases", thresholds)):
            if any(a <= b for a, b in pairwise(values)):
                raise ValueError(f"{name} must fall strictly, got {tuple(values)}")
        if thresholds[-1] != 0:
            raise ValueError(f"the last phase must reach down to 0, got {thresholds[-1]}")
        return self

    @model_validator(mode="after")
    def _few_enough_to_skip(self) -> "Sampling":
        if self.magcache and self.steps > MAGCACHE_STEPS:
            raise ValueError(f"MagCache is for at most {MAGCACHE_STEPS} steps, got {self.steps}")
        return self

    @property
    def steps(self) -> int:
        """Network evaluations along the grid, one between two sigmas."""
        return len(self.sigmas) - 1


class Lora(Value):
    """A LoRA by name. Its strength, as in engine/strengths.py: "0.8", or "1;0" by phase, or "1,0.5" by step."""

    name: Annotated[str, StringConstraints(pattern=r"^[^/\\.][^/\\]*$")]
    strength: Annotated[str, StringConstraints(pattern=r"^[-+0-9.,;e]+$")] = "1"


class Timing(StrEnum):
    """What keeps the beats to their seconds: the words of the prompt, or also engine/relay.py."""

    TEXT = "text"
    RELAY = "relay"


class BeatSpan(Value):
    """Where a window's prompt tells of a beat: its characters from `start` to before `stop`. Seconds of the window."""

    start: Annotated[int, Field(ge=0)]
    stop: Annotated[int, Field(gt=0)]
    seconds: Annotated[float, Field(ge=0)]


class Window(Value):
    """One window with every number: 81 frames, its own prompt and seed."""

    prompt: str
    negative: str
    seed: Seed
    anchor: MediaId | None = None  # None: as the window before; in the first window, what the source gives
    beats: tuple[BeatSpan, ...] = ()  # in the order of the prompt; they do not overlap

    @model_validator(mode="after")
    def _beats_lie_in_the_prompt(self) -> "Window":
        edges = [edge for beat in self.beats for edge in (beat.start, beat.stop)]
        if edges != sorted(edges) or any(beat.start == beat.stop for beat in self.beats):
            raise ValueError(f"beats must follow one another in the prompt, got {edges}")
        if edges and edges[-1] > len(self.prompt):
            raise ValueError(f"a beat ends at character {edges[-1]} of a prompt of {len(self.prompt)}")
        return self


class Plan(Value):
    """Storyboard + every number. A pure value: same plan, same video. No id, no time."""

    storyboard: Storyboard
    size: Size
    source: Source
    windows: Annotated[tuple[Window, ...], Field(min_length=1)]
    sampling: Sampling
    seed: Seed
    model: str
    loras: tuple[Lora, ...] = ()
    timing: Timing = Timing.TEXT

    @model_validator(mode="after")
    def _one_storyboard_window_each(self) -> "Plan":
        if len(self.windows) != len(self.storyboard.windows):
            raise ValueError(f"{len(self.storyboard.windows)} storyboard windows for {len(self.windows)} windows")
        return self

    @property
    def media(self) -> frozenset[MediaId]:
        """Every file of the media store that filming this plan reads."""
        source = {value for name, value in self.source if name in ("image", "video", "tail")}
        return frozenset(source | {window.anchor for window in self.windows if window.anchor})

    @property
    def new_seconds(self) -> float:
        """Seconds that filming this plan adds to what its source holds."""
        continues = not isinstance(self.source, StartImage)
        return (film_frames(len(self.windows)) - (DROPPED_FRAMES if continues else 0)) / FPS

    @property
    def first_window(self) -> int:
        """Number of the plan's first window in the whole film, from 1."""
        return self.source.head_windows + 1


class Draft(Value):
    """A plan under discussion: shown, and waiting for a word. `parent` and `again_of` are as in an errand."""

    request: Request  # its pictures are those that the storyboard numbers
    plan: Plan
    parent: int | None = None
    again_of: int | None = None


# ---- what is kept ---------------------------------------------------------------------------------------------------


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
    FILMED = "filmed"  # the window is finished and kept
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
        """Share of the whole render that is done, in [0, 1]; a decode counts as one step."""
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

    `tail` is a safetensors file of two float32 latents [16, 1, h, w]: "tail", the last denoised latent frame, and
    "anchor", the anchor of the last window.
    """

    video: MediaId
    tail: MediaId
    frames: Annotated[int, Field(gt=0)]
    render_seconds: Annotated[float, Field(ge=0)]
    trained: bool = True  # False: made with untrained weights, which every face says

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
