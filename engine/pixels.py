"""Pixels: pictures and frames of bytes <-> what the VAE reads and writes.

# B batch (1), F frames, H W height and width. Pixels are float32 [B, 3, F, H, W] in [-1, 1], frames uint8 [F, H, W, 3].
"""

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from storage.pictures import cover
from storage.schema import Size


def picture_to_pixels(picture: Image.Image, size: Size) -> Tensor:
    """One picture at `size`, as a video of one frame: [1, 3, 1, H, W] in [-1, 1]."""
    return frames_to_pixels(np.asarray(cover(picture, size))[None])


def frames_to_pixels(frames: NDArray[np.uint8]) -> Tensor:
    """v 2/255 - 1. frames: [F, H, W, 3] -> [1, 3, F, H, W]"""
    return rearrange(torch.tensor(frames), "f h w c -> 1 c f h w").float() * 2 / 255 - 1


def to_uint8(pixels: Tensor) -> NDArray[np.uint8]:
    """Clamped (x + 1) / 2 * 255, truncated, as Wan2.2 saves its videos. pixels: [1, 3, F, H, W] -> [F, H, W, 3]

    NOTE: the rounding is done where `pixels` are; a GPU hands over bytes, a quarter of the floats.
    """
    levels = (pixels.float().clamp(-1, 1) + 1) / 2 * 255
    return np.asarray(rearrange(levels.to(torch.uint8), "1 c f h w -> f h w c").contiguous().cpu())
