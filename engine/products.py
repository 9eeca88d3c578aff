"""A block's matrix products, in fp8 where that was asked for.

B batch, L tokens, in and out: width of what a product reads and writes
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.kernels.rows import FP8, Rows, gelu, quantised


class Fp8Linear(nn.Module):
    """A Linear in fp8 (e4m3) with one scale for each row of the input and each row of the weight.

    Sums are float32 but on GPUs, whose fast accumulation keeps fewer bits between the parts of a sum.
    """

    def __init__(self, linear: nn.Linear, device: torch.device | None = None) -> None:
        super().__init__()
        here = linear.weight.device
        rows = quantised(linear.weight.detach().to(device or here))
        self.weight = nn.Parameter(rows.values.to(here), requires_grad=False)  # [out, in]
        self.scale = nn.Parameter(rows.scales.to(here), requires_grad=False)  # [out, 1] float32
        self.bias = linear.bias

    def forward(self, x: Tensor | Rows) -> Tensor:
        """x: [B, L, in] -> [B, L, out] in the dtype of the bias"""
        rows = x if isinstance(x, Rows) else quantised(x)
        return fp8_product(rows, self.weight, self.scale, self.bias)


def fp8_product(x: Rows, weight: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """x weight^T + bias. x: [..., in], weight: [out, in], scale: [out, 1], bias: [out] -> [..., out], dtype of bias"""
    if not x.values.is_cuda:
        return F.linear(x.wide(), weight.float() * scale, bias.float()).to(bias.dtype)
    out = torch._scaled_mm(
        x.values.flatten(0, -2), weight.t(), scale_a=x.scales.flatten(0, -2), scale_b=scale.t(),
        bias=bias, out_dtype=bias.dtype, use_fast_accum=True,
    )  # fmt: skip
    return out.view(*x.values.shape[:-1], -1)


def to_fp8(module: nn.Module, kept: Collection[str], device: torch.device | None = None) -> None:
    """Every Linear of `module` in fp8, but those named in `kept` and those that a LoRA runs beside.

    `device` computes; without one, each weight's own.
    """
    for name, linear in list(module.named_modules()):
        if isinstance(linear, nn.Linear) and name not in kept and not linear._forward_hooks:
            path, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(path), leaf, Fp8Linear(linear, device))


def reads(product: nn.Module) -> torch.dtype:
    """The dtype that a product wants its input in: fp8, or that of its bias."""
    weight, bias = product.weight, product.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return FP8 if weight.dtype == FP8 else bias.dtype


def feed_forward(layers: nn.Sequential, x: Tensor | Rows) -> Tensor:
    """Product, GELU, product: as `layers`, which are a Linear or Fp8Linear each. x: [B, L, in] -> [B, L, in]"""
    first, second = layers[0], layers[2]
    alone = isinstance(first, nn.Linear) and not first._forward_hooks and not torch.is_grad_enabled()
    if alone and isinstance(x, Tensor) and x.is_cuda and x.dtype == reads(second) == torch.bfloat16:
        # GELU within the product, before it is rounded; CUDA's is the tanh formula.
        weight, bias = first.get_parameter("weight"), first.get_parameter("bias")
        hidden = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return _tensor(second(hidden.view(*x.shape[:-1], -1)))
    return _tensor(second(gelu(first(x), reads(second))))


def _tensor(out: Tensor) -> Tensor:
    """What a module returns, which mypy takes for anything."""
    return out
