"""The Wan diffusion transformer (DiT): it predicts the velocity of noisy latents, with the official key names.

Precision, as in the official recipe: residual stream, modulation, norms, time embedding and head in float32, the
blocks' matrix products in the dtype of their biases (DiT.to_precision). Facts: Wan2.2, wan/modules/model.py.

    B batch, C channels, T latent frames, H W latent height and width, D width of the model, d width of a head,
    L = T (H / 2) (W / 2) tokens, S text slots
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.attention import attention_by_frame, cross_attention, self_attention, self_attention_fp8, takes_fp8
from engine.kernels.heads import Heads, normed_heads, quantised_heads
from engine.kernels.rows import Rows, add, add_and_norm, layer_norm, rms_norm, shifted
from engine.products import feed_forward, reads, to_fp8
from engine.team.team import Team

PATCH = (1, 2, 2)  # latent frames, rows and columns that make one token
ROPE_THETA = 10_000.0
TIME_UNITS = 1000.0  # the network was trained with noise levels in thousandths
TEXT_PRODUCTS = ("cross_attn.k", "cross_attn.v")  # of a block: they read a text once, and no step uses them


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the network; the defaults are Wan2.2 I2V-A14B's. Inputs are latents 16, mask 4, condition 16."""

    dim: int = 5120
    ffn_dim: int = 13824
    freq_dim: int = 256
    heads: int = 40
    layers: int = 40
    in_dim: int = 36
    out_dim: int = 16
    text_dim: int = 4096
    text_len: int = 512
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.dim % self.heads or self.head_dim % 2 or self.head_dim < 6:
            raise ValueError(f"a head needs an even width of at least 6, got {self.dim} / {self.heads}")

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.dim // self.heads


@dataclass(frozen=True)
class NAG:
    """Normalized attention guidance: how far to move away from the negative text (`scale`), how far at most
    (`tau`, as a ratio of lengths), and how much of it to take (`alpha`)."""  # fmt: skip

    scale: float
    tau: float
    alpha: float


@dataclass(frozen=True)
class TextContext:
    """What the blocks read of a text: keys and values of each block, [B, S, heads, d]. It serves all steps.

    `bias`, if any, is added to the scores of each latent frame's queries (engine/relay.py): [T, S], or one a video,
    [B, T, S].
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    negative: "TextContext | None" = None
    bias: Tensor | None = None

    def with_negative(self, negative: "TextContext") -> "TextContext":
        """This context with the text to move away from, for NAG."""
        return replace(self, negative=negative)

    def with_bias(self, bias: Tensor) -> "TextContext":
        """This context, looked at by each latent frame with a bias of its own. bias: [T, S] or [B, T, S]"""
        return replace(self, bias=bias)

    def of_share(self, team: Team) -> "TextContext":
        """This context for one process's share of the tokens, where those of each frame can be shared evenly."""
        if self.bias is None:
            return self
        return replace(self, bias=team.part(self.bias.repeat_interleave(team.size, dim=-2), dim=-2))


class BlockText(NamedTuple):
    """A text as one block reads it: keys and values [B or 1, S, heads, d], bias [T, S] or [B, T, S]."""

    keys: Tensor
    values: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True)
class Embedded:
    """Inputs as the blocks take them. tokens: [B, L, D], time: [B, D], modulation: [B, 6, D], rope: [2, L, 1, d / 2]"""

    tokens: Tensor
    time: Tensor
    modulation: Tensor
    rope: Tensor


class RMSNorm(nn.Module):
    """Root mean square norm over the whole width of a token, in float32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor, rope: Tensor | None = None) -> Tensor:
        """x: [B, L, heads, d]; rope: [2, L, 1, d / 2], turns the result where it is given -> as x"""
        return rms_norm(x, self.weight, self.eps, rope)

    def in_fp8(self, x: Tensor, rope: Tensor, *, centred: bool) -> Heads:
        """The same in fp8; `centred` is for keys."""
        return normed_heads(x, self.weight, self.eps, rope, centred=centred)


class Attention(nn.Module):
    """Projections of one attention; queries and keys are normed over the full width, before they split into heads."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, eps)
        self.norm_k = RMSNorm(dim, eps)

    def split(self, x: Tensor) -> Tensor:
        """x: [B, L, D] -> [B, L, heads, d]"""
        return x.view(*x.shape[:-1], self.heads, -1)


