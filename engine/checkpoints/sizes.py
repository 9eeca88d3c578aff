"""How large a network is, read from the shapes of its tensors, and which tensors a network of that size has.

Heads leave no trace in the transformer's shapes: they come from a config.json beside the weights, or are 128 wide, as
in every Wan model.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import Any

import torch

from engine.checkpoints.header import Foreign, Kind
from engine.dit import PATCH, DiT, DiTConfig
from engine.vae import VAE, VAEConfig
from storage.schema import UserError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

HEAD_DIM = 128
MASK_CHANNELS = 4
_LAYERS = {5120: 40, 4096: 24}  # of Wan's 14 B transformer and of UMT5-XXL, by width: a lost last one would not show


@dataclass(frozen=True)
class TextConfig:
    """Sizes of UMT5's encoder; the defaults are UMT5-XXL's. The names are transformers'."""

    vocab_size: int = 256384
    d_model: int = 4096
    num_heads: int = 64
    d_kv: int = 64
    d_ff: int = 10240
    num_layers: int = 24
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "gated-gelu"


Config = DiTConfig | VAEConfig | TextConfig


def config_from(kind: Kind, file: str, shapes: Shapes, beside: Mapping[str, Any]) -> Config:
    """The sizes of the network with tensors of these shapes. beside: what a config.json next to the weights says."""
    shape = _Shapes(file, shapes)
    match kind:
        case Kind.DIT:
            return _dit_config(shape, beside)
        case Kind.VAE:
            return _vae_config(shape)
        case Kind.T5:
            return _text_config(shape, beside)


def shapes_of(config: Config) -> dict[str, Shape]:
    """Every tensor of a network of this size, under its official name. UserError where there can be none."""
    if isinstance(config, TextConfig):
        return _text_shapes(config)
    try:
        with torch.device("meta"):
            network = DiT(config) if isinstance(config, DiTConfig) else VAE(config)
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"There can be no network of these sizes: {config}.") from error
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_reads_pictures(file: str, config: DiTConfig) -> None:
    """Foreign for a transformer that films from text alone, or has other inputs than latents, mask and condition."""
    needed = 2 * config.out_dim + MASK_CHANNELS
    if config.in_dim != needed:
        raise Foreign(f"{file} is no image-to-video model: it reads {config.in_dim} channels, not {needed}.")


class _Shapes:
    """The shapes of a file; asking for one that is not there, or has other dimensions, is the person's error."""

    def __init__(self, file: str, shapes: Shapes) -> None:
        self.file = file
        self.shapes = shapes

    def __call__(self, name: str, dimensions: int) -> Shape:
        if name not in self.shapes:
            raise UserError(f"{self.file} is not complete: {name} is missing.")
        shape = self.shapes[name]
        if len(shape) != dimensions:
            raise UserError(f"{self.file}: {name} has the shape {list(shape)}, not {dimensions} dimensions.")
        return shape

    def layers(self, dim: int, beside: int | None) -> int:
        named = {name.split(".")[1] for name in self.shapes if name.startswith("blocks.")}
        found = next(number for number in count() if str(number) not in named)
        if found < sum(map(str.isdecimal, named)):
            raise UserError(f"{self.file} is not complete: blocks.{found} is missing, and later ones are there.")
        needed = _LAYERS.get(dim, beside or found)
        if found < needed:
            raise UserError(f"{self.file} is not complete: blocks.{found} is missing, {needed} blocks are needed.")
        return found


def _dit_config(shape: _Shapes, beside: Mapping[str, Any]) -> DiTConfig:
    dim, in_dim, *patch = shape("patch_embedding.weight", 5)
    out, _ = shape("head.head.weight", 2)
    heads = beside.get("num_heads") or beside.get("num_attention_heads") or dim // HEAD_DIM
    if tuple(patch) != PATCH or out % math.prod(PATCH) or heads < 1 or dim % heads:
        raise UserError(
            f"{shape.file} is of another architecture: patches {patch}, {out} outputs, width {dim} with {heads} heads."
        )
    return DiTConfig(
        dim=dim,
        ffn_dim=shape("blocks.0.ffn.0.weight", 2)[0],
        freq_dim=shape("time_embedding.0.weight", 2)[1],
        heads=heads,
        layers=shape.layers(dim, beside.get("num_layers")),
        in_dim=in_dim,
        out_dim=out // math.prod(PATCH),
        text_dim=shape("text_embedding.0.weight", 2)[1],
        text_len=beside.get("text_len", DiTConfig.text_len),
        eps=beside.get("eps", DiTConfig.eps),
    )


