"""The files of networks that finish a film: where they lie, and their tensors."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from storage.schema import UserError

SUFFIXES = (".safetensors", ".pth", ".pkl", ".pt")


def network_file(folder: Path, name: str) -> Path:
    """The file of a network that a plan names; UserError when it is not there."""
    for suffix in SUFFIXES:
        if (file := folder / (name + suffix)).is_file():
            return file
    raise UserError(f"There is no {name} to finish the film with: put {name}.safetensors or .pth into {folder}.")


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU; of a pickle nothing but tensors is read. UserError if that fails."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{file.name} cannot be read: it is damaged, or no checkpoint.") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{file.name} cannot be read: it holds more than tensors.")
    return tensors
