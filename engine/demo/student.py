"""The networks that learn to animate, and how their checkpoints are kept."""

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.condition import network_input
from engine.demo.config import noise_levels
from engine.demo.reading import Teller, make_encoder, read, trimmed
from engine.dit import DiT, DiTConfig

SHARDS = 4  # files of a checkpoint's DiT, so that none is large
EMBEDDING = "encoder.encoder.embed_tokens.weight"  # another name of encoder.shared.weight


class Student(nn.Module):
    """What is trained together."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.dit = DiT(config)
        self.encoder = make_encoder()
        self.teller = Teller(config.text_dim)
        nn.init.zeros_(self.dit.head.head.weight)
        nn.init.zeros_(self.dit.head.head.bias)
        for part in (self.dit.time_embedding, self.dit.time_projection):
            for layer in part:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.02)

    def forward(self, noisy: Tensor, given: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """Velocity. noisy: [B, 16, T, h, w], given: [B, 20, T, h, w], sigma: [B], tokens: [B, L] -> [B, 16, T, h, w]"""
        embeddings, _ = read(self.encoder, trimmed(tokens))
        velocity: Tensor = self.dit(network_input(noisy, given), sigma, self.dit.encode_text(embeddings))
        return velocity

    def adam_only(self) -> list[nn.Parameter]:
        """Parameters whose scale matters."""
        dit = self.dit
        parts = (dit.patch_embedding, dit.head, dit.time_embedding, dit.time_projection)
        return [parameter for part in parts for parameter in part.parameters()]


@torch.no_grad()
def generate(student: Student, given: Tensor, tokens: Tensor, noise: Tensor, steps: int) -> Tensor:
    """Euler's walk from noise to latents. [B, 16, T, h, w]"""
    embeddings, _ = read(student.encoder, trimmed(tokens))
    text = student.dit.encode_text(embeddings)
    latents = noise
    for level, following in pairwise(noise_levels(steps)):
        sigma = torch.full((len(noise),), level, device=noise.device)
        latents = latents + (following - level) * student.dit(network_input(latents, given), sigma, text)
    return latents


def save(weights: dict[str, Tensor], out: Path) -> None:
    """Write a checkpoint: dit-0..3.safetensors and text.safetensors, in the weights' own precision."""
    dit = {name.removeprefix("dit."): value for name, value in weights.items() if name.startswith("dit.")}
    shards: list[dict[str, Tensor]] = [{} for _ in range(SHARDS)]
    total, seen = sum(value.numel() for value in dit.values()), 0
    for name, value in dit.items():
        shards[seen * SHARDS // total][name] = value.contiguous()
        seen += value.numel()
    for number, shard in enumerate(shards):
        save_file(shard, out / f"dit-{number}.safetensors")
    rest = {name: value for name, value in weights.items() if not name.startswith("dit.") and name != EMBEDDING}
    save_file({name: value.contiguous() for name, value in rest.items()}, out / "text.safetensors")


def load(student: Student, folder: Path) -> None:
    """Go on from a checkpoint, or from the weights that ship, which have no teller."""
    if (folder / "dit.safetensors").is_file():
        weights = {f"dit.{name}": value for name, value in load_file(folder / "dit.safetensors").items()}
        encoder = load_file(folder / "text" / "model.safetensors")
        weights |= {f"encoder.{name}": value for name, value in encoder.items()}
        weights |= {f"teller.{name}": value for name, value in student.teller.state_dict().items()}
    else:
        shards = [load_file(folder / f"dit-{number}.safetensors") for number in range(SHARDS)]
        weights = {f"dit.{name}": value for shard in shards for name, value in shard.items()}
        weights |= load_file(folder / "text.safetensors")
    weights[EMBEDDING] = weights["encoder.shared.weight"]
    student.load_state_dict(weights)
