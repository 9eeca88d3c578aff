"""What a leader tells the processes that film along, and what they answer: one line of JSON each.

Tensors do not go this way: behind an order that has some, they come through the processes' group.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field, TypeAdapter

from engine.memory import Tier
from engine.settings import EngineSettings
from engine.team.team import Way
from storage.schema import Plan, Sampling, Value


class Join(Value):
    """The first order: become number `rank` of `size` processes, whose group is made at a local port."""

    kind: Literal["join"] = "join"
    settings: EngineSettings
    device: str
    rank: int
    size: int
    port: int


class Measure(Value):
    """Say how many bytes there are for networks on your device."""

    kind: Literal["measure"] = "measure"


class Load(Value):
    """Have the experts of a plan, kept in this tier."""

    kind: Literal["load"] = "load"
    plan: Plan
    tier: Tier


class Sheet(Value):
    """The form of a tensor that follows."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Sheet":
        """That of this tensor."""
        return cls(shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))

    def empty(self, device: torch.device) -> torch.Tensor:
        """A tensor to be filled."""
        return torch.empty(self.shape, dtype=getattr(torch, self.dtype), device=device)


class Begin(Value):
    """A window begins; the tensors of its Scene follow, in order. It replaces the one before."""

    kind: Literal["begin"] = "begin"
    sampling: Sampling
    first_step: int
    scene: tuple[Sheet | None, ...]


class Predict(Value):
    """One evaluation of the window: the latents follow, then whatever the way needs."""

    kind: Literal["predict"] = "predict"
    step: int
    sigma: float
    way: Way


class Settle(Value):
    """The window is done: all are asked for their numbers, to see that nobody is missing."""

    kind: Literal["settle"] = "settle"


Order = Annotated[Join | Measure | Load | Begin | Predict | Settle, Field(discriminator="kind")]
ORDER: TypeAdapter[Order] = TypeAdapter(Order)


class Reply(Value):
    """An answer: done, with the bytes that were asked for, or what went wrong, after which the process ends."""

    available: int | None = None
    error: str = ""
    cause: Literal["", "memory", "user", "fault"] = ""
