"""How large a video is."""

from typing import Annotated

from pydantic import Field

from storage.schema.value import Value


class Size(Value):
    """Pixels of a video; the network needs multiples of 16."""

    width: Annotated[int, Field(ge=16, multiple_of=16)]
    height: Annotated[int, Field(ge=16, multiple_of=16)]

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
