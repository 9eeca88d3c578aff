"""The kernels of engine/kernels/heads.py in Triton: one pass to see how large the numbers are, one to round them."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.rows import FP8, FP8_MAX

ROWS = 16  # at once
CHUNK = 512  # rows of a program


@triton.jit
def _extent_kernel(
    x, out, tokens, row_step, batch_step, head_dim, heads,
    CHUNK: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, BLOCK)
    inside = (column < head_dim)[None, :]
    first = tl.program_id(0) * CHUNK
    base = x + tl.program_id(2).to(tl.int64) * batch_step + tl.program_id(1) * head_dim + column[None, :]
    lowest = tl.full((ROWS, BLOCK), float("inf"), tl.float32)
    highest = tl.full((ROWS, BLOCK), float("-inf"), tl.float32)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in tl.range(0, CHUNK, ROWS, loop_unroll_factor=4):
        row = first + start + tl.arange(0, ROWS)
        there = (row < tokens)[:, None] & inside
        value = tl.load(base + row.to(tl.int64)[:, None] * row_step, mask=there, other=0.0).to(tl.float32)
        lowest = tl.minimum(lowest, tl.where(there, value, float("inf")))
        highest = tl.maximum(highest, tl.where(there, value, float("-inf")))
        total += value
    width = heads * head_dim
    at = out + ((tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)) * 3 * width + tl.program_id(1) * head_dim)
    tl.store(at + column, tl.min(lowest, axis=0), mask=column < head_dim)
    tl.store(at + width + column, tl.max(highest, axis=0), mask=column < head_dim)
    tl.store(at + 2 * width + column, tl.sum(total, axis=0), mask=column < head_dim)


@triton.jit
def _centred_kernel(
    x, centre, scales, out, tokens, row_step, batch_step, head_dim, heads,
    FP8_TOP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    column = tl.arange(0, BLOCK)
    there = (row < tokens)[:, None] & (column < head_dim)[None, :]
    at = x + batch * batch_step + row.to(tl.int64)[:, None] * row_step + head * head_dim + column[None, :]
    value = tl.load(at, mask=there, other=0.0).to(tl.float32)
    of_head = batch * heads + head
    value -= tl.load(centre + of_head * head_dim + column, mask=column < head_dim, other=0.0)[None, :]
    value = tl.clamp(value / tl.load(scales + of_head), -FP8_TOP, FP8_TOP)
    at = out + ((batch * tokens + row)[:, None] * heads + head) * head_dim + column[None, :]
    tl.store(at, value.to(out.dtype.element_ty), mask=there)


def extent(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lowest, highest and mean of each channel over all tokens. x: [B, L, heads, d] -> [B, 1, heads, d] each"""
    x = _by_row(x)
    batch, tokens, heads, head_dim = x.shape
    chunks = triton.cdiv(tokens, CHUNK)
    out = torch.empty((batch, chunks, 3, heads, head_dim), dtype=torch.float32, device=x.device)
    _extent_kernel[(chunks, heads, batch)](
        x, out, tokens, x.stride(1), x.stride(0), head_dim, heads,
        CHUNK=CHUNK, ROWS=ROWS, BLOCK=triton.next_power_of_2(head_dim), num_warps=4,
    )  # fmt: skip
    lowest, highest, total = out.unbind(2)
    return lowest.amin(1, keepdim=True), highest.amax(1, keepdim=True), total.sum(1, keepdim=True) / tokens


def rounded(x: Tensor, centre: Tensor, scales: Tensor) -> Tensor:
    """(x - centre) / scales in fp8. x: [B, L, heads, d], centre: [B, 1, heads, d], scales: [B, heads] -> as x"""
    x = _by_row(x)
    batch, tokens, heads, head_dim = x.shape
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    _centred_kernel[(triton.cdiv(tokens, 4 * ROWS), heads, batch)](
        x, centre.contiguous(), scales.contiguous(), out, tokens, x.stride(1), x.stride(0), head_dim, heads,
        FP8_TOP=FP8_MAX, ROWS=4 * ROWS, BLOCK=triton.next_power_of_2(head_dim), num_warps=4,
    )  # fmt: skip
    return out


def _by_row(x: Tensor) -> Tensor:
    """x with the heads of a token side by side."""
    return x if x.stride()[2:] == (x.shape[3], 1) else x.contiguous()
