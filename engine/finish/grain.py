"""Film grain: the same for the same seed."""

from dataclasses import dataclass, field

import numpy as np
import torch

from storage.footage import Frames

STRENGTHS = 2.0, 1.0, 3.0  # of red, green and blue: what the eye sees least of is the coarsest, as in Wan2GP
SALT = 0x6721_A17E  # a window's noise begins with its seed; its grain must not be the same numbers


@dataclass
class Grain:
    """Adds grain to one frame after the other, each with its own. Intensity and saturation are in [0, 1]."""

    seed: int
    intensity: float
    saturation: float
    _generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._generator = torch.Generator("cpu").manual_seed(self.seed ^ SALT)

    def __call__(self, frame: Frames) -> Frames:
        """v + intensity * (saturation * g + (1 - saturation) * g of green), on [0, 1]. [h, w, 3] -> [h, w, 3]"""
        if not self.intensity:
            return frame
        grain = torch.randn(frame.shape, generator=self._generator) * torch.tensor(STRENGTHS)
        grain = self.saturation * grain + (1 - self.saturation) * grain[..., 1:2]
        grained = torch.tensor(frame).float() / 255 + self.intensity * grain
        return np.asarray((grained.clamp(0, 1) * 255).round().to(torch.uint8))
