"""What every value has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MediaId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # SHA-256 of the file's bytes
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Value(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
