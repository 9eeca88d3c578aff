"""Several GPUs at one evaluation, in one of two ways.

By branches, where two texts are predicted for: each of two processes predicts for one of them, as it would alone. By
tokens (Ulysses): each has its part of the tokens, and in self-attention its part of the heads. Between the two lies an
exchange: every process sends each other one the heads that are that one's, for its own tokens. Every process holds the
whole network and calls it with the same inputs; all get the same velocity. Jacobs et al., DeepSpeed Ulysses, 2023.

    B batch, L tokens, l = L / P tokens of one of P processes, d width of a head
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor


class Way(StrEnum):
    """How an evaluation is shared."""

    ALONE = "alone"
    BRANCHES = "branches"
    TOKENS = "tokens"


@dataclass(frozen=True)
class Team:
    """The processes of torch's default group, as one of them sees it. Number 0 leads."""

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
        return torch.cat(self.each(x), dim=1)

    def each(self, x: Tensor) -> list[Tensor]:
        """What every process has for x, in order."""
        parts = [torch.zeros_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous())
        return parts

    def from_leader(self, x: Tensor) -> Tensor:
        """The leader's x; elsewhere x is overwritten by it."""
        x = x.contiguous()
        dist.broadcast(x, src=0)
        return x

    def to_heads(self, x: Tensor) -> Tensor:
        """All tokens with some heads, for some tokens with all heads. [B, l, heads, d] -> [B, L, heads / P, d]"""
        return self.sent_to_heads(x)()

    def sent_to_heads(self, x: Tensor) -> Callable[[], Tensor]:
        """`to_heads`, begun: what comes back waits for it. Meanwhile a GPU computes on."""
        arrived = self._exchanged(rearrange(x, "b l (p h) d -> p b l h d", p=self.size))
        return lambda: rearrange(arrived(), "p b l h d -> b (p l) h d")

    def to_tokens(self, x: Tensor) -> Tensor:
        """Undo `to_heads`. [B, L, heads / P, d] -> [B, l, heads, d]"""
        arrived = self._exchanged(rearrange(x, "b (p l) h d -> p b l h d", p=self.size))
        return rearrange(arrived(), "p b l h d -> b l (p h) d")

    def _exchanged(self, parts: Tensor) -> Callable[[], Tensor]:
        """What the others have for this process, for what it has for them. parts: [P, ...], one for each -> the same"""
        sent = parts.contiguous()
        got = torch.empty_like(sent)
        work = dist.all_to_all_single(got, sent, async_op=True)

        def arrived(_: Tensor = sent) -> Tensor:  # held until then, or its memory might be used anew
            work.wait()
            return got

        return arrived
