"""What a chat shows: cards, and what the owners of a server or a person want."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from storage.schema.job import Draft
from storage.schema.value import Value


class Card(Value):
    """The message in which a request can be followed, from the first word to the take. One a request.

    `place` is the server ("" in a direct message) and `channel` what the takes are filed under; `asked` names the event
    that asked, like "message:123"; `message` is the one that shows the card (None until it is sent).
    """

    id: int
    place: str
    channel: str
    asker: str
    asked: str = ""
    words: str = ""
    locale: str = "en-US"
    message: str | None = None
    draft: Draft | None = None  # to be looked at before it is filmed
    job: int | None = None
    take_message: str | None = None  # that shows the take; the film is delivered
    windows_posted: int = 0  # posted as they came, where a server wants that
    closed: bool = False  # nothing will change any more
    outcome: Literal["failed", "cancelled"] | None = None  # of a request that led to no job, and why
    reason: str = ""
    opened: datetime


class Style(Value):
    """Words that are added to a story, and a LoRA of the library, by name."""

    name: Annotated[str, Field(min_length=1, max_length=32)]
    words: Annotated[str, Field(min_length=1, max_length=300)]
    lora: Annotated[str, Field(max_length=100)] = ""


class Policy(Value):
    """What the owners of a server allow. An empty list of channels or roles allows all."""

    channels: tuple[str, ...] = ()
    refused_channels: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()  # people
    queue_per_person: Annotated[int, Field(ge=1, le=50)] = 3  # films that wait or are being filmed
    minutes_per_day: Annotated[float, Field(gt=0, le=1440)] = 10.0  # of film a person may have delivered in 24 hours
    max_seconds: Annotated[float, Field(gt=0)] | None = None  # of one film; None: the studio's own limit
    requests_per_hour: Annotated[int, Field(ge=1, le=1000)] = 30  # of a person; each is read and planned
    server_queue: Annotated[int, Field(ge=1)] | None = None  # films of all that wait; said by the owner of the bot
    server_minutes: Annotated[float, Field(gt=0)] | None = None  # of film for all in 24 hours; the same
    approve: bool = True  # a plan is shown, and filmed when its asker says so
    post_windows: bool = False  # every finished window is posted as it comes
    continue_by: Literal["anyone", "owner"] = "anyone"
    cancel_by: Literal["owner", "anyone"] = "owner"  # moderators always may
    restricted: Literal["refuse", "spoiler"] = "refuse"  # what to do with what belongs into age-restricted channels
    styles: tuple[Style, ...] = ()
    paused: bool = False
    log_channel: str | None = None


class Person(Value):
    """What a person wants for their own films; None leaves it to the server."""

    approve: bool | None = None
    style: str | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    notify: bool = True  # mention me when a film took over a minute
