"""The kernels of engine/kernels/rows.py in Triton: one program a row, each number read once and written once."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.kernels.rows import FP8, FP8_MAX, SMALLEST, Rows

GELU_CUBE = 0.044715
GELU_TWICE = 1.5957691216057308  # 2 sqrt(2 / pi): x sigmoid(2 u) is x (1 + tanh u) / 2


@triton.jit
def _stored(values, out, scales, row, start, width, FP8_OUT: tl.constexpr, FP8_TOP: tl.constexpr,
            LEAST: tl.constexpr, PART: tl.constexpr):  # fmt: skip
    """Write a row as it is, or in fp8 beside its scale."""
    scale = 1.0
    if FP8_OUT:
        largest = tl.abs(values[0])
        for i in tl.static_range(1, len(values)):
            largest = tl.maximum(largest, tl.abs(values[i]))
        scale = tl.maximum(tl.max(largest, axis=0), LEAST) / FP8_TOP
        tl.store(scales + row, scale)
    for i in tl.static_range(len(values)):
        column = i * PART + tl.arange(0, PART)
        value = values[i]
        if FP8_OUT:
            value = tl.clamp(value / scale, -FP8_TOP, FP8_TOP)
        tl.store(out + start + column, value.to(out.dtype.element_ty), mask=column < width)


@triton.jit
def _norm_kernel(
    x, change, gate, factor, shift, total, out, scales,
    width, tokens, gate_step, factor_step, shift_step, eps,
    HAS_CHANGE: tl.constexpr, HAS_GATE: tl.constexpr, HAS_NORM: tl.constexpr, FP8_OUT: tl.constexpr,
    FP8_TOP: tl.constexpr, LEAST: tl.constexpr, PARTS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    batch = row // tokens
    start = row * width
    values = ()
    summed = tl.zeros((PART,), tl.float32)
    for i in tl.static_range(PARTS):
        column = i * PART + tl.arange(0, PART)
        inside = column < width
        value = tl.load(x + start + column, mask=inside, other=0.0)
        if HAS_CHANGE:
            added = tl.load(change + start + column, mask=inside, other=0.0).to(tl.float32)
            if HAS_GATE:
                added *= tl.load(gate + batch * gate_step + column, mask=inside, other=0.0)
            value += added
        values = values + (value,)
        summed += value
    if HAS_CHANGE:  # after all loads, none of which may wait for a store
        for i in tl.static_range(PARTS):
            column = i * PART + tl.arange(0, PART)
            tl.store(total + start + column, values[i], mask=column < width)
    if HAS_NORM:
        mean = tl.sum(summed, axis=0) / width
        squared = tl.zeros((PART,), tl.float32)
        for i in tl.static_range(PARTS):
            centred = tl.where(i * PART + tl.arange(0, PART) < width, values[i] - mean, 0.0)
            squared += centred * centred
        gain = tl.rsqrt(tl.sum(squared, axis=0) / width + eps)
        results = ()
        for i in tl.static_range(PARTS):
            column = i * PART + tl.arange(0, PART)
            inside = column < width
            factors = tl.load(factor + batch * factor_step + column, mask=inside, other=0.0)
            shifts = tl.load(shift + batch * shift_step + column, mask=inside, other=0.0)
            results = results + ((values[i] - mean) * gain * factors + shifts,)
        _stored(results, out, scales, row, start, width, FP8_OUT, FP8_TOP, LEAST, PART)


@triton.jit
def _rms_kernel(
    x, weight, rope, centre, out, row_step, width, tokens, eps,
    ROPE: tl.constexpr, CENTRED: tl.constexpr, HALF: tl.constexpr, PARTS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    values = ()
    squared = tl.zeros((PART,), tl.float32)
    for i in tl.static_range(PARTS):
        column = i * PART + tl.arange(0, PART)
        value = tl.load(x + row * row_step + column, mask=column < width, other=0.0).to(tl.float32)
        values = values + (value,)
        squared += value * value
    gain = tl.rsqrt(tl.sum(squared, axis=0) / width + eps)
    results = ()
    for i in tl.static_range(PARTS):
        column = i * PART + tl.arange(0, PART)
        value = values[i] * gain * tl.load(weight + column, mask=column < width, other=0.0).to(tl.float32)
        if ROPE:
            even, odd = tl.split(tl.reshape(value, (PART // 2, 2)))
            angle = (row % tokens) * HALF + (i * (PART // 2) + tl.arange(0, PART // 2)) % HALF
            cos = tl.load(rope + angle)
            sin = tl.load(rope + tokens * HALF + angle)
            value = tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (PART,))
        if CENTRED:
            value -= tl.load(centre + (row // tokens) * width + column, mask=column < width, other=0.0)
        results = results + (value,)
    _stored(results, out, out, row, row * width, width, False, 0.0, 0.0, PART)


@triton.jit
def _round_kernel(
    x, shift, out, scales, width, tokens,
    SHIFTED: tl.constexpr, GELU: tl.constexpr, CUBE: tl.constexpr, TWICE: tl.constexpr,
    FP8_OUT: tl.constexpr, FP8_TOP: tl.constexpr, LEAST: tl.constexpr, PARTS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    values = ()
    for i in tl.static_range(PARTS):
        column = i * PART + tl.arange(0, PART)
        value = tl.load(x + row * width + column, mask=column < width, other=0.0).to(tl.float32)
        if SHIFTED:
            value += tl.load(shift + (row // tokens) * width + column, mask=column < width, other=0.0)
        if GELU:
            value = value * tl.sigmoid(TWICE * (value + CUBE * value * value * value))
        values = values + (value,)
    _stored(values, out, scales, row, row * width, width, FP8_OUT, FP8_TOP, LEAST, PART)


def layer_norm(x: Tensor, factor: Tensor, shift: Tensor, eps: float, dtype: torch.dtype) -> Tensor | Rows:
    """As rows.layer_norm."""
    x = x.contiguous()
    out, scales = _room(x, dtype)
    _norm(x, None, None, None, (factor, shift, eps, out, scales))
    return _result(out, scales)


def add_and_norm(
    x: Tensor, change: Tensor, gate: Tensor | None, factor: Tensor, shift: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor | Rows]:
    """As rows.add_and_norm."""
    x, total = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    out, scales = _room(x, dtype)
    _norm(x, change.contiguous(), gate, total, (factor, shift, eps, out, scales))
    return total, _result(out, scales)


def add(x: Tensor, change: Tensor, gate: Tensor) -> Tensor:
    """As rows.add."""
    x, total = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    _norm(x, change.contiguous(), gate, total, None)
    return total


def rms_norm(
    x: Tensor, weight: Tensor, eps: float, rope: Tensor | None, centre: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """As rows.rms_norm."""
    batch, tokens, heads, head_dim = x.shape
    if x.stride()[2:] != (head_dim, 1) or x.stride(0) != tokens * x.stride(1):
        x = x.contiguous()
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    width = heads * head_dim
    _rms_kernel[(batch * tokens,)](
        x, weight, weight if rope is None else rope.contiguous(), weight if centre is None else centre.contiguous(),
        out, x.stride(1), width, tokens, eps,
        ROPE=rope is not None, CENTRED=centre is not None, HALF=head_dim // 2,
        **_parts(width, 512 if dtype == FP8 else 1024, 4),
    )  # fmt: skip
    return out


def gelu(x: Tensor, dtype: torch.dtype) -> Tensor | Rows:
    """As rows.gelu."""
    return _rounded(x, None, dtype, gelu=True)


def shifted(x: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor | Rows:
    """As rows.shifted."""
    return _rounded(x, shift, dtype, gelu=False)


def quantised(x: Tensor) -> Rows:
    """As rows.quantised."""
    rows = _rounded(x, None, FP8, gelu=False)
    assert isinstance(rows, Rows)
    return rows


def _rounded(x: Tensor, shift: Tensor | None, dtype: torch.dtype, *, gelu: bool) -> Tensor | Rows:
    x = x.contiguous()
    out, scales = _room(x, dtype)
    width = x.shape[-1]
    cut = (4096, 8) if width > 8192 else (1024, 4)
    _round_kernel[(x.numel() // width,)](
        x, x if shift is None else shift.contiguous(), out, x if scales is None else scales, width, x.shape[-2],
        SHIFTED=shift is not None, GELU=gelu, CUBE=GELU_CUBE, TWICE=GELU_TWICE,
        FP8_OUT=scales is not None, FP8_TOP=FP8_MAX, LEAST=SMALLEST, **_parts(width, *cut),
    )  # fmt: skip
    return _result(out, scales)


Norm = tuple[Tensor, Tensor, float, Tensor, Tensor | None]  # factor, shift, eps, out, scales


def _norm(x: Tensor, change: Tensor | None, gate: Tensor | None, total: Tensor | None, norm: Norm | None) -> None:
    """Launch the norm kernel with what there is; a tensor that is not there is stood for by x and never read."""
    factor, shift, eps, out, scales = norm or (x, x, 0.0, x, None)
    cut = (2048, 8) if norm is None else (2048, 4) if scales is None else (512, 4)  # the fastest of seven on an H200
    _norm_kernel[(x.shape[0] * x.shape[1],)](
        x, x if change is None else change, x if gate is None else gate, factor, shift,
        x if total is None else total, out, x if scales is None else scales,
        x.shape[-1], x.shape[1], 0 if gate is None else _step(gate), _step(factor), _step(shift), eps,
        HAS_CHANGE=change is not None, HAS_GATE=gate is not None, HAS_NORM=norm is not None,
        FP8_OUT=scales is not None, FP8_TOP=FP8_MAX, LEAST=SMALLEST, **_parts(x.shape[-1], *cut),
    )  # fmt: skip


def _room(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Where a result of x's shape goes, and its scales."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    scales = torch.empty((*x.shape[:-1], 1), dtype=torch.float32, device=x.device) if dtype == FP8 else None
    return out, scales


def _result(out: Tensor, scales: Tensor | None) -> Tensor | Rows:
    return out if scales is None else Rows(out, scales)


def _step(vector: Tensor) -> int:
    """From one batch's vector to the next one's. vector: [B or 1, 1, D]"""
    assert vector.stride(-1) == 1
    return vector.stride(0) if vector.shape[0] > 1 else 0


def _parts(width: int, part: int, warps: int) -> dict[str, int]:
    """A row in parts of a power of two, and how many warps share it."""
    part = min(part, triton.next_power_of_2(width))
    return {"PARTS": triton.cdiv(width, part), "PART": part, "num_warps": max(1, min(warps, part // 32))}
