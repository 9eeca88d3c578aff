"""A pool of encoded films that is renewed while the training runs.

P films, each with two windows of latents [16, 21, 18, 32]; W wordings of each window's caption, embedded [L, D]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from engine.condition import WINDOW_LATENT_FRAMES, condition
from engine.demo.clips import Projector, film_to
from engine.demo.film import WORDINGS, Film
from engine.demo.reading import read
from engine.demo.stage import STRIDE, WINDOW
from engine.vae import VAE

HELD = 0.75  # share of the captions whose times are held, as engine.relay does it
GOING_ON = 0.8  # share of looping films that are filmed on, rather than anew
FORGIVING = 8  # latent frames in which a window comes back from what its tail was off
SPRITE_REACH = 36.0  # pixels from a sprite's centre that belong to it


class Told(NamedTuple):
    """Captions. texts [B, L, D]; relay [B, T, L] what holds their beats to their times, zeros where nothing does"""

    texts: Tensor
    relay: Tensor


class Lesson(NamedTuple):
    """A batch to train on.

    latents [B, 16, T, h, w], condition [B, 20, T, h, w], sprites [B, T, h, w], whether a window continues something [B]
    """

    latents: Tensor
    condition: Tensor
    sprites: Tensor
    told: Told
    continues: Tensor


class Rehearsal(NamedTuple):
    """Windows that the network is to film by itself. condition [B, 20, T, h, w], films [B]"""

    condition: Tensor
    told: Told
    films: Tensor


@dataclass
class Pool:
    """Encoded films. `tails` holds what the network itself made of the end of each film's first window."""

    latents: Tensor  # [P, 2, 16, 21, h, w]
    anchors: Tensor  # [P, 16, 1, h, w]
    fresh: Tensor  # [P]
    texts: Tensor  # [P, 2, W, L, D]
    relay: Tensor  # [P, 2, W, T, L]
    tails: Tensor  # [P, 16, 1, h, w]
    own: Tensor  # [P]: `tails` is filled
    loops: Tensor  # [P]: the second window ends as it begins, so that it can follow itself
    sprites: Tensor  # [P, 2, 21, h, w]: 1 where a sprite is
    filled: int = 0
    turn: int = 0

    @classmethod
    def empty(cls, films: int, text: tuple[int, int], device: torch.device) -> "Pool":
        """Room for `films` films with captions of `text`, tokens and width."""
        return cls(
            torch.zeros(films, 2, 16, 21, 18, 32, device=device, dtype=torch.bfloat16),
            torch.zeros(films, 16, 1, 18, 32, device=device),
            torch.zeros(films, dtype=torch.bool, device=device),
            torch.zeros(films, 2, WORDINGS, *text, dtype=torch.bfloat16, device=device),
            torch.zeros(films, 2, WORDINGS, WINDOW_LATENT_FRAMES, text[0], dtype=torch.float16, device=device),
            torch.zeros(films, 16, 1, 18, 32, device=device),
            torch.zeros(films, dtype=torch.bool, device=device),
            torch.zeros(films, dtype=torch.bool, device=device),
            torch.zeros(films, 2, 21, 18, 32, device=device, dtype=torch.bfloat16),
        )

    @property
    def size(self) -> int:
        """Room for films."""
        return self.latents.shape[0]

    @torch.no_grad()
    def renew(
        self, source: Iterator[Film], draws: Projector, vae: VAE, encoder: nn.Module, device: torch.device
    ) -> None:
        """Replace the oldest films by new ones."""
        film = film_to(next(source), device)
        latents, anchors = encode_film(film, draws, vae)
        count = latents.shape[0]
        places = (self.turn + torch.arange(count, device=device)) % self.size
        self.latents[places] = latents.to(self.latents.dtype)
        self.anchors[places] = anchors
        self.fresh[places] = film.fresh
        embedded = read(encoder, film.tokens.flatten(0, 2))
        self.texts[places] = embedded.view(count, 2, WORDINGS, *embedded.shape[1:]).to(self.texts.dtype)
        self.relay[places] = film.relay
        self.own[places] = False
        self.loops[places] = loops(film)
        self.sprites[places] = sprite_places(film).to(self.sprites.dtype)
        self.turn = (self.turn + count) % self.size
        self.filled = min(self.size, self.filled + count)

    def lesson(self, count: int, own_share: float, noisy_share: float = 0.3) -> Lesson:
        """A random batch. Continuations get the true tail, a spoilt one, or the network's own.

        Where a tail is off, the window that is asked for begins as far off and comes back within FORGIVING latent
        frames: a film must come back to its anchor, and not in one jump at a join.
        """
        device = self.latents.device
        films = torch.randint(self.filled, (count,), device=device)
        windows = torch.randint(2, (count,), device=device)
        told = self.told(films, windows)
        latents = self.latents[films, windows].float()
        first = _wide(windows == 0)
        true = torch.where(first, latents[:, :, 1:2], self.latents[films, 0, :, -1:].float())
        continues = (windows == 1) | ~self.fresh[films]
        own = self.own[films] & (windows == 1) & (torch.rand(count, device=device) < own_share)
        spoilt = _wide(torch.rand(count, device=device) < noisy_share).float()
        offset = 0.08 * spoilt * torch.randn_like(true[..., :1, :1])
        tails = torch.where(_wide(own), self.tails[films], true) + offset
        fading = torch.linspace(1, 0, FORGIVING + 1, device=device)[:-1, None, None]
        wanted = latents.clone()
        wanted[:, :, 1 : 1 + FORGIVING] += _wide(continues) * fading * (tails - true)
        strength = 0.12 * spoilt * torch.rand(count, 1, 1, 1, 1, device=device)
        tails = tails + strength * torch.randn_like(tails)
        given = condition(self.anchors[films], tails * _wide(continues))
        return Lesson(wanted, given, self.sprites[films, windows].float(), told, continues)

    def told(self, films: Tensor, windows: Tensor) -> Told:
        """A wording for each window, most of them with their times held. [B] each"""
        wording = torch.randint(WORDINGS, films.shape, device=films.device)
        held = torch.rand(len(films), device=films.device) < HELD
        relay = self.relay[films, windows, wording].float() * held[:, None, None]
        return Told(self.texts[films, windows, wording].float(), relay)

    def rehearsal(self, count: int) -> Rehearsal:
        """First windows, whose ends second windows are to go on from, and half of the time films that go on for long.

        A looping film's second window follows its own end, as often as it is drawn.
        """
        device = self.latents.device
        films = torch.randint(self.filled, (count,), device=device)
        looping = self.loops[: self.filled].nonzero()[:, 0]
        if len(looping):
            films[: count // 2] = looping[torch.randint(len(looping), (count // 2,), device=device)]
        again = self.loops[films] & self.own[films] & (torch.rand(count, device=device) < GOING_ON)
        before = torch.where(self.fresh[films][:, None, None, None, None], 0.0, self.latents[films, 0, :, 1:2].float())
        tails = torch.where(_wide(again), self.tails[films], before)
        return Rehearsal(condition(self.anchors[films], tails), self.told(films, again.long()), films)

    def remember(self, films: Tensor, filmed: Tensor) -> None:
        """Keep the ends of windows that the network has filmed. films: [B], filmed: [B, 16, T, h, w]"""
        self.tails[films] = filmed[:, :, -1:].float()
        self.own[films] = True


def _wide(flags: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1, 1]"""
    return flags[:, None, None, None, None]


def loops(film: Film) -> Tensor:
    """Whether the second window ends with the picture that it began with, and nothing moves but the camera. [B]"""
    first, last = film.camera[:, WINDOW - 1], film.camera[:, -1]
    there = (first - last).abs().amax(1) < 0.004
    alike = (film.colour[:, STRIDE:] == film.colour[:, STRIDE : STRIDE + 1]).flatten(1).all(1)
    moving = film.weather[:, STRIDE:].flatten(1).any(1) | film.place[:, STRIDE:, :, 2].flatten(1).any(1)
    return there & alike & ~moving


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
