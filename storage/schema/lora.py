"""LoRAs as a plan names them, and what a library says of one."""

from typing import Annotated

from pydantic import Field, StringConstraints

from storage.schema.sampling import Expert
from storage.schema.value import MediaId, Value

Strength = Annotated[str, StringConstraints(pattern=r"^[-+0-9.,;e]+$")]  # as in engine/loras/strengths.py
LoraName = Annotated[str, StringConstraints(pattern=r"^[^/\\.][^/\\]*$")]
Trigger = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]


class Lora(Value):
    """A LoRA by name. Its strength, as in engine/loras/strengths.py: "0.8", or "1;0" by phase, or "1,0.5" by step.

    One of the library holds its file's hash, since another file under its name would be another film, and the words
    that every prompt begins with. One of a preset holds neither: the engine knows its file by its role.
    """

    name: LoraName
    strength: Strength = "1"
    sha256: MediaId | None = None
    triggers: tuple[Trigger, ...] = ()


class LoraSheet(Value):
    """What NAME.json in the library says of NAME.safetensors. Everything may be left out."""

    title: Annotated[str, Field(max_length=60)] = ""
    description: Annotated[str, Field(max_length=200)] = ""
    triggers: Annotated[tuple[Trigger, ...], Field(max_length=8)] = ()
    strength: Strength = "1"
    expert: Expert | None = None  # the only one that it was trained for
    together: tuple[LoraName, ...] = ()  # LoRAs that come with it, as for the other expert

    def strength_of(self, asked: str | None) -> str:
        """The strength that was asked for, or the sheet's own; for one expert, none in the other's phase."""
        strength = self.strength if asked is None else asked
        if self.expert is None or ";" in strength:
            return strength
        return f"{strength};0" if self.expert is Expert.HIGH_NOISE else f"0;{strength}"
