"""How much of a device's memory a model takes: tiers, each needing less than the one before, and slower."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import torch

from engine.dit import DiT
from storage.schema import Expert

HOST = torch.device("cpu")


class Tier(StrEnum):
    """How a model is kept. To add a tier, say here what it is, and in ModelShelf how it is loaded."""

    RESIDENT = "resident"  # both experts and the text encoder stay on the device
    EXPERT = "expert"  # texts are encoded by the host; the device holds the expert that predicts; one latent a decode

    def smaller(self) -> "Tier | None":
        """The next tier that needs less; None after the last."""
        tiers = list(Tier)
        return next(iter(tiers[tiers.index(self) + 1 :]), None)


class InTurn(Mapping[Expert, DiT]):
    """Experts of which the device holds one: who looks one up finds it there, and the others at the host.

    Both experts share a trajectory, high noise before low, so a window costs two moves.
    """

    def __init__(self, experts: Mapping[Expert, DiT], device: torch.device) -> None:
        self._experts = experts
        self._device = device

    def __getitem__(self, expert: Expert) -> DiT:
        wanted = self._experts[expert]
        for other in self._experts.values():
            if other is not wanted:
                other.to(HOST)
        return wanted.to(self._device)

    def __iter__(self) -> Iterator[Expert]:
        return iter(self._experts)

    def __len__(self) -> int:
        return len(self._experts)
