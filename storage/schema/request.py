"""What a person asks, and what the agent made of it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from storage.schema.lora import Lora
from storage.schema.plan import Guide
from storage.schema.size import Size
from storage.schema.tuning import Tuning
from storage.schema.value import MediaId, Seed, Value


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
    anchors: Annotated[int, Field(ge=0)] = 0  # of the images, the last ones: for one window after the other
    guide: Guide | None = None  # a video that the film follows
    tuning: Tuning = Tuning()  # set by name, which comes before words
    restricted: bool = False  # belongs into age-restricted channels
    loras: tuple[Lora, ...] | None = None  # that were chosen from the library; None: as in the film that goes on

    @property
    def numbered(self) -> tuple[Image, ...]:
        """The images that the story speaks of by number."""
        return self.images[: len(self.images) - self.anchors]

    @property
    def anchor_numbers(self) -> range:
        """Numbers, from 1, of the images that are anchors for one window after the other."""
        return range(len(self.numbered) + 1, len(self.images) + 1)


class Wishes(Value):
    """Settings that a person asked for by words. None and False: not asked for."""

    pace: Literal["fast", "best"] | None = None  # of rendering: soon, or as good as it gets
    shape: Literal["portrait", "landscape", "square"] | None = None
    lines: Annotated[int, Field(gt=0)] | None = None  # 720 is "720p"
    size: Size | None = None
    motion: Literal["more", "less"] | None = None
    steady: bool = False  # the camera
    seed: Seed | None = None
    tuning: Tuning = Tuning()  # numbers behind plain words

    def over(self, others: "Wishes") -> "Wishes":
        """These wishes, and of the others what these leave open."""
        asked = {**others.model_dump(exclude_defaults=True), **self.model_dump(exclude_defaults=True)}
        return Wishes.model_validate({**asked, "tuning": self.tuning.over(others.tuning)})

    @property
    def untuned(self) -> "Wishes":
        """What is asked for but numbers."""
        return self.model_copy(update={"tuning": Tuning()})


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
    everything: bool = False  # all jobs of the person are to be cancelled
    avoid: tuple[str, ...] = ()  # what must not be seen
    wishes: Wishes = Wishes()
