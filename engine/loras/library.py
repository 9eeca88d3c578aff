"""Which models the LoRAs of the library fit, told from headers alone: no weight of either is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoints.files import Stored, open_tensors
from engine.dit import DiT, DiTConfig
from engine.loras.file import lora_from
from storage.loras import LoraLibrary
from storage.schema import UserError


@dataclass(frozen=True)
class Fit:
    """The models that a LoRA fits, and a sentence on its keys: what is applied and ignored, or why it fits none."""

    fits: tuple[str, ...]
    keys: str


def examine(library: LoraLibrary, models: Mapping[str, DiTConfig]) -> dict[str, Fit]:
    """Each LoRA of the library by name, against models of these sizes."""
    parameters = {name: _parameters(config) for name, config in models.items()}
    return {lora.name: fit_of(lora.path, parameters) for lora in library.entries()}


def fit_of(path: Path, models: Mapping[str, Mapping[str, Tensor]]) -> Fit:
    """Against networks that have such parameters, of which only the shapes are read."""
    try:
        tensors = {name: _blank(entry) for name, entry in open_tensors(path).stored.items()}
    except UserError as error:
        return Fit((), str(error))
    fits: list[str] = []
    keys = ""
    for name, parameters in models.items():
        try:
            ledger = str(lora_from(path.name, tensors, parameters).ledger)
        except UserError as error:
            keys = keys or str(error)
        else:
            keys, fits = ledger if not fits else keys, [*fits, name]
    return Fit(tuple(fits), keys)


def _parameters(config: DiTConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(DiT(config).named_parameters())


def _blank(entry: Stored) -> Tensor:
    """A tensor of a shape without data; a single number, as alpha is, has some."""
    return torch.empty(entry.shape, device="meta" if entry.shape not in ((), (1,)) else "cpu").fill_(1)
