"""Queries, keys and values in fp8 (e4m3), with one scale a head.

B batch, L tokens, d width of a head
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels import fused
from engine.kernels.rows import FP8, FP8_MAX, SMALLEST, rms_norm

SAMPLED = 17  # of so many tokens one tells where keys lie; a prime, so that it meets every column of a frame


@dataclass(frozen=True)
class Heads:
    """Numbers in fp8: what they stand for is values * scales."""

    values: Tensor  # [B, L, heads, d] e4m3
    scales: Tensor  # [B, heads] float32

    def wide(self) -> Tensor:
        """The numbers themselves, in float32."""
        return self.values.float() * self.scales[:, None, :, None]


def normed_heads(x: Tensor, weight: Tensor, eps: float, rope: Tensor, *, centred: bool = False) -> Heads:
    """rms_norm, rounded to fp8 in the same pass. x: [B, L, heads, d], weight: [heads * d], rope: [2, L, 1, d / 2]

    A normed row is never longer than sqrt(heads * d), so its head's largest weight says how large a number can be, and
    nothing has to be looked at first; what is far below that bound is as exact, since e4m3 is a floating-point type.

    `centred`: less a vector that all tokens share, about their mean. Taken from keys it changes all scores of a query
    alike, so no softmax sees it whatever it is, and what is left is small.
    """
    heads, head_dim = x.shape[2:]
    largest = weight.float().view(heads, head_dim).abs().amax(-1) * weight.numel() ** 0.5
    centre = None
    if centred:
        centre = rms_norm(x[:, ::SAMPLED], weight, eps, rope[:, ::SAMPLED], dtype=torch.float32).mean(1)
        largest = largest + centre.abs().amax((0, 2))
    scales = largest.clamp_min(SMALLEST) / FP8_MAX
    of_row = scales.repeat_interleave(head_dim)
    centre = None if centre is None else centre / scales[:, None]
    values = rms_norm(x, weight.float() / of_row, eps, rope, centre, FP8)
    return Heads(values, scales.expand(len(x), heads))


def quantised_heads(x: Tensor) -> Heads:
    """x in fp8, each head scaled so that its largest number is the type's. x: [B, L, heads, d]"""
    if fused(x):
        from engine.kernels import heads_triton

        scales = heads_triton.largest(x).clamp_min(SMALLEST) / FP8_MAX
        return Heads(heads_triton.rounded(x, scales), scales)
    scales = x.float().abs().amax((1, 3)).clamp_min(SMALLEST) / FP8_MAX
    return Heads((x.float() / scales[:, None, :, None]).clamp(-FP8_MAX, FP8_MAX).to(FP8), scales)
