"""What the engine films: the storyboard and every number."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from storage.schema.lora import Lora
from storage.schema.sampling import Sampling
from storage.schema.size import Size
from storage.schema.storyboard import Storyboard
from storage.schema.value import MediaId, Seed, Value
from storage.timeline import DROPPED_FRAMES, FPS, film_frames


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


class Guide(Value):
    """A video that the film follows (GUV), within a mask or everywhere (GVA with one). As in the plain i2v_2_2.

    `denoising` is the share of the steps that are taken, from noise that the guide shows through; for the first
    `masking` of the steps what lies outside of the mask is kept from the guide.
    """

    video: MediaId
    mask: MediaId | None = None  # white where the film may change
    denoising: Annotated[float, Field(gt=0, le=1)] = 0.9
    masking: Annotated[float, Field(ge=0, le=1)] = 0.1

    @property
    def leads(self) -> bool:
        """Whether anything of it is seen in the film: not, with all steps taken and nothing kept outside of a mask."""
        return self.denoising < 1 or (self.mask is not None and self.masking > 0)


NetworkName = Annotated[str, StringConstraints(pattern=r"^([^/\\.][^/\\]*)?$")]  # the stem of a file, or ""


class Finish(Value):
    """What is done to a film's frames behind the network, see engine/finish. The defaults do nothing."""

    interpolation: Literal[1, 2, 4] = 1  # frames a second, times this
    interpolator: NetworkName = ""  # a RIFE checkpoint by name; empty: FFmpeg's motion-compensated filter
    upscaling: Annotated[float, Field(ge=1, le=4)] = 1.0  # of width and height; both become multiples of 16
    upscaler: NetworkName = ""  # a model by name; empty: Lanczos
    deblocking: Annotated[float, Field(ge=0, le=1)] = 0.0
    denoising: Annotated[float, Field(ge=0, le=1)] = 0.0
    grain: Annotated[float, Field(ge=0, le=1)] = 0.0
    grain_saturation: Annotated[float, Field(ge=0, le=1)] = 0.5

    @property
    def fps(self) -> int:
        """Frames a second of the finished film. Every other number of a film counts frames at 16 a second."""
        return FPS * self.interpolation

    def size_of(self, filmed: Size) -> Size:
        """The finished size of what is filmed at a size."""
        if self.upscaling == 1:
            return filmed
        width, height = (max(16, 16 * round(side * self.upscaling / 16)) for side in (filmed.width, filmed.height))
        return Size(width=width, height=height)


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
    color_correction: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of the colours before a join; 0 is off
    discard_frames: Annotated[int, Field(ge=0, le=20, multiple_of=4)] = 0  # of the end of every window
    guide: Guide | None = None
    finish: Finish = Finish()

    @model_validator(mode="after")
    def _one_storyboard_window_each(self) -> "Plan":
        if len(self.windows) != len(self.storyboard.windows):
            raise ValueError(f"{len(self.storyboard.windows)} storyboard windows for {len(self.windows)} windows")
        return self

    @property
    def media(self) -> frozenset[MediaId]:
        """Every file of the media store that filming this plan reads."""
        source = {value for name, value in self.source if name in ("image", "video", "tail")}
        guide = (self.guide.video, self.guide.mask) if self.guide else ()
        named = (*guide, *(window.anchor for window in self.windows))
        return frozenset(source.union(media for media in named if media))

    @property
    def chosen_loras(self) -> tuple[Lora, ...]:
        """The LoRAs that somebody chose from the library; the others are the preset's."""
        return tuple(lora for lora in self.loras if lora.sha256)

    @property
    def new_seconds(self) -> float:
        """Seconds that filming this plan adds to what its source holds."""
        continues = not isinstance(self.source, StartImage)
        frames = film_frames(len(self.windows), self.discard_frames)
        return (frames - (DROPPED_FRAMES if continues else 0)) / FPS

    def first(self, windows: int) -> "Plan":
        """The plan of the first so many windows: its film is the beginning of this one's."""
        if not 0 < windows <= len(self.windows):
            raise ValueError(f"a plan of {len(self.windows)} windows has no first {windows}")
        told = self.storyboard.model_copy(update={"windows": self.storyboard.windows[:windows]})
        return self.model_copy(update={"storyboard": told, "windows": self.windows[:windows]})

    @property
    def first_window(self) -> int:
        """Number of the plan's first window in the whole film, from 1."""
        return self.source.head_windows + 1
