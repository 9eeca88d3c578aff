"""Larger frames: by Lanczos' filter, or by any network that spandrel reads."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from engine.finish.networks import network_file, to_frame, to_rgb
from storage.footage import Frames
from storage.schema import Size, UserError


def enlarger(size: Size, name: str, folder: Path, device: torch.device) -> Callable[[Frames], Frames]:
    """Makes frames of `size` of frames [H, W, 3]. A network enlarges by its own factor; Lanczos does the rest."""
    if not name:
        return lambda frame: resized(frame, size)
    network = load_upscaler(network_file(folder, name), device)
    return lambda frame: resized(enlarged(frame, network, device), size)


def resized(frame: Frames, size: Size) -> Frames:
    """A frame [H, W, 3] at another size, by Lanczos' filter."""
    if frame.shape[:2] == (size.height, size.width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((size.width, size.height), Image.Resampling.LANCZOS))


@torch.inference_mode()
def enlarged(frame: Frames, network: Callable[[Tensor], Tensor], device: torch.device) -> Frames:
    """A frame [H, W, 3] through a network that reads and writes [1, 3, H, W] in [0, 1]."""
    return to_frame(network(to_rgb(frame, device)))


def load_upscaler(file: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network in a file, of whatever kind it is. UserError when spandrel is not here, or does not know it."""
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
        raise UserError(
            f"Enlarging with {file.stem} needs spandrel, which cannot be used here: pip install 'longtake[upscaling]'."
        ) from error
    try:
        network: object = ModelLoader(device).load_from_file(file)
    except (UnsupportedModelError, UnpicklingError, SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{file.name} cannot be used to enlarge: spandrel knows no such network.") from error
    if not isinstance(network, ImageModelDescriptor) or network.input_channels != 3 or network.output_channels != 3:
        raise UserError(f"{file.name} cannot be used to enlarge: it does not turn a picture into a picture.")
    larger: Callable[[Tensor], Tensor] = network.eval()
    return larger
