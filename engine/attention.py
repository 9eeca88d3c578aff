"""Attention behind one function, so that a faster kernel has one place to go.

B batch, L queries, S keys, d head width
"""

import torch.nn.functional as F
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax(q k / sqrt(d)) v, unmasked. q: [B, L, heads, d], k and v: [B, S, heads, d] -> [B, L, heads, d]"""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)
