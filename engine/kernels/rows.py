"""Everything between two matrix products of a block: one pass over the tokens each, with float32 statistics.

B batch, L tokens, D width, d width of a head. A row is one token: [D] numbers side by side.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels import fused

FP8 = torch.float8_e4m3fn
FP8_MAX = 448.0
SMALLEST = 1e-12  # of a row's largest number, so that a row of zeros has a scale


@dataclass(frozen=True)
class Rows:
    """Rows in fp8 (e4m3), each with a scale: what it stands for is values * scales."""

    values: Tensor  # [..., D]
    scales: Tensor  # [..., 1] float32

    def wide(self) -> Tensor:
        """The numbers themselves, in float32."""
        return self.values.float() * self.scales


def layer_norm(x: Tensor, factor: Tensor, shift: Tensor, eps: float, dtype: torch.dtype) -> Tensor | Rows:
    """Layer norm, times `factor`, plus `shift`, as a matrix product in `dtype` reads it; fp8 comes as Rows.

    x: [B, L, D] float32, factor and shift: [B or 1, 1, D] float32 -> [B, L, D]
    """
    if fused(x, factor, shift):
        from engine.kernels import rows_triton

        return rows_triton.layer_norm(x, factor, shift, eps, dtype)
    return rounded(F.layer_norm(x, x.shape[-1:], eps=eps) * factor + shift, dtype)


def add_and_norm(
    x: Tensor, change: Tensor, gate: Tensor | None, factor: Tensor, shift: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor | Rows]:
    """x + gate * change, and its layer_norm. x: [B, L, D] float32, change: [B, L, D], gate: as factor -> as x, twice"""
    inputs = (x, change, factor, shift) if gate is None else (x, change, gate, factor, shift)
    if fused(*inputs):
        from engine.kernels import rows_triton

        return rows_triton.add_and_norm(x, change, gate, factor, shift, eps, dtype)
    x = x + (change if gate is None else gate * change)
    return x, layer_norm(x, factor, shift, eps, dtype)


def add(x: Tensor, change: Tensor, gate: Tensor) -> Tensor:
    """x + gate * change. x: [B, L, D] float32, change: [B, L, D], gate: [B or 1, 1, D] float32 -> as x"""
    if fused(x, change, gate):
        from engine.kernels import rows_triton

        return rows_triton.add(x, change, gate)
    return x + gate * change


def rms_norm(
    x: Tensor,
    weight: Tensor,
    eps: float,
    rope: Tensor | None = None,
    centre: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Root mean square norm over a row, then, with `rope`, the turn of `rotate`, then less `centre`, all in float32.

    x: [B, L, heads, d], of which a row is heads * d numbers side by side; weight: [heads * d]; rope: [2, L, 1, d / 2];
    centre: [B, heads, d] float32 -> as x, in `dtype` or in x's own
    """
    dtype = dtype or x.dtype
    if fused(x, weight):
        from engine.kernels import rows_triton

        return rows_triton.rms_norm(x, weight, eps, rope, centre, dtype)
    normed = F.rms_norm(x.flatten(2).float(), weight.shape, weight.float(), eps).view(x.shape)
    turned = normed if rope is None else rotate(normed, rope)
    return (turned if centre is None else turned - centre[:, None]).to(dtype)


def gelu(x: Tensor, dtype: torch.dtype) -> Tensor | Rows:
    """GELU, by its tanh formula, as a matrix product in `dtype` reads it. x: [..., D] -> as x"""
    if fused(x):
        from engine.kernels import rows_triton

        return rows_triton.gelu(x, dtype)
    return rounded(F.gelu(x.float(), approximate="tanh"), dtype) if dtype == FP8 else F.gelu(x, approximate="tanh")


def shifted(x: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor | Rows:
    """x + shift, as a matrix product in `dtype` reads it. x: [B, L, D], shift: [B, D] float32 -> as x"""
    if fused(x, shift):
        from engine.kernels import rows_triton

        return rows_triton.shifted(x, shift, dtype)
    return rounded(x.float() + shift[:, None], dtype)


def quantised(x: Tensor) -> Rows:
    """x in fp8, each row scaled so that its largest number is the type's. x: [..., D]"""
    if fused(x):
        from engine.kernels import rows_triton

        return rows_triton.quantised(x)
    wide = x.float()
    scales = wide.abs().amax(-1, keepdim=True).clamp_min(SMALLEST) / FP8_MAX
    return Rows((wide / scales).clamp(-FP8_MAX, FP8_MAX).to(FP8), scales)


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor | Rows:
    """x as a matrix product in `dtype` reads it."""
    return quantised(x) if dtype == FP8 else x.to(dtype)


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Turn neighbouring pairs of channels by their angles. x: [B, L, heads, d], rope: [2, L, 1, d / 2] -> as x"""
    cos, sin = rope.unbind()
    even, odd = x.view(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
