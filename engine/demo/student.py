"""The network that learns to animate, and how its checkpoints are kept."""

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.condition import network_input
from engine.demo.config import noise_levels
from engine.demo.pool import Told
from engine.dit import DiT, DiTConfig

SHARDS = 4  # files of a checkpoint's DiT, so that none is large


def new_dit(config: DiTConfig) -> DiT:
    """A DiT with random weights that answers 0 at first."""
    dit = DiT(config)
    nn.init.zeros_(dit.head.head.weight)
    nn.init.zeros_(dit.head.head.bias)
    for part in (dit.time_embedding, dit.time_projection):
        for layer in part:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
    return dit


def adam_only(dit: DiT) -> list[nn.Parameter]:
    """Parameters whose scale matters."""
    parts = (dit.patch_embedding, dit.head, dit.time_embedding, dit.time_projection)
    return [parameter for part in parts for parameter in part.parameters()]


def velocity(dit: DiT, noisy: Tensor, given: Tensor, sigma: Tensor, told: Told) -> Tensor:
    """noisy: [B, 16, T, h, w], given: [B, 20, T, h, w], sigma: [B] -> [B, 16, T, h, w]"""
    out: Tensor = dit(network_input(noisy, given), sigma, dit.encode_text(told.texts).with_bias(told.relay))
    return out


@torch.no_grad()
def generate(dit: DiT, given: Tensor, told: Told, noise: Tensor, steps: int) -> Tensor:
    """Euler's walk from noise to latents. [B, 16, T, h, w]"""
    text = dit.encode_text(told.texts).with_bias(told.relay)
    latents = noise
    for level, following in pairwise(noise_levels(steps)):
        sigma = torch.full((len(noise),), level, device=noise.device)
        latents = latents + (following - level) * dit(network_input(latents, given), sigma, text)
    return latents


def save(weights: dict[str, Tensor], out: Path) -> None:
    """Write a checkpoint: dit-0..3.safetensors, in bfloat16."""
    shards: list[dict[str, Tensor]] = [{} for _ in range(SHARDS)]
    total, seen = sum(value.numel() for value in weights.values()), 0
    for name, value in weights.items():
        shards[seen * SHARDS // total][name] = value.to(torch.bfloat16).contiguous()
        seen += value.numel()
    for number, shard in enumerate(shards):
        save_file(shard, out / f"dit-{number}.safetensors")


def load(dit: DiT, folder: Path) -> None:
    """Go on from a checkpoint, or from the weights that ship."""
    whole = folder / "dit.safetensors"
    files = [whole] if whole.is_file() else [folder / f"dit-{number}.safetensors" for number in range(SHARDS)]
    weights = {name: value.float() for file in files for name, value in load_file(file).items()}
    dit.load_state_dict(narrowed(weights, dit.config.ffn_dim))


def narrowed(weights: dict[str, Tensor], ffn_dim: int) -> dict[str, Tensor]:
    """The weights with only the `ffn_dim` neurons of every feed-forward that weigh most."""
    out = dict(weights)
    for name, into in weights.items():
        if name.endswith("ffn.0.weight") and len(into) > ffn_dim:
            block = name.removesuffix("0.weight")
            onto = weights[f"{block}2.weight"]
            kept = (into.norm(dim=1) * onto.norm(dim=0)).topk(ffn_dim).indices.sort().values
            out[name], out[f"{block}0.bias"] = into[kept], weights[f"{block}0.bias"][kept]
            out[f"{block}2.weight"] = onto[:, kept]
    return out
