"""What a storyboarder is told, and the seam at which a language model takes the rules' place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from storage.schema import Storyboard
from storage.timeline import DROPPED_FRAMES, FPS, film_seconds, stride_seconds, window_at, window_seconds

FIRST_SHOWN_SECONDS = DROPPED_FRAMES / FPS  # 0.3125: where a later window begins to be shown, in its own clock


@dataclass(frozen=True)
class Clock:
    """Seconds of the film against the new windows, which are counted from 0 here.

    `head_seconds` of the film exist already. New windows that follow something show nothing before their 0.3125 s.
    """

    windows: int
    head_seconds: float = 0.0
    discarded: int = 0  # frames of the end of every window

    @property
    def continues(self) -> bool:
        """Whether something was filmed before."""
        return self.head_seconds > 0

    @property
    def end(self) -> float:
        """Seconds of the film with the new windows."""
        return self.head_seconds + (
            self.windows * self.stride if self.continues else film_seconds(self.windows, self.discarded)
        )

    def at(self, film_time: float) -> tuple[int, float]:
        """Where a moment is shown: (new window from 0, seconds of its clock). Unbounded to the right."""
        number, seconds = window_at(film_time - self._start, self.discarded)
        return number - 1, seconds

    def shown_from(self, window: int) -> float:
        """Film time at which a new window begins to be shown."""
        return self.film_time(window, self.first_shown(window))

    def shown_until(self, window: int) -> float:
        """Film time at which a new window ends."""
        return self.film_time(window, self.last_shown)

    def first_shown(self, window: int) -> float:
        """Seconds of a new window's clock at which it begins to be shown."""
        return FIRST_SHOWN_SECONDS if self.continues or window else 0.0

    def film_time(self, window: int, seconds: float) -> float:
        """Film time of a moment of a new window's clock."""
        return self._start + self.stride * window + seconds

    @property
    def last_shown(self) -> float:
        """Seconds of every new window's clock until which it is shown."""
        return window_seconds(self.discarded)

    @property
    def stride(self) -> float:
        """Seconds that a new window adds to a film that goes on."""
        return stride_seconds(self.discarded)

    @property
    def _start(self) -> float:
        """Film time of the first new window's zero."""
        return self.head_seconds - self.first_shown(0)


@dataclass(frozen=True)
class Look:
    """What is known of a picture without looking at it, and the picture itself for a model that can look."""

    name: str
    width: int
    height: int
    colours: tuple[str, ...] = ()  # the main ones, most of it first
    jpeg: bytes = b""  # small; empty where nobody looks


@dataclass(frozen=True)
class Offer:
    """A LoRA of the library that may be chosen for a story, in words."""

    name: str
    description: str


@dataclass(frozen=True)
class Brief:
    """Everything that a storyboard depends on: the story in the person's words, and the facts it must fit.

    A window lasts 5.0625 s of its own clock, less the frames that are discarded; each but the first of a film begins to
    be shown at 0.3125 s. `scene` and `state` are the last window of the film that is continued and its last action.
    `former` is the storyboard that `story` wants changed.
    """

    story: str
    windows: int
    first_window: int = 1  # number in the whole film
    head_seconds: float = 0.0  # of the film that is continued
    pictures: int = 0
    scene: str = ""
    state: str = ""
    former: Storyboard | None = None
    looks: tuple[Look, ...] = ()  # of the pictures, where somebody has looked
    preset: str = ""  # that will film it
    discard_frames: int = 0  # of the end of every window
    triggers: tuple[str, ...] = ()  # words of its LoRAs, with which every prompt begins
    offers: tuple[Offer, ...] = ()  # LoRAs that a language model may choose from, since nobody named one

    @property
    def clock(self) -> Clock:
        """The windows against the film's seconds."""
        return Clock(self.windows, self.head_seconds, self.discard_frames)


@dataclass(frozen=True)
class Told:
    """A storyboard, and a sentence for the person on who planned it, and perhaps a LoRA that it is to be filmed with.

    `failed` says why somebody else stood in for who should have.
    """

    storyboard: Storyboard
    credit: str
    failed: str = ""
    lora: str = ""  # of those that the brief offers, if one was chosen


OnPlanning = Callable[[str], None]  # is told in a few words what the director is doing


class Storyboarder(Protocol):
    """Whoever turns a brief into a storyboard of exactly `brief.windows` windows: the rules, or a language model."""

    async def storyboard(self, brief: Brief, on_planning: OnPlanning = ...) -> Told:
        """A storyboard for a brief. A story that cannot be filmed is a UserError."""
        ...