class SelfAttention(Attention):
    """Every token of the window sees every other. `in_fp8`: the attention itself is computed in fp8.

    With a `team`, x and what comes back are this process's share of the tokens.
    """

    in_fp8 = False
    team: Team | None = None

    def forward(self, x: Tensor | Rows, rope: Tensor) -> Tensor:
        """x: [B, L, D], rope: [2, L, 1, d / 2] -> [B, L, D]"""
        if self.team is not None:
            return self._shared(self.team, x, rope)
        q, k, v = (self.split(product(x)) for product in (self.q, self.k, self.v))
        seen: Tensor | Rows
        if self.in_fp8 and takes_fp8(v):
            queries, keys = (norm.in_fp8(t, rope, centred=t is k) for norm, t in ((self.norm_q, q), (self.norm_k, k)))
            values = quantised_heads(v)
            centred = self_attention_fp8(queries, keys, values).flatten(2)
            seen = shifted(centred, values.centre.flatten(1), reads(self.o))
        else:
            seen = self_attention(self.norm_q(q, rope), self.norm_k(k, rope), v).flatten(2)
        out: Tensor = self.o(seen)
        return out

    def _shared(self, team: Team, x: Tensor | Rows, rope: Tensor) -> Tensor:
        """The same with all tokens of some heads; numbers become fp8 only where all tokens of a head are together."""
        values_sent = team.sent_to_heads(self.split(self.v(x)))  # each is under way while the next is multiplied
        keys_sent = team.sent_to_heads(self.norm_k(self.split(self.k(x)), rope))
        q = team.to_heads(self.norm_q(self.split(self.q(x)), rope))
        k, v = keys_sent(), values_sent()
        if self.in_fp8 and takes_fp8(v):
            values = quantised_heads(v)
            centred = self_attention_fp8(quantised_heads(q, centred=False), quantised_heads(k), values).flatten(2)
            seen = shifted(centred, values.centre.flatten(1), v.dtype)
            assert isinstance(seen, Tensor), "not in fp8"
            seen = seen.view(v.shape)
        else:
            seen = self_attention(q, k, v)
        out: Tensor = self.o(team.to_tokens(seen).flatten(2))
        return out


