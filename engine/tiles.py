"""Decoding in tiles: pixels from latents with the memory of a small picture.

SVI's authors advise against it: in bfloat16 it accumulates artefacts on still backgrounds (SVI, docs/DevLog.md). The
decoder's attention reads the whole picture, a tile only itself, so neighbours may differ. Longtake tiles only where the
whole picture does not fit: engine/decode.py.

    B batch, C channels, T latent frames, h w latent height and width, F frames, H = 8 h, W = 8 w
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.vae import VAE, CausalState


def decode_in_tiles(vae: VAE, latents: Tensor, tile: tuple[int, int], overlap: int) -> Iterator[Tensor]:
    """As vae.decode, one latent frame at a time, each in tiles that are blended where they overlap.

    latents: [B, C, T, h, w], normalised -> chunks [B, 3, F, H, W] float32 in [-1, 1]. `tile` is the height and width of
    a tile and `overlap` the least that two neighbours share, all in latent pixels. One tile that covers the picture
    gives vae.decode exactly. Memory does not grow with T; what the convolutions remember is kept for all tiles, so
    what tiles save is the activations.
    """
    tiles = tiles_of((latents.shape[3], latents.shape[4]), tile, overlap, vae.config.pixels_per_latent)
    return (_blended(vae, latents[:, :, t : t + 1], tiles) for t in range(latents.shape[2]))


@dataclass(frozen=True)
class Tile:
    """A part of the picture, with its weight in each of its pixels, and its own memory of the frames before."""

    latent: tuple[slice, slice]  # rows and columns of the latents
    pixels: tuple[slice, slice]
    weight: Tensor  # [H, W] of the tile
    state: CausalState = field(default_factory=CausalState)


def tiles_of(size: tuple[int, int], tile: tuple[int, int], overlap: int, scale: int) -> list[Tile]:
    """The tiles of latents of height and width `size`. In every pixel the weights sum to one."""
    rows, columns = (_weighted_spans(*sides, overlap, scale) for sides in zip(size, tile, strict=True))
    return [
        Tile(
            latent=(slice(*row), slice(*column)),
            pixels=(slice(row[0] * scale, row[1] * scale), slice(column[0] * scale, column[1] * scale)),
            weight=row_weight[:, None] * column_weight,
        )
        for row, row_weight in rows
        for column, column_weight in columns
    ]


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Start and stop of the fewest tiles that cover `length`, evenly spread; neighbours share `overlap` or more.

    >>> spans(104, 48, 16)
    [(0, 48), (28, 76), (56, 104)]
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must be in [0, {tile}), got {overlap}")
    if tile >= length:
        return [(0, length)]
    gaps = -(-(length - tile) // (tile - overlap))
    starts = [round(number * (length - tile) / gaps) for number in range(gaps + 1)]
    return [(start, start + tile) for start in starts]


def _weighted_spans(length: int, tile: int, overlap: int, scale: int) -> list[tuple[tuple[int, int], Tensor]]:
    """Each span with its weights, one a pixel: a tile fades in over what it shares with the one before."""
    parts = spans(length, tile, overlap)
    place = torch.arange(length * scale) + 0.5
    left, weighted = torch.ones(length * scale), []
    for number in reversed(range(len(parts))):  # what the tiles after leave is for the ones before
        start, stop = (edge * scale for edge in parts[number])
        shared = parts[number - 1][1] * scale - start
        fade = ((place - start) / shared).clamp(0, 1) if number else torch.ones_like(place)
        weighted.append((parts[number], (left * fade)[start:stop]))
        left = left * (1 - fade)
    return weighted[::-1]


def _blended(vae: VAE, latents: Tensor, tiles: list[Tile]) -> Tensor:
    """One latent frame of all tiles: [B, C, 1, h, w] -> [B, 3, F, H, W]"""
    scale = vae.config.pixels_per_latent
    whole: Tensor | None = None
    for tile in tiles:
        rows, columns = tile.latent
        part = vae.decode_chunk(latents[..., rows, columns], tile.state) * tile.weight.to(latents.device)
        if whole is None:
            whole = part.new_zeros(*part.shape[:3], latents.shape[3] * scale, latents.shape[4] * scale)
        rows, columns = tile.pixels
        whole[..., rows, columns] += part
    assert whole is not None, "a picture has at least one tile"
    return whole.clamp(-1, 1)
