"""Models that fail on purpose, at the outermost seam: the shelf from which a worker takes them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from engine.dit import DiT
from engine.memory import Tier
from engine.models import Models, ModelShelf
from storage.schema import Plan

Fault = Callable[[int, Tier], None]  # told the number of a call of a network, from 1, and the tier; may raise


@dataclass
class FaultyNetwork:
    """An expert that asks before every call."""

    network: DiT
    ask: Callable[[], None]

    def __call__(self, *inputs: Any) -> Tensor:
        self.ask()
        velocity: Tensor = self.network(*inputs)
        return velocity

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)


@dataclass
class FaultyShelf:
    """A shelf whose networks fail as `fault` says."""

    shelf: ModelShelf
    fault: Fault
    calls: int = 0
    tiers: list[Tier] = field(default_factory=list)

    def load(self, plan: Plan) -> Models:
        models, tier = self.shelf.load(plan), self.shelf.tier
        self.tiers.append(tier)

        def ask() -> None:
            self.calls += 1
            self.fault(self.calls, tier)

        experts = {name: FaultyNetwork(network, ask) for name, network in models.experts.items()}
        return replace(models, experts=experts)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shelf, name)