class CrossAttention(Attention):
    """Every token of the window sees the whole text, padding included."""

    def keys_values(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a text, the same in every step. text: [B, S, D] -> twice [B, S, heads, d]"""
        return self.norm_k(self.split(self.k(text))), self.split(self.v(text))

    def forward(self, x: Tensor | Rows, text: BlockText, negative: BlockText | None, nag: NAG | None) -> Tensor:
        """x: [B, L, D] -> [B, L, D]"""
        q = self.norm_q(self.split(self.q(x)))
        seen = self._look(q, text)
        if nag is not None and negative is not None:
            seen = normalized_attention_guidance(seen, self._look(q, negative), nag)
        out: Tensor = self.o(seen)
        return out

    def _look(self, q: Tensor, text: BlockText) -> Tensor:
        k, v = (part.expand(q.shape[0], -1, -1, -1) for part in (text.keys, text.values))
        seen = cross_attention(q, k, v) if text.bias is None else attention_by_frame(q, k, v, text.bias)
        return seen.flatten(2)


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward; the noise level shifts, scales and gates the outer two."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = SelfAttention(config.dim, config.heads, config.eps)
        self.cross_attn = CrossAttention(config.dim, config.heads, config.eps)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)  # before the cross-attention; the other two have no weights
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, config.dim) / config.dim**0.5)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        rope: Tensor,
        text: BlockText,
        negative: BlockText | None = None,
        nag: NAG | None = None,
    ) -> Tensor:
        """x: [B, L, D] float32, modulation: [B, 6, D] float32 -> [B, L, D] float32"""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation.float() + modulation).chunk(6, dim=1)
        weight, bias = (vector.float().view(1, 1, -1) for vector in (self.norm3.weight, self.norm3.bias))
        normed = layer_norm(x, 1 + scale1, shift1, self.eps, reads(self.self_attn.q))
        change = self.self_attn(normed, rope)
        x, normed = add_and_norm(x, change, gate1, weight, bias, self.eps, reads(self.cross_attn.q))
        change = self.cross_attn(normed, text, negative, nag)
        x, normed = add_and_norm(x, change, None, 1 + scale2, shift2, self.eps, reads(self.ffn[0]))
        return add(x, feed_forward(self.ffn, normed), gate2)


class Head(nn.Module):
    """Tokens -> patches of velocity, in float32."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, config.out_dim * PATCH[0] * PATCH[1] * PATCH[2])
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: [B, L, D], time: [B, D] -> [B, L, 4 out_dim] float32"""
        with torch.autocast(x.device.type, enabled=False):
            shift, scale = (self.modulation.float() + time[:, None]).chunk(2, dim=1)
            out: Tensor = self.head(modulate(x, shift, scale, self.eps).to(self.head.bias.dtype))
        return out.float()


class DiT(nn.Module):
    """The whole transformer: one expert. Set `checkpointing` to trade time for memory while training."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.team: Team | None = None
        self.patch_embedding = nn.Conv3d(config.in_dim, config.dim, PATCH, stride=PATCH)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, config.dim), nn.GELU(approximate="tanh"), nn.Linear(config.dim, config.dim)
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(config.freq_dim, config.dim), nn.SiLU(), nn.Linear(config.dim, config.dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)

    def to_precision(self, dtype: torch.dtype) -> "DiT":
        """This network with the matrix products of its blocks and its text embedding in `dtype`.

        Everything else stays as it is: the norms, the modulation, the patch and time embeddings and the head belong in
        float32, where errors would reach the result undamped.
        """
        for part in (self.blocks, self.text_embedding):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    module.to(dtype)
        return self

    def to_fp8(self, *, attention: bool, kept: int = 1, device: torch.device | None = None) -> "DiT":
        """This network with the matrix products of its blocks in fp8, and with `attention` their self-attention too.

        The first and last `kept` blocks stay as they are: there errors are largest. LoRAs must be merged before.
        `device` computes, and keeps nothing; without one, each weight's own.
        """
        blocks = list(cast("Iterable[Block]", self.blocks))[kept : self.config.layers - kept]
        for block in blocks:
            to_fp8(block, kept=TEXT_PRODUCTS, device=device)  # of a text: few, and every step looks at them
            block.self_attn.in_fp8 = attention
        return self

    def shared_evenly(self, latents: Sequence[int], processes: int, *, by_frame: bool) -> bool:
        """Whether so many processes can share a forward. latents: [..., T, h, w] of its shape; by_frame: texts have a
        bias, so the tokens of each frame are shared"""
        frames, height, width = latents[-3:]
        per_frame = (height // PATCH[1]) * (width // PATCH[2])
        tokens = per_frame if by_frame else frames * per_frame
        return self.config.heads % processes == 0 and tokens % processes == 0

    def share(self, team: Team | None) -> "DiT":
        """This network, of whose forwards each process of a team computes a part; with None, all of it again."""
        if team == self.team:
            return self
        self.team = team
        for block in cast("Iterable[Block]", self.blocks):
            block.self_attn.team = team
        return self

    def encode_text(self, embeddings: Tensor) -> TextContext:
        """Keys and values of a text for every block, computed once. embeddings: [B, tokens <= text_len, text_dim]

        The text is padded with zeros to text_len slots and nothing is masked: the network was trained to see them all.
        """
        missing = self.config.text_len - embeddings.shape[1]
        if missing < 0:
            raise ValueError(f"a text has at most {self.config.text_len} tokens, got {embeddings.shape[1]}")
        text = _run(self.text_embedding, F.pad(embeddings, (0, 0, 0, missing)))
        keys, values = zip(
            *(block.cross_attn.keys_values(text) for block in cast("Iterable[Block]", self.blocks)), strict=True
        )
        return TextContext(keys, values)

    def forward(
        self,
        inputs: Tensor,
        sigma: Tensor,
        text: TextContext,
        skip_blocks: Iterable[int] = frozenset(),
        nag: NAG | None = None,
    ) -> Tensor:
        """Velocity, noise - video. inputs: [B, in_dim, T, H, W], sigma: [B] in [0, 1] -> [B, out_dim, T, H, W] float32

        Blocks in `skip_blocks` pass their input on (skip-layer guidance); `nag` needs a text with a negative.
        """
        embedded = self.embed(inputs, sigma)
        tokens = self.run_blocks(embedded, text, skip_blocks, nag)
        return self.unpatch(tokens, embedded.time, inputs.shape)

    def embed(self, inputs: Tensor, sigma: Tensor) -> Embedded:
        """What comes before the blocks; with a team, this process's share. inputs: [B, in_dim, T, H, W], sigma: [B]"""
        frames, height, width = inputs.shape[2:]
        if height % PATCH[1] or width % PATCH[2]:
            raise ValueError(f"latents need an even height and width, got {height} and {width}")
        with torch.autocast(inputs.device.type, enabled=False):
            patches = self.patch_embedding(inputs.to(self.patch_embedding.weight.dtype))
            time = _run(self.time_embedding, sinusoid(sigma, self.config.freq_dim))
            modulation = _run(self.time_projection, time).float().view(-1, 6, self.config.dim)
        rope = rope_table((frames, height // PATCH[1], width // PATCH[2]), self.config.head_dim, inputs.device)
        tokens = rearrange(patches, "b c t h w -> b (t h w) c").float()
        if self.team is not None:
            tokens, rope = self.team.part(tokens, dim=1), self.team.part(rope, dim=1)
        return Embedded(tokens, time.float(), modulation, rope)

    def run_blocks(
        self, embedded: Embedded, text: TextContext, skip_blocks: Iterable[int] = frozenset(), nag: NAG | None = None
    ) -> Tensor:
        """The residual stream after all blocks but the skipped ones: [B, L, D] float32."""
        if nag is not None and text.negative is None:
            raise ValueError("NAG needs a text with a negative")
        if self.team is not None:
            text = text.of_share(self.team)
        skipped = set(skip_blocks)
        x = embedded.tokens
        for index, block in enumerate(self.blocks):
            if index in skipped:
                continue
            negative = None if nag is None or text.negative is None else _of_block(text.negative, index)
            arguments = (x, embedded.modulation, embedded.rope, _of_block(text, index), negative, nag)
            x = checkpoint(block, *arguments, use_reentrant=False) if self.checkpointing else block(*arguments)
        return x

    def unpatch(self, tokens: Tensor, time: Tensor, shape: torch.Size) -> Tensor:
        """What comes after the blocks. tokens: [B, L, D], time: [B, D], shape of the inputs -> [B, out_dim, T, H, W]"""
        _, _, frames, height, width = shape
        patches = self.head(tokens, time)
        out: Tensor = rearrange(
            patches if self.team is None else self.team.whole(patches),
            "b (t h w) (pt ph pw c) -> b c (t pt) (h ph) (w pw)",
            t=frames // PATCH[0], h=height // PATCH[1], w=width // PATCH[2], pt=PATCH[0], ph=PATCH[1], pw=PATCH[2],
        )  # fmt: skip
        return out


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Layer norm without weights, then the noise level's scale and shift. x: [B, L, D], shift and scale: [B, 1, D]"""
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


@lru_cache(maxsize=8)
def rope_table(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Tensor:
    """Cosines and sines of every token's place in the grid of (frames, rows, columns): [2, L, 1, d / 2] float32.

    Of a head's channels 2 (d // 6) turn with the row, as many with the column, the rest with the frame. RIFLEx, which
    turns one of them more slowly, is for windows of more than 97 frames; ours have 81.
    """
    spatial = 2 * (head_dim // 6)
    with torch.inference_mode(mode=False):  # the table outlives the call; an inference tensor could not be trained with
        angles = []
        for axis, width in enumerate((head_dim - 2 * spatial, spatial, spatial)):
            speeds = ROPE_THETA ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
            place = torch.arange(grid[axis], dtype=torch.float64).reshape([-1 if i == axis else 1 for i in range(3)])
            angles.append((place[..., None] * speeds).expand(*grid, -1))
        angle = torch.cat(angles, dim=-1).reshape(-1, 1, head_dim // 2)
        return torch.stack((angle.cos(), angle.sin())).to(device, torch.float32)


def sinusoid(sigma: Tensor, width: int) -> Tensor:
    """Waves of the noise level, cosines first, computed in float64. sigma: [B] in [0, 1] -> [B, width] float32"""
    half = width // 2
    speeds = ROPE_THETA ** -(torch.arange(half, dtype=torch.float64, device=sigma.device) / half)
    angles = sigma.double()[:, None] * TIME_UNITS * speeds
    return torch.cat((angles.cos(), angles.sin()), dim=-1).float()


def normalized_attention_guidance(positive: Tensor, negative: Tensor, nag: NAG) -> Tensor:
    """Attention to the positive text, moved away from the negative one. [B, L, D] each -> [B, L, D]

    Lengths are sums of absolute values over a token's full width. As in Wan2GP, models/wan/modules/model.py.
    """
    plus, minus = positive.float(), negative.float()
    moved = nag.scale * plus - (nag.scale - 1) * minus
    limit = nag.tau * plus.abs().sum(-1, keepdim=True)
    length = moved.abs().sum(-1, keepdim=True)
    moved = torch.where(length > limit, moved * (limit / (length + 1e-7)), moved)
    return (nag.alpha * moved + (1 - nag.alpha) * plus).to(positive.dtype)


def _run(layers: nn.Sequential, x: Tensor) -> Tensor:
    """The layers' output for x, in the dtype of their weights."""
    out: Tensor = layers(x.to(next(layers.parameters()).dtype))
    return out


def _of_block(text: TextContext, index: int) -> BlockText:
    return BlockText(text.keys[index], text.values[index], text.bias)
