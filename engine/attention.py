"""Attention behind one function, so that a faster kernel has one place to go.

B batch, L queries, S keys, d head width, T latent frames
"""

import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax(q k / sqrt(d)) v, unmasked. q: [B, L, heads, d], k and v: [B, S, heads, d] -> [B, L, heads, d]"""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def attention_by_frame(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """The same with `bias` [T, S] added to the scores, T times L / T queries at a time.

    Frames stand in the batch: one mask for all of L takes half as long again on a CPU, a call a frame up to six times.
    """
    batch, frames = len(q), len(bias)
    queries = rearrange(q, "b (t l) h d -> (b t) h l d", t=frames)
    keys, values = (repeat(part, "b s h d -> (b t) h s d", t=frames) for part in (k, v))  # no copy for one video
    mask = repeat(bias.to(q.dtype), "t s -> (b t) 1 1 s", b=batch).expand(-1, -1, queries.shape[2], -1)
    out = F.scaled_dot_product_attention(queries, keys, values, mask)
    return rearrange(out, "(b t) h l d -> b (t l) h d", b=batch)
