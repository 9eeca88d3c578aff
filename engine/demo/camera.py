"""Films windows with the demonstration model as it ships, for those who measure it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.condition import WINDOW_LATENT_FRAMES, condition, eve_of, in_film, network_input, tail_of, window_noise
from engine.demo.config import STEPS, noise_levels
from engine.dit import DiT, DiTConfig
from engine.parts import load_network
from engine.relay import relay_bias, segments
from engine.text import TextEncoder
from engine.vae import VAE, VAEConfig
from storage.schema import BeatSpan
from storage.timeline import WINDOW_FRAMES

CPU = torch.device("cpu")
LATENTS_PER_CALL = 2


@dataclass(frozen=True)
class Shot:
    """A filmed window: pixels [3, 81, H, W] in [0, 1] and its latents [1, 16, 21, h, w]."""

    pixels: Tensor
    latents: Tensor


class Camera:
    """Films windows with the shipped weights."""

    def __init__(self, weights: Path, dtype: torch.dtype, device: torch.device = CPU) -> None:
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        sizes = DiTConfig(**config["dit"])
        vae: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config["vae"].items()
        }
        self.dit = load_network(DiT, sizes, weights / config["experts"]["high_noise"]).to_precision(dtype).to(device)
        self.vae = load_network(VAE, VAEConfig(**vae), weights / config["vae_file"]).to(device, dtype).channels_last()
        self.text = TextEncoder.in_folder(weights / config["text"], sizes.text_len, device, None)
        self.device = device
        self.seed = 0

    @torch.inference_mode()
    def anchor(self, picture: Tensor) -> Tensor:
        """Latent of a picture. [3, H, W] in [-1, 1] -> [1, 16, 1, h, w]"""
        return self.vae.encode(picture[None, :, None].to(self.device))

    @torch.inference_mode()
    def film(
        self,
        anchor: Tensor,
        before: Shot | None,
        prompt: str,
        steps: int = STEPS,
        beats: Sequence[BeatSpan] = (),
    ) -> Shot:
        """One window, behind `before` if there is one; each has a seed of its own. The times of `beats` are held."""
        text = self.dit.encode_text(self.text(prompt))
        if beats:
            tokens = self.text.tokens_of(prompt, [(beat.start, beat.stop) for beat in beats])
            held = segments(beats, tokens, WINDOW_LATENT_FRAMES)
            text = text.with_bias(relay_bias(held, WINDOW_LATENT_FRAMES, self.text.slots).to(self.device))
        tail, eve = (None, None) if before is None else (tail_of(before.latents), eve_of(before.latents))
        given = condition(anchor, tail)
        self.seed += 1
        latents = window_noise(self.seed, (1, 16, WINDOW_LATENT_FRAMES, *anchor.shape[-2:])).to(self.device)
        for level, following in pairwise(noise_levels(steps)):
            velocity = self.dit(network_input(latents, given), torch.tensor([level], device=self.device), text)
            latents = latents + (following - level) * velocity
        pixels = self.vae.decode_all(in_film(latents, tail, eve), LATENTS_PER_CALL)[:, :, -WINDOW_FRAMES:].cpu()
        return Shot((pixels[0] + 1) / 2, latents)
