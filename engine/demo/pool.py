"""A pool of encoded films that is renewed while the training runs.

P films, each with two windows of latents [16, 21, 18, 32]; W wordings of each window's caption
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from engine.condition import condition
from engine.demo.clips import Projector, film_to
from engine.demo.film import WORDINGS, Film
from engine.demo.stage import STRIDE, WINDOW
from engine.vae import VAE

SPRITE_REACH = 28.0  # pixels from a sprite's centre that belong to it


class Lesson(NamedTuple):
    """A batch to train on.

    latents [B, 16, T, h, w], condition [B, 20, T, h, w], sprites [B, T, h, w], tokens [B, L], films and windows [B]
    """

    latents: Tensor
    condition: Tensor
    sprites: Tensor
    tokens: Tensor
    films: Tensor
    windows: Tensor


@dataclass
class Pool:
    """Encoded films. `tails` holds what the network itself made of each film's first window's last latent frame."""

    latents: Tensor  # [P, 2, 16, 21, h, w]
    anchors: Tensor  # [P, 16, 1, h, w]
    fresh: Tensor  # [P]
    tokens: Tensor  # [P, 2, W, L]
    tails: Tensor  # [P, 16, 1, h, w]
    own: Tensor  # [P]: `tails` is filled
    sprites: Tensor  # [P, 2, 21, h, w]: 1 where a sprite is
    filled: int = 0
    turn: int = 0

    @classmethod
    def empty(cls, films: int, tokens: int, device: torch.device) -> "Pool":
        """Room for `films` films with captions of `tokens` tokens."""
        return cls(
            torch.zeros(films, 2, 16, 21, 18, 32, device=device, dtype=torch.bfloat16),
            torch.zeros(films, 16, 1, 18, 32, device=device),
            torch.zeros(films, dtype=torch.bool, device=device),
            torch.zeros(films, 2, WORDINGS, tokens, dtype=torch.int64, device=device),
            torch.zeros(films, 16, 1, 18, 32, device=device),
            torch.zeros(films, dtype=torch.bool, device=device),
            torch.zeros(films, 2, 21, 18, 32, device=device, dtype=torch.bfloat16),
        )

    @property
    def size(self) -> int:
        """Room for films."""
        return self.latents.shape[0]

    @torch.no_grad()
    def renew(self, source: Iterator[Film], draws: Projector, vae: VAE, device: torch.device) -> None:
        """Replace the oldest films by new ones."""
        film = film_to(next(source), device)
        latents, anchors = encode_film(film, draws, vae)
        count = latents.shape[0]
        places = (self.turn + torch.arange(count, device=device)) % self.size
        self.latents[places] = latents.to(self.latents.dtype)
        self.anchors[places] = anchors
        self.fresh[places] = film.fresh
        self.tokens[places] = film.tokens
        self.own[places] = False
        self.sprites[places] = sprite_places(film).to(self.sprites.dtype)
        self.turn = (self.turn + count) % self.size
        self.filled = min(self.size, self.filled + count)

    def lesson(self, count: int, own_share: float, noisy_share: float = 0.4) -> Lesson:
        """A random batch. Continuations get the true tail, a spoilt one, or the network's own."""
        device = self.latents.device
        films = torch.randint(self.filled, (count,), device=device)
        windows = torch.randint(2, (count,), device=device)
        latents = self.latents[films, windows].float()
        first = windows == 0
        true = torch.where(first[:, None, None, None, None], latents[:, :, 1:2], self.latents[films, 0, :, -1:].float())
        own = self.own[films] & ~first & (torch.rand(count, device=device) < own_share)
        tails = torch.where(own[:, None, None, None, None], self.tails[films], true)
        spoilt = (torch.rand(count, 1, 1, 1, 1, device=device) < noisy_share).float()
        strength = torch.rand(count, 1, 1, 1, 1, device=device) * 0.15
        tails = tails + spoilt * (strength * torch.randn_like(tails) + 0.06 * torch.randn_like(tails[..., :1, :1]))
        begins = first & self.fresh[films]
        given = condition(self.anchors[films], torch.where(begins[:, None, None, None, None], 0.0, tails))
        wording = torch.randint(WORDINGS, (count,), device=device)
        return Lesson(
            latents, given, self.sprites[films, windows].float(), self.tokens[films, windows, wording], films, windows
        )


def sprite_places(film: Film) -> Tensor:
    """Where sprites are in the latents of both windows. [B, 2, 21, h, w]"""
    place = film.place  # [B, F, S, 4]
    x = (torch.arange(32, device=place.device) + 0.5) * 8
    y = (torch.arange(18, device=place.device) + 0.5) * 8
    near_x = (x - place[..., 0, None]).abs() < SPRITE_REACH  # [B, F, S, w]
    near_y = (y - place[..., 1, None]).abs() < SPRITE_REACH
    there = near_y[..., :, None] & near_x[..., None, :] & (place[..., 2] > 0.5)[..., None, None]
    frames = there.any(2).float()  # [B, F, h, w]
    windows = [frames[:, :WINDOW], frames[:, STRIDE:]]
    return torch.stack(
        [
            torch.cat([w[:, :1], rearrange(w[:, 1:], "b (t four) h w -> b t four h w", four=4).amax(2)], dim=1)
            for w in windows
        ],
        dim=1,
    )


@torch.no_grad()
def encode_film(film: Film, draws: Projector, vae: VAE) -> tuple[Tensor, Tensor]:
    """Normalised latents of both windows, [B, 2, 16, 21, h, w], and of the anchors, [B, 16, 1, h, w]."""
    shown, anchors = draws.draw(film)
    both = torch.cat([shown[:, :, :WINDOW], shown[:, :, STRIDE:]])
    both = both.to(torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)
    latents = torch.cat([vae.encode(part, 20) for part in torch.split(both, 8)])
    a, b = latents.chunk(2)
    return torch.stack([a, b], dim=1), vae.encode(anchors.to(torch.bfloat16))
