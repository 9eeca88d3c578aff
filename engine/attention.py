"""Attention: which kernel computes it is decided here, for each use by itself.

FlashAttention 3 (the package fa3-fwd, extra `gpu`) where it is installed and the GPU is a Hopper; else cuDNN's; else
whatever torch has, on any machine. All are softmax(q k / sqrt(d)) v up to rounding.

    B batch, L queries, S keys, d width of a head, T latent frames
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.kernels import hopper
from engine.kernels.heads import Heads

FA3_HEADS = (64, 96, 128, 192, 256)  # widths that FlashAttention 3 has kernels for


class Kernel(StrEnum):
    """What computes an attention."""

    FA3 = "fa3"
    CUDNN = "cudnn"
    FLASH = "flash"  # FlashAttention 2, as torch ships it
    TORCH = "torch"  # whatever torch takes


SELF = (Kernel.FA3, Kernel.CUDNN, Kernel.TORCH)  # fastest first, as measured on an H200
CROSS = (Kernel.CUDNN, Kernel.FA3, Kernel.TORCH)
_WANTED: ContextVar[Kernel | None] = ContextVar("wanted", default=None)


@contextmanager
def using(kernel: Kernel) -> Iterator[None]:
    """Within, this kernel computes every attention that it can, for comparisons."""
    token = _WANTED.set(kernel)
    try:
        yield
    finally:
        _WANTED.reset(token)


def self_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token looks at every other. q, k and v: [B, L, heads, d] -> [B, L, heads, d]"""
    return _computed(chosen(SELF, q, k, v), q, k, v)


def takes_fp8(x: Tensor) -> bool:
    """Whether self_attention_fp8 can look at tokens like these: on a GPU that needs FlashAttention 3."""
    return not x.is_cuda or chosen((Kernel.FA3, Kernel.TORCH), x, x, x) is Kernel.FA3


def self_attention_fp8(q: Heads, k: Heads, v: Heads) -> Tensor:
    """As self_attention with its products in fp8, which loses 6 % of a random input, and less the centre of the values.

    -> [B, L, heads, d]; bfloat16 comes from FlashAttention 3; a CPU multiplies the rounded numbers in float32.
    """
    heads = (q, k, v)
    if q.values.is_cuda:
        out: Tensor = flash_attention_3_fp8([part.values for part in heads], [part.scales for part in heads])
        return out
    return _computed(Kernel.TORCH, *(part.wide() for part in heads))


def cross_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Tokens look at a text. q: [B, L, heads, d], k and v: [B, S, heads, d] -> [B, L, heads, d]"""
    return _computed(chosen(CROSS, q, k, v), q, k, v)


def chosen(best_first: tuple[Kernel, ...], q: Tensor, k: Tensor, v: Tensor) -> Kernel:
    """The first kernel that can take these tensors; the one that `using` asks for comes before all."""
    wanted = None if torch.compiler.is_compiling() else _WANTED.get()
    order = best_first if wanted is None else (wanted, Kernel.TORCH)
    return next(kernel for kernel in order if _can(kernel, q, k, v))


def _can(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor) -> bool:
    if kernel is Kernel.TORCH:
        return True
    half = q.is_cuda and q.dtype in (torch.bfloat16, torch.float16)
    if kernel is not Kernel.FA3:
        return half and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128
    learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (q, k, v))
    fits = q.dtype is torch.bfloat16 and q.shape[-1] in FA3_HEADS
    return half and fits and not learning and hopper(q.device) and fa3_installed()


@lru_cache(maxsize=1)
def fa3_installed() -> bool:
    """Whether FlashAttention 3 is here."""
    return find_spec("fa3_fwd_interface") is not None


def _computed(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if kernel is Kernel.FA3:
        out: Tensor = flash_attention_3(q, k, v)
        return out
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    if kernel is Kernel.TORCH:
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    backend = SDPBackend.CUDNN_ATTENTION if kernel is Kernel.CUDNN else SDPBackend.FLASH_ATTENTION
    with sdpa_kernel([backend, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION], set_priority=True):
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


@torch.library.custom_op("longtake::flash_attention_3", mutates_args=())
def flash_attention_3(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """FlashAttention 3, as an operator that torch.compile passes by. Shapes as self_attention."""
    out: Tensor = import_module("fa3_fwd_interface").flash_attn_func(q, k, v)
    return out


@flash_attention_3.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # noqa: ARG001
    return q.new_empty(q.shape)


@torch.library.custom_op("longtake::flash_attention_3_fp8", mutates_args=())
def flash_attention_3_fp8(qkv: list[Tensor], scales: list[Tensor]) -> Tensor:
    """The same in fp8. qkv: [B, L, heads, d] each, scales: [B, heads] each -> [B, L, heads, d] bfloat16"""
    (q, k, v), (q_scale, k_scale, v_scale) = qkv, scales
    flash = import_module("fa3_fwd_interface").flash_attn_func
    out: Tensor = flash(q, k, v, q_descale=q_scale, k_descale=k_scale, v_descale=v_scale)
    return out


@flash_attention_3_fp8.register_fake
def _(qkv: list[Tensor], scales: list[Tensor]) -> Tensor:  # noqa: ARG001
    return qkv[0].new_empty(qkv[0].shape, dtype=torch.bfloat16)


def attention_by_frame(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """As cross_attention, with `bias` ([T, S], or one a video: [B, T, S]) added, T times L / T queries at a time.

    Frames are put side by side into the batch, since that is fastest on a CPU: with one mask for all L queries it takes
    1.5 times as long, with one call for each frame up to six times.
    """
    batch, frames = len(q), bias.shape[-2]
    queries = rearrange(q, "b (t l) h d -> (b t) h l d", t=frames)
    keys, values = (repeat(part, "b s h d -> (b t) h s d", t=frames) for part in (k, v))  # no copy for one video
    each = rearrange(bias.expand(batch, -1, -1).to(q.dtype), "b t s -> (b t) 1 1 s")
    mask = each.expand(-1, -1, queries.shape[2], -1)
    out = F.scaled_dot_product_attention(queries, keys, values, mask)
    return rearrange(out, "(b t) h l d -> b (t l) h d", b=batch)