def _vae_config(shape: _Shapes) -> VAEConfig:
    base_dim = shape("encoder.conv1.weight", 5)[0]
    z_dim = shape("conv2.weight", 5)[0]
    if z_dim != VAEConfig.z_dim:
        raise UserError(f"{shape.file} is another VAE: it has {z_dim} latent channels, not {VAEConfig.z_dim}.")
    dims: list[int] = []
    temporal: list[bool] = []
    res_blocks = 0
    for layer in _layers_of(shape, "encoder.downsamples"):
        if any(name.startswith(f"{layer}.residual.") for name in shape.shapes):
            if len(dims) == len(temporal):  # the first residual block of a stage
                dims.append(shape(f"{layer}.residual.2.weight", 5)[0])
            res_blocks += len(dims) == 1
        else:
            temporal.append(any(name.startswith(f"{layer}.time_conv.") for name in shape.shapes))
    if not dims or len(temporal) != len(dims) - 1 or any(dim % base_dim for dim in dims):
        raise UserError(f"{shape.file} is another VAE: its encoder has the widths {dims} and {len(temporal)} steps.")
    return VAEConfig(
        base_dim=base_dim,
        dim_mult=tuple(dim // base_dim for dim in dims),
        res_blocks=res_blocks,
        temporal_downsample=tuple(temporal),
    )


def _layers_of(shape: _Shapes, part: str) -> list[str]:
    """The layers of a part in order, up to the first number that no tensor has."""
    named = {name.removeprefix(f"{part}.").split(".")[0] for name in shape.shapes if name.startswith(f"{part}.")}
    return [f"{part}.{number}" for number in takewhile(lambda n: str(n) in named, range(len(named)))]


def _text_config(shape: _Shapes, beside: Mapping[str, Any]) -> TextConfig:
    vocab_size, dim = shape("token_embedding.weight", 2)
    buckets, heads = shape("blocks.0.pos_embedding.embedding.weight", 2)
    inner, _ = shape("blocks.0.attn.q.weight", 2)
    if heads < 1 or inner % heads:
        raise UserError(f"{shape.file} is of another architecture: {inner} channels for {heads} heads.")
    config = TextConfig(
        vocab_size=vocab_size,
        d_model=dim,
        num_heads=heads,
        d_kv=inner // heads,
        d_ff=shape("blocks.0.ffn.gate.0.weight", 2)[0],
        num_layers=shape.layers(dim, beside.get("num_layers")),
        relative_attention_num_buckets=buckets,
    )
    traceless = ("relative_attention_max_distance", "layer_norm_epsilon")
    return replace(config, **{name: beside[name] for name in traceless if name in beside})


def _text_shapes(config: TextConfig) -> dict[str, Shape]:
    inner = config.num_heads * config.d_kv
    block = {
        "norm1": (config.d_model,),
        **{f"attn.{name}": (inner, config.d_model) for name in "qkv"},
        "attn.o": (config.d_model, inner),
        "pos_embedding.embedding": (config.relative_attention_num_buckets, config.num_heads),
        "norm2": (config.d_model,),
        "ffn.gate.0": (config.d_ff, config.d_model),
        "ffn.fc1": (config.d_ff, config.d_model),
        "ffn.fc2": (config.d_model, config.d_ff),
    }
    return {
        "token_embedding.weight": (config.vocab_size, config.d_model),
        **{
            f"blocks.{layer}.{name}.weight": shape
            for layer in range(config.num_layers)
            for name, shape in block.items()
        },
        "norm.weight": (config.d_model,),
    }
