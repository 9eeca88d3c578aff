"""The kernels of engine/kernels/frames.py in Triton. A row is one pixel of a padded frame: its channels side by side.

In frames that lie row by row with a border of zeros, a neighbour is always as many rows away, so a convolution is a
matrix product whose left side is read again at another offset for each tap: no pixel is ever gathered.
"""

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@dataclass(frozen=True)
class Tile:
    """How a program of the convolution is cut. Widths are powers of two; a second part makes 96 of 64 and 32."""

    rows: int
    n: tuple[int, int]  # output channels, in one part or two
    k: int  # input channels at once
    warps: int
    stages: int


def tile_for(channels_in: int, channels_out: int) -> Tile:
    """The fastest of those that were tried on an H200, for a convolution of these widths."""
    k = 32 if channels_in == 96 else min(64, max(16, triton.next_power_of_2(channels_in)))
    if channels_out == 96:
        return Tile(128, (64, 32), k, 4, 3)
    if channels_out == 192:
        return Tile(128, (128, 64), k, 8, 4)
    if channels_out % 128 == 0:
        return Tile(256, (128, 0), k, 8, 4)
    return Tile(256, (min(128, max(16, triton.next_power_of_2(channels_out))), 0), k, 8, 4)


@triton.jit
def _convolution_kernel(
    x, weight, weight2, bias, residual, out,
    rows, frame_rows, pitch, height, width, channels_out,
    KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, CHANNELS_IN: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BN2: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * BM
    channel = tl.program_id(1) * (BN + BN2)
    PARTS: tl.constexpr = (CHANNELS_IN + BK - 1) // BK
    total = tl.zeros((BM, BN), dtype=tl.float32)
    if BN2:
        total2 = tl.zeros((BM, BN2), dtype=tl.float32)
    for step in range(KT * KH * KW * PARTS):
        tap = step // PARTS
        c = (step % PARTS) * BK
        row = first + (tap // (KH * KW)) * frame_rows + (tap // KW % KH - KH // 2) * pitch + tap % KW - KW // 2
        at = tap * CHANNELS_IN + c
        a = x.load([row, c])
        total = tl.dot(a, weight.load([channel, at]).T, total)
        if BN2:
            total2 = tl.dot(a, weight2.load([channel + BN, at]).T, total2)
    row = first + tl.arange(0, BM)
    h, w = row // pitch % (height + 2), row % pitch
    inside = (h >= 1) & (h <= height) & (w >= 1) & (w <= width)
    _put(total, bias, residual, out, row, rows, channel + tl.arange(0, BN), channels_out, inside, HAS_RESIDUAL)
    if BN2:
        n = channel + BN + tl.arange(0, BN2)
        _put(total2, bias, residual, out, row, rows, n, channels_out, inside, HAS_RESIDUAL)


@triton.jit
def _put(total, bias, residual, out, row, rows, n, channels_out, inside, HAS_RESIDUAL: tl.constexpr):
    """Write one tile of a convolution: with its bias and what lies beside it, and zeros on the border."""
    there = (row < rows)[:, None] & (n < channels_out)[None, :]
    at = row.to(tl.int64)[:, None] * channels_out + n[None, :]
    total += tl.load(bias + n, mask=n < channels_out, other=0.0).to(tl.float32)[None, :]
    if HAS_RESIDUAL:
        total += tl.load(residual + at, mask=there, other=0.0).to(tl.float32)
    tl.store(out + at, tl.where(inside[:, None], total, 0.0).to(out.dtype.element_ty), mask=there)


@triton.jit
def _norm_silu_kernel(
    x, gamma, out, rows, channels, root, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # gamma times root: the gain of every channel
    row = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    channel = tl.arange(0, BLOCK)[None, :]
    there = (row < rows) & (channel < channels)
    at = row * channels + channel
    value = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
    length = tl.maximum(tl.sqrt(tl.sum(value * value, axis=1)), 1e-12)
    gain = tl.load(gamma + channel, mask=channel < channels, other=0.0).to(tl.float32) * root
    value = value / length[:, None] * gain
    tl.store(out + at, (value * tl.sigmoid(value)).to(out.dtype.element_ty), mask=there)


@triton.jit
def _enlarge_kernel(
    x, out, rows, height, width, channels, SPLIT: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """Frames of height x width from SPLIT frames each in half of it, whose channels lie side by side in one row."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    frame = row // ((height + 2) * (width + 2))
    h, w = row // (width + 2) % (height + 2), row % (width + 2)
    inside = (h >= 1) & (h <= height) & (w >= 1) & (w <= width)
    source = (frame // SPLIT * (height // 2 + 2) + (h + 1) // 2) * (width // 2 + 2) + (w + 1) // 2
    channel = tl.arange(0, BLOCK)[None, :]
    there = (row < rows)[:, None] & (channel < channels)
    start = (source * SPLIT + frame % SPLIT).to(tl.int64) * channels
    value = tl.load(x + start[:, None] + channel, mask=there & inside[:, None], other=0.0)
    tl.store(out + row.to(tl.int64)[:, None] * channels + channel, value, mask=there)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor, kernel: tuple[int, int, int], residual: Tensor | None, tile: Tile | None
) -> Tensor:
    """As frames.convolution."""
    frames, height, width = x.shape[0] - kernel[0] + 1, x.shape[1] - 2, x.shape[2] - 2
    channels_in, channels_out = x.shape[3], bias.shape[0]
    tile = tile or tile_for(channels_in, channels_out)
    out = x.new_empty(frames, height + 2, width + 2, channels_out)
    flat, rows = x.view(-1, channels_in), frames * (height + 2) * (width + 2)
    n, n2 = tile.n
    _convolution_kernel[(triton.cdiv(rows, tile.rows), triton.cdiv(channels_out, n + n2))](
        TensorDescriptor.from_tensor(flat, [tile.rows, tile.k]),
        TensorDescriptor.from_tensor(weight, [n, tile.k]), TensorDescriptor.from_tensor(weight, [n2 or n, tile.k]),
        bias, out if residual is None else residual, out,
        rows, (height + 2) * (width + 2), width + 2, height, width, channels_out,
        KT=kernel[0], KH=kernel[1], KW=kernel[2], CHANNELS_IN=channels_in, HAS_RESIDUAL=residual is not None,
        BM=tile.rows, BN=n, BN2=n2, BK=tile.k, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out


def norm_silu(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    """As frames.norm_silu."""
    channels = x.shape[-1]
    block = triton.next_power_of_2(channels)
    per_program = max(1, 4096 // block)
    rows = x.numel() // channels
    _norm_silu_kernel[(triton.cdiv(rows, per_program),)](
        x, gamma, out, rows, channels, channels**0.5, ROWS=per_program, BLOCK=block, num_warps=4
    )


def enlarged(x: Tensor, split: int) -> Tensor:
    """As frames.enlarged."""
    channels = x.shape[3] // split
    height, width = 2 * (x.shape[1] - 2), 2 * (x.shape[2] - 2)
    out = x.new_empty(x.shape[0] * split, height + 2, width + 2, channels)
    block = triton.next_power_of_2(channels)
    per_program = max(1, 4096 // block)
    rows = out.numel() // channels
    _enlarge_kernel[(triton.cdiv(rows, per_program),)](
        x, out, rows, height, width, channels, SPLIT=split, ROWS=per_program, BLOCK=block, num_warps=4
    )
    return out
