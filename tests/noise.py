"""What samplers start from in tests: noise, and official noise levels."""

import numpy as np
import torch
from torch import Tensor


def noise_of(seed: int = 0, shape: tuple[int, ...] = (2, 4, 3, 5, 6)) -> Tensor:
    """Noise that is the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shifted(levels: np.ndarray, shift: float = 5.0) -> list[float]:
    """Evenly spaced levels, drawn towards 1 as Wan2.2 draws them."""
    return (shift * levels / (1 + (shift - 1) * levels)).tolist()


def official_grid(steps: int, shift: float = 5.0) -> list[float]:
    """Wan2.2's UniPC grid: from float32(0.999) down."""
    return [*shifted(np.linspace(float(np.float32(0.999)), 0, steps + 1)[:-1], shift), 0.0]
