"""What networks that finish a film share: where their files lie, their tensors, and frames as they read them."""

import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from storage.footage import Frames
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


def to_rgb(frame: Frames, device: torch.device) -> Tensor:
    """A frame [H, W, 3] as networks read it: [1, 3, H, W] in [0, 1]"""
    return torch.tensor(frame, device=device).permute(2, 0, 1)[None].float() / 255


def to_frame(rgb: Tensor) -> Frames:
    """What a network made, [1, 3, H, W], as a frame [H, W, 3]."""
    levels = rgb[0].clamp(0, 1) * 255
    return np.asarray(levels.round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu())
