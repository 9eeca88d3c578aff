"""LoRAs on the experts of one plan: merged where their strength is constant, beside the network where it varies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.dit import DiT
from engine.loras.file import read_lora
from engine.loras.lora import Branches, LoraWeights, merge
from engine.loras.strengths import strength_while, strengths_by_step
from storage.schema import Expert, Lora, Sampling


@dataclass(frozen=True)
class StepLoras:
    """LoRAs whose strengths change while their expert predicts."""

    branches: Branches
    rows: tuple[tuple[float, ...], ...]  # of each LoRA, one strength a step

    def use(self, step: int) -> tuple[float, ...]:
        """From now on run with the strengths of step number `step`, from 0; returns them."""
        strengths = tuple(row[step] for row in self.rows)
        self.branches.use(strengths)
        return strengths


@dataclass(frozen=True)
class Recipe:
    """What one expert needs of a plan's LoRAs. Two plans with the same recipe can share its network."""

    merged: tuple[tuple[Lora, float], ...] = ()  # which file, strength; none of them 0
    varying: tuple[tuple[Lora, tuple[float, ...]], ...] = ()  # which file, one strength a step


def recipe_for(expert: Expert, loras: Sequence[Lora], sampling: Sampling) -> Recipe:
    """What `expert` needs of `loras`, in their order."""
    rows = strengths_by_step(" ".join(lora.strength for lora in loras), len(loras), sampling)
    files = [Lora(name=lora.name, sha256=lora.sha256) for lora in loras]
    told = [(file, row, strength_while(expert, row, sampling)) for file, row in zip(files, rows, strict=True)]
    return Recipe(
        merged=tuple((file, strength) for file, _, strength in told if strength),
        varying=tuple((file, row) for file, row, strength in told if strength is None),
    )


def apply_recipe(
    network: DiT, recipe: Recipe, read: Callable[[Lora], LoraWeights], device: torch.device
) -> StepLoras | None:
    """Change a network that nobody else uses and that computes on `device`, wherever its weights are.

    Returns what must be told every step, if anything.
    """
    merge(network, [(read(file), strength) for file, strength in recipe.merged], device)
    if not recipe.varying:
        return None
    branches = Branches(network, [read(file) for file, _ in recipe.varying], device)
    return StepLoras(branches, tuple(row for _, row in recipe.varying))


def lora_reader(network: DiT, find: Callable[[Lora], Path], ledgers: dict[str, str]) -> Callable[[Lora], LoraWeights]:
    """Reads LoRAs for `network`, and notes in `ledgers` what became of their keys."""
    parameters = dict(network.named_parameters())

    def read(file: Lora) -> LoraWeights:
        lora = read_lora(find(file), parameters)
        ledgers[file.name] = str(lora.ledger)
        return lora

    return read
