"""Laws of attention behind its one module."""

import pytest
import torch
from oracles import relative_error
from torch import Tensor

from engine.attention import CROSS, SELF, Kernel, chosen, cross_attention, flash_attention_3, self_attention, using


def some(seed: int, tokens: int = 6) -> Tensor:
    return torch.randn(2, tokens, 3, 8, generator=torch.Generator().manual_seed(seed))


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("blhd,bshd->bhls", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bhls,bshd->blhd", scores.softmax(-1), v)


def test_attention_is_the_formula():
    q, k, v = some(1), some(2), some(3)
    assert relative_error(self_attention(q, k, v), by_hand(q, k, v)) < 1e-6
    k, v = some(4, tokens=11), some(5, tokens=11)
    assert relative_error(cross_attention(q, k, v), by_hand(q, k, v)) < 1e-6


@pytest.mark.parametrize("kernel", Kernel)
def test_a_kernel_that_cannot_is_passed_over(kernel):
    q, k, v = some(1), some(2), some(3)
    with using(kernel):
        assert chosen(SELF, q, k, v) is chosen(CROSS, q, k, v) is Kernel.TORCH
        assert torch.equal(self_attention(q, k, v), cross_attention(q, k, v))


def test_flash_attention_tells_a_compiler_what_it_returns():
    q = torch.empty(2, 6, 3, 64, dtype=torch.bfloat16, device="meta")
    out = flash_attention_3(q, q, q)
    assert (out.shape, out.dtype, out.stride()) == (q.shape, q.dtype, q.stride())
