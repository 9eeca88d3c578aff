"""Several GPUs at one forward: each has its part of the tokens, and in self-attention its part of the heads (Ulysses).

Between the two lies an exchange: every process sends each other one the heads that are that one's, for its own tokens.
Every process holds the whole network and calls it with the same inputs; all get the same velocity. Jacobs et al.,
DeepSpeed Ulysses, 2023.

    B batch, L tokens, l = L / P tokens of one of P processes, d width of a head
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """The processes of torch's default group, as one of them sees it."""

    rank: int
    size: int

    @classmethod
    def here(cls) -> "Team":
        """The team of this process, whose group was made before."""
        return cls(dist.get_rank(), dist.get_world_size())

    def part(self, x: Tensor, dim: int) -> Tensor:
        """This process's share of x, which is divided evenly along `dim`."""
        if x.shape[dim] % self.size:
            raise ValueError(f"{x.shape[dim]} cannot be shared evenly by {self.size}")
        return x.chunk(self.size, dim)[self.rank].contiguous()

    def whole(self, x: Tensor) -> Tensor:
        """All shares of tokens, in order. x: [B, l, ...] -> [B, L, ...]"""
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts, dim=1)

    def to_heads(self, x: Tensor) -> Tensor:
        """All tokens with some heads, for some tokens with all heads. [B, l, heads, d] -> [B, L, heads / P, d]"""
        parts = rearrange(x, "b l (p h) d -> p b l h d", p=self.size)
        return rearrange(self._exchanged(parts), "p b l h d -> b (p l) h d")

    def to_tokens(self, x: Tensor) -> Tensor:
        """Undo `to_heads`. [B, L, heads / P, d] -> [B, l, heads, d]"""
        parts = rearrange(x, "b (p l) h d -> p b l h d", p=self.size)
        return rearrange(self._exchanged(parts), "p b l h d -> b l (p h) d")

    def _exchanged(self, parts: Tensor) -> Tensor:
        """What the others have for this process, for what it has for them. parts: [P, ...], one for each -> the same"""
        got = torch.empty_like(parts, memory_format=torch.contiguous_format)
        dist.all_to_all_single(got, parts.contiguous())
        return got
