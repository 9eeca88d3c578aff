"""Toy networks' weights, written to disk the way each project writes them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from oracles import randomise
from safetensors.torch import save_file
from torch import Tensor

from engine.dit import DiT, DiTConfig
from engine.vae import VAE, VAEConfig

Weights = dict[str, Tensor]

DIT_CONFIG = DiTConfig(dim=256, ffn_dim=512, freq_dim=32, heads=2, layers=2, text_dim=64)
VAE_CONFIG = VAEConfig(base_dim=8)
VOCABULARY, TEXT_DIM, TEXT_HEADS, TEXT_FFN, TEXT_LAYERS, BUCKETS = 24, 32, 4, 64, 3, 8

LLAMA_NAMES = {
    "norm1": "attn_norm", "attn.q": "attn_q", "attn.k": "attn_k", "attn.v": "attn_v", "attn.o": "attn_o",
    "pos_embedding.embedding": "attn_rel_b", "norm2": "ffn_norm", "ffn.gate.0": "ffn_gate", "ffn.fc1": "ffn_up",
    "ffn.fc2": "ffn_down",
}  # fmt: skip


def put(path: Path, tensors: Weights) -> Path:
    """Save tensors, as torch does it where the name ends in .pth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path) if path.suffix == ".pth" else save_file(tensors, path)
    return path


def dit_weights(config: DiTConfig = DIT_CONFIG, seed: int = 1) -> Weights:
    network = DiT(config)
    randomise(network, seed)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def vae_weights(seed: int = 2) -> Weights:
    network = VAE(VAE_CONFIG)
    randomise(network, seed)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def text_weights(seed: int = 3) -> Weights:
    """Under the official names."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"token_embedding": (VOCABULARY, TEXT_DIM), "norm": (TEXT_DIM,)}
    for i in range(TEXT_LAYERS):
        shapes |= {f"blocks.{i}.{name}": (TEXT_DIM,) for name in ("norm1", "norm2")}
        shapes |= {f"blocks.{i}.attn.{name}": (TEXT_DIM, TEXT_DIM) for name in "qkvo"}
        shapes |= {f"blocks.{i}.ffn.{name}": (TEXT_FFN, TEXT_DIM) for name in ("gate.0", "fc1")}
        shapes |= {f"blocks.{i}.ffn.fc2": (TEXT_DIM, TEXT_FFN)}
        shapes |= {f"blocks.{i}.pos_embedding.embedding": (BUCKETS, TEXT_HEADS)}
    return {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def cast(weights: Weights, dtype: torch.dtype) -> Weights:
    return {name: tensor.to(dtype) for name, tensor in weights.items()}


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


def is_matrix(name: str, tensor: Tensor) -> bool:
    """The layers that 8-bit files quantise: the matrices of the blocks."""
    return name.endswith(".weight") and tensor.ndim == 2 and (".attn." in name or "_attn." in name or ".ffn." in name)


def shards(folder: Path, weights: Weights, stem: str, count: int = 3) -> Path:
    """A sharded folder with an index, as official, diffusers and transformers folders are."""
    folder.mkdir(parents=True, exist_ok=True)
    names, weight_map = list(weights), {}
    for number in range(count):
        file = f"{stem}-{number + 1:05}-of-{count:05}.safetensors"
        part = names[number::count]
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def eight_bits(
    weights: Weights, dtype: torch.dtype, *, per_row: bool = False, rest: torch.dtype = torch.float16
) -> tuple[Weights, dict[str, Tensor], Weights]:
    """The 8-bit matrices beside the rest, the scale of each matrix, and what both mean: W8 * scale in float32."""
    most = torch.finfo(dtype).max if dtype.is_floating_point else 127.0
    stored, scales, meant = {}, {}, {}
    for name, tensor in weights.items():
        if not is_matrix(name, tensor):
            stored[name] = meant[name] = tensor.to(rest)
            continue
        scale = (tensor.abs().amax(1, keepdim=True) if per_row else tensor.abs().amax()) / most
        scaled = tensor / scale
        stored[name] = (scaled if dtype.is_floating_point else scaled.round()).to(dtype)
        scales[name.removesuffix(".weight")] = scale
        meant[name] = stored[name].float() * scale
    return stored, scales, meant


def json_bytes(value: Mapping[str, object]) -> Tensor:
    return torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)


def write_gguf(
    path: Path, weights: Weights, quantise: Callable[[str, Tensor], gguf.GGMLQuantizationType], architecture: str
) -> Path:
    """A GGUF file with each tensor in the type that `quantise` names."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, tensor in weights.items():
        kind = quantise(name, tensor)
        writer.add_tensor(name, gguf.quantize(tensor.numpy(), kind), raw_dtype=kind)
    _finish(writer)
    return path


def gguf_means(tensor: Tensor, kind: gguf.GGMLQuantizationType) -> Tensor:
    """What a tensor is after it was quantised as `kind`."""
    return torch.from_numpy(np.array(gguf.dequantize(gguf.quantize(tensor.numpy(), kind), kind)))


def write_gguf_blocks(path: Path, weights: Weights, blocks: Mapping[str, tuple[np.ndarray, str]]) -> Path:
    """A GGUF file in float32, but for the tensors in `blocks`, which are written byte by byte."""
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in weights.items():
        if name in blocks:
            data, kind = blocks[name]
            writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType[kind])
        else:
            writer.add_tensor(name, tensor.numpy())
    _finish(writer)
    return path


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def to_llama(weights: Weights) -> Weights:
    whole = {"token_embedding.weight": "token_embd.weight", "norm.weight": "enc.output_norm.weight"}
    renamed = {}
    for name, tensor in weights.items():
        if name not in whole:
            _, block, rest = name.removesuffix(".weight").split(".", 2)
            whole[name] = f"enc.blk.{block}.{LLAMA_NAMES[rest]}.weight"
        renamed[whole[name]] = tensor
    return renamed
