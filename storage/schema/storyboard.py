"""What the director writes."""

from typing import Annotated

from pydantic import Field, StringConstraints

from storage.schema.value import Value


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
