"""The kernels of engine/kernels/heads.py in Triton: one pass to see how large the numbers are, one to round them."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.rows import FP8, FP8_MAX

CHUNK, ROWS = 128, 8  # rows of a program that looks, and how many at once
ROUNDED = 16  # rows of a program that rounds


@triton.jit
def _largest_kernel(
    x, centre, out, tokens, row_step, batch_step, head_dim,
    CHUNK: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, BLOCK)[None, :]
    first = tl.program_id(0) * CHUNK
    base = x + tl.program_id(2).to(tl.int64) * batch_step + tl.program_id(1) * head_dim + column
    of_head = tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)
    middle = tl.load(centre + of_head * head_dim + column, mask=column < head_dim, other=0.0)
    largest = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in tl.range(0, CHUNK, ROWS, loop_unroll_factor=4):
        row = (first + start + tl.arange(0, ROWS))[:, None]
        there = (row < tokens) & (column < head_dim)
        value = tl.load(base + row.to(tl.int64) * row_step, mask=there, other=0.0).to(tl.float32)
        largest = tl.maximum(largest, tl.where(there, tl.abs(value - middle), 0.0))
    place = (tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)) * tl.num_programs(1) + tl.program_id(1)
    tl.store(out + place, tl.max(tl.max(largest, axis=0), axis=0))


@triton.jit
def _rounded_kernel(
    x, centre, scales, out, tokens, row_step, batch_step, head_dim, heads,
    FP8_TOP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    column = tl.arange(0, BLOCK)[None, :]
    there = (row < tokens) & (column < head_dim)
    value = tl.load(x + batch * batch_step + row * row_step + head * head_dim + column, mask=there, other=0.0)
    of_head = batch * heads + head
    value = value.to(tl.float32) - tl.load(centre + of_head * head_dim + column, mask=column < head_dim, other=0.0)
    value = tl.clamp(value * (1.0 / tl.load(scales + of_head)), -FP8_TOP, FP8_TOP)
    at = out + ((batch * tokens + row) * heads + head) * head_dim + column
    tl.store(at, value.to(out.dtype.element_ty), mask=there)


def largest(x: Tensor, centre: Tensor) -> Tensor:
    """The largest size of x - centre in each head. x: [B, L, heads, d], centre: [B, heads, d] -> [B, heads] float32"""
    x = _by_row(x)
    batch, tokens, heads, head_dim = x.shape
    chunks = triton.cdiv(tokens, CHUNK)
    out = torch.empty((batch, chunks, heads), dtype=torch.float32, device=x.device)
    _largest_kernel[(chunks, heads, batch)](
        x, centre.contiguous(), out, tokens, x.stride(1), x.stride(0), head_dim,
        CHUNK=CHUNK, ROWS=ROWS, BLOCK=triton.next_power_of_2(head_dim), num_warps=1,
    )  # fmt: skip
    return out.amax(1)


def rounded(x: Tensor, centre: Tensor, scales: Tensor) -> Tensor:
    """(x - centre) / scales in fp8. x: [B, L, heads, d], centre: [B, heads, d], scales: [B, heads] -> as x"""
    x = _by_row(x)
    batch, tokens, heads, head_dim = x.shape
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    _rounded_kernel[(triton.cdiv(tokens, ROUNDED), heads, batch)](
        x, centre.contiguous(), scales.contiguous(), out, tokens, x.stride(1), x.stride(0), head_dim, heads,
        FP8_TOP=FP8_MAX, ROWS=ROUNDED, BLOCK=triton.next_power_of_2(head_dim), num_warps=1,
    )  # fmt: skip
    return out


def _by_row(x: Tensor) -> Tensor:
    """x with the heads of a token side by side."""
    return x if x.stride()[2:] == (x.shape[3], 1) else x.contiguous()
