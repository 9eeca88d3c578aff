"""Queries, keys and values in fp8 (e4m3), with one scale a head.

B batch, L tokens, d width of a head
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels import fused
from engine.kernels.rows import FP8, FP8_MAX, SMALLEST


@dataclass(frozen=True)
class Heads:
    """What stands for centre + values * scales."""

    values: Tensor  # [B, L, heads, d] e4m3
    scales: Tensor  # [B, heads] float32
    centre: Tensor | None  # [B, 1, heads, d] float32; None is zero

    def wide(self) -> Tensor:
        """The numbers themselves less the centre, in float32."""
        return self.values.float() * self.scales[:, None, :, None]


def quantised_heads(x: Tensor, *, centred: bool) -> Heads:
    """x in fp8, each head scaled so that its largest number is the type's. x: [B, L, heads, d]

    `centred`: less the mean over all tokens. Of keys it changes nothing that a softmax sees, and what is left is small.
    """
    if fused(x):
        from engine.kernels import heads_triton

        lowest, highest, mean = heads_triton.extent(x)
    else:
        wide = x.float()
        lowest, highest, mean = wide.amin(1, keepdim=True), wide.amax(1, keepdim=True), wide.mean(1, keepdim=True)
    centre = mean if centred else torch.zeros_like(mean)
    largest = torch.maximum(highest - centre, centre - lowest).amax(-1)
    scales = (largest.clamp_min(SMALLEST) / FP8_MAX)[:, 0]
    if fused(x):
        return Heads(heads_triton.rounded(x, centre, scales), scales, centre if centred else None)
    values = ((x.float() - centre) / scales[:, None, :, None]).clamp(-FP8_MAX, FP8_MAX).to(FP8)
    return Heads(values, scales, centre if centred else None)
