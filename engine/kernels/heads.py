"""Queries, keys and values in fp8 (e4m3), with one scale a head.

B batch, L tokens, d width of a head
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels import fused
from engine.kernels.rows import FP8, FP8_MAX, SMALLEST, rms_norm

SAMPLED = 17  # the centre is that of every 17th token; a prime, so that tokens of all columns are among them


@dataclass(frozen=True)
class Heads:
    """Numbers in fp8, less a centre that all tokens share: what they stand for is values * scales + centre."""

    values: Tensor  # [B, L, heads, d] e4m3
    scales: Tensor  # [B, heads] float32
    centre: Tensor  # [B, heads, d] float32

    def wide(self) -> Tensor:
        """The numbers less their centre, in float32."""
        return self.values.float() * self.scales[:, None, :, None]


def normed_heads(x: Tensor, weight: Tensor, eps: float, rope: Tensor, *, centred: bool) -> Heads:
    """rms_norm, rounded to fp8 in the same pass. x: [B, L, heads, d], weight: [heads * d], rope: [2, L, 1, d / 2]

    A normed row is never longer than sqrt(heads * d), so its head's largest weight says how large a number can be, and
    nothing has to be looked at first; what is far below that bound is as exact, since e4m3 is a floating-point type.

    `centred`, for keys: less about the mean of all tokens. It changes all scores of a query alike, so no softmax sees
    it, whatever it is, and what is left is small.
    """
    batch, _, heads, head_dim = x.shape
    centre = torch.zeros((batch, heads, head_dim), device=x.device)
    if centred:
        centre = rms_norm(x[:, ::SAMPLED], weight, eps, rope[:, ::SAMPLED], dtype=torch.float32).mean(1)
    largest = weight.float().view(heads, head_dim).abs().amax(-1) * weight.numel() ** 0.5 + centre.abs().amax((0, 2))
    scales = largest.clamp_min(SMALLEST) / FP8_MAX
    in_steps = centre / scales[:, None] if centred else None
    values = rms_norm(x, weight.float() / scales.repeat_interleave(head_dim), eps, rope, in_steps, FP8)
    return Heads(values, scales.expand(batch, heads), centre)


def quantised_heads(x: Tensor, *, centred: bool = True) -> Heads:
    """x less about its mean, each head scaled so that its largest number is the type's. x: [B, L, heads, d]

    `centred` is for values and keys; queries must stay as they are.

    NOTE: values must be centred. What all tokens share has the same rounding error in each of them, which no sum over
    tokens evens out, and long sums of fp8 products lose low bits: without it a network's cosine was 0.98, not 0.999.
    """
    centre = (
        x[:, ::SAMPLED].mean(1, dtype=torch.float32) if centred else x.new_zeros(x[:, 0].shape, dtype=torch.float32)
    )
    if fused(x):
        from engine.kernels import heads_triton

        scales = heads_triton.largest(x, centre).clamp_min(SMALLEST) / FP8_MAX
        return Heads(heads_triton.rounded(x, centre, scales), scales, centre)
    left = x.float() - centre[:, None]
    scales = left.abs().amax((1, 3)).clamp_min(SMALLEST) / FP8_MAX
    return Heads((left / scales[:, None, :, None]).clamp(-FP8_MAX, FP8_MAX).to(FP8), scales, centre)
