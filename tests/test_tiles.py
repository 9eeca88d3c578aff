"""Decoding in tiles, and how a render falls back on it when memory runs out."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from filming import PHOTO, draw, film_plan, window
from oracles import randomise, relative_error
from torch import Tensor

from engine.decode import TILE, TILE_OVERLAP, decode_with_what_fits, decoders
from engine.models import ModelShelf
from engine.pipeline import render
from engine.pixels import to_uint8
from engine.tiles import decode_in_tiles, spans, tiles_of
from engine.vae import VAE, CausalState, VAEConfig
from storage.footage import Frames

CONFIG = VAEConfig(base_dim=4)


def a_vae(kind: type[VAE] = VAE) -> VAE:
    network = kind(CONFIG)
    randomise(network, seed=1)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def vae() -> VAE:
    return a_vae()


def some_latents(latent_frames: int, height: int, width: int) -> Tensor:
    return torch.randn(1, 16, latent_frames, height, width, generator=torch.Generator().manual_seed(width)) * 0.3


def in_tiles(vae: VAE, latents: Tensor, tile: tuple[int, int], overlap: int) -> Tensor:
    return torch.cat(list(decode_in_tiles(vae, latents, tile, overlap)), dim=2)


# ---- where tiles lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 8, 9, 10, 33, 60, 104])
@pytest.mark.parametrize(("tile", "overlap"), [(8, 0), (8, 2), (8, 7), (9, 5), (32, 8)])
def test_spans_cover_the_picture_are_of_one_size_and_share_the_overlap(length, tile, overlap):
    parts = spans(length, tile, overlap)
    assert (parts[0][0], parts[-1][1]) == (0, length)
    assert {stop - start for start, stop in parts} == {min(tile, length)}
    assert all(stop - start >= overlap for (_, stop), (start, _) in pairwise(parts))
    assert len(parts) == max(1, -(-(length - overlap) // (tile - overlap))), "and no more of them than that takes"


@pytest.mark.parametrize(("tile", "overlap"), [((7, 9), 5), ((7, 9), 0), ((3, 3), 2), ((20, 9), 4), ((64, 64), 8)])
def test_the_weights_sum_to_one_in_every_pixel(tile, overlap):
    tiles = tiles_of((20, 23), tile, overlap, scale=4)
    total = torch.zeros(80, 92)
    for part in tiles:
        assert part.weight.min() >= 0
        total[part.pixels] += part.weight
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


def test_tiles_fade_into_each_other_linearly():
    left, right = tiles_of((4, 12), (8, 8), 4, scale=2)
    assert (left.pixels[1], right.pixels[1]) == (slice(0, 16), slice(8, 24))
    ramp = (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(right.weight, torch.cat([ramp, torch.ones(8)]).expand(8, -1))
    torch.testing.assert_close(left.weight, torch.cat([torch.ones(8), 1 - ramp]).expand(8, -1))


@pytest.mark.parametrize("overlap", [-1, 8])
def test_an_overlap_must_leave_something_of_a_tile(overlap):
    with pytest.raises(ValueError, match=rf"overlap must be in \[0, 8\), got {overlap}"):
        spans(20, 8, overlap)


# ---- what they show -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [(3, 5), (9, 9), (3, 64)])
def test_a_tile_that_covers_the_picture_is_the_picture(vae: VAE, tile):
    latents = some_latents(4, 3, 5) * 3
    assert torch.equal(in_tiles(vae, latents, tile, 2), vae.decode_all(latents))


def test_what_a_tile_sees_whole_is_as_without_tiles(vae: VAE):
    """Without attention, which sees the whole picture, a pixel knows only its surroundings."""
    local = a_vae()
    torch.nn.init.zeros_(local.decoder.middle[1].proj.weight)
    latents = some_latents(2, 2, 64)
    difference = (in_tiles(local, latents, (40, 40), 16) - local.decode_all(latents)).abs()
    columns = difference.amax(dim=(0, 1, 2, 3)).view(64, 8).amax(dim=1)
    assert columns[:14].max() < 1e-5  # tiles reach from 0 to 40 and from 24 to 64
    assert columns[50:].max() < 1e-5
    assert columns[24:40].min() > 1e-4, "at the border the tiles know less"
    with_attention = relative_error(in_tiles(vae, latents, (40, 40), 16), vae.decode_all(latents))
    assert 1e-4 < with_attention < 0.2


def test_rows_and_columns_are_tiled_alike(vae: VAE):
    latents = some_latents(2, 12, 20)
    across = in_tiles(vae, latents.transpose(3, 4), (14, 8), 4)
    assert across.shape == (1, 3, 5, 160, 96)
    turned = a_vae()
    for convolution in turned.modules():
        if isinstance(convolution, torch.nn.Conv2d | torch.nn.Conv3d):
            convolution.weight.data = convolution.weight.data.transpose(-1, -2)
    torch.testing.assert_close(in_tiles(turned, latents, (8, 14), 4).transpose(3, 4), across, atol=1e-4, rtol=1e-4)


def test_tiles_stream_and_each_remembers_the_frames_before(vae: VAE):
    latents = some_latents(4, 4, 12)
    chunks = list(decode_in_tiles(vae, latents, (8, 8), 4))
    assert [chunk.shape for chunk in chunks] == [(1, 3, frames, 32, 96) for frames in (1, 4, 4, 4)]
    alone = vae.decode_all(latents[..., :8])
    assert relative_error(torch.cat(chunks, dim=2)[..., :32], alone[..., :32]) < 1e-5, "where only one tile lies"
    assert torch.cat(chunks, dim=2).abs().max() <= 1


def test_no_tile_is_decoded_before_its_chunk_is_asked_for():
    calls: list[tuple[int, ...]] = []

    class Watched(VAE):
        def decode_chunk(self, latents: Tensor, state: CausalState) -> Tensor:
            calls.append(tuple(latents.shape[2:]))
            return super().decode_chunk(latents, state)

    chunks = decode_in_tiles(a_vae(Watched), some_latents(3, 4, 12), (8, 8), 4)
    assert calls == []
    next(chunks)
    assert calls == [(1, 4, 8)] * 2
    next(chunks)
    assert calls == [(1, 4, 8)] * 4


# ---- when memory runs out -------------------------------------------------------------------------------------------


class SmallMemory(VAE):
    """A VAE on a device that holds `fits` latent pixels at a time, over all frames of a call."""

    fits = 0

    def decode_chunk(self, latents: Tensor, state: CausalState) -> Tensor:
        wanted = latents.shape[2:].numel()
        if wanted > self.fits:
            raise torch.OutOfMemoryError(f"{wanted} latent pixels do not fit {self.fits}")
        return super().decode_chunk(latents, state)


def small(fits: int) -> SmallMemory:
    network = a_vae(SmallMemory)
    assert isinstance(network, SmallMemory)
    network.fits = fits
    return network


def given(vae: VAE, latents: Tensor) -> Iterator[Frames]:
    return decode_with_what_fits(vae, 3, latents, to_uint8)


@pytest.mark.parametrize(
    ("fits", "way"),
    [(3 * 80, "three at a time"), (3 * 80 - 1, "one at a time"), (80 - 1, "tiles"), (2 * 32, "tiles")],
)
def test_the_fastest_way_that_fits_is_taken(vae: VAE, fits: int, way: str):
    latents = some_latents(4, 2, 40)
    expected = {
        "three at a time": lambda: vae.decode_all(latents, 3),
        "one at a time": lambda: vae.decode_all(latents, 1),
        "tiles": lambda: in_tiles(vae, latents, TILE, TILE_OVERLAP),
    }[way]()
    assert np.array_equal(np.concatenate(list(given(small(fits), latents))), to_uint8(expected))


@pytest.mark.parametrize(("left", "way"), [(80, "one at a time"), (64, "tiles")])
def test_where_memory_runs_out_every_frame_is_given_once_and_what_was_given_stays(vae: VAE, left: int, way: str):
    latents, network = some_latents(6, 2, 40), small(3 * 80)
    frames = given(network, latents)
    first = np.concatenate([next(frames), next(frames)])
    network.fits = left
    rest = np.concatenate(list(frames))
    slower = to_uint8(
        vae.decode_all(latents, 1) if way == "one at a time" else in_tiles(vae, latents, TILE, TILE_OVERLAP)
    )
    assert np.array_equal(first, to_uint8(vae.decode_all(latents, 3))[:13])
    assert np.array_equal(rest, slower[13:])


def test_less_than_a_tile_of_memory_is_an_error_and_so_is_any_other():
    latents = some_latents(2, 2, 40)
    with pytest.raises(torch.OutOfMemoryError, match="64 latent pixels do not fit 63"):
        list(given(small(63), latents))

    def broken(_: Tensor) -> Frames:
        tried.append(1)
        raise RuntimeError("no such kernel")

    tried: list[int] = []
    with pytest.raises(RuntimeError, match="no such kernel"):
        list(decode_with_what_fits(small(1000), 4, latents, broken))
    assert tried == [1]


def test_one_latent_at_a_time_is_not_tried_twice(vae: VAE):
    assert [len(decoders(vae, latents_per_call)) for latents_per_call in (1, 2, 4)] == [2, 3, 3]


def test_a_render_that_runs_out_of_memory_writes_its_window_again(
    shelf: ModelShelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """The first chunk, one latent frame, still fits and was encoded: nothing of it may be left."""
    plan = film_plan([window(1)])
    models = shelf.load(plan)
    little = SmallMemory(models.vae.config).channels_last()
    assert isinstance(little, SmallMemory)
    little.load_state_dict(models.vae.state_dict())
    little.fits = 6 * 8

    def film(name: str, **changes: object) -> bytes:
        draw(tmp_path / name / "media" / PHOTO, seed=1)
        return render(plan, replace(models, **changes), tmp_path / name).video.read_bytes()

    with caplog.at_level(logging.WARNING, logger="longtake"):
        one_at_a_time = film("plenty", latents_per_call=1)
        assert not caplog.records
        assert film("little", vae=little, latents_per_call=4) == one_at_a_time
    assert [record.args[:2] for record in caplog.records] == [(2, 3)]
    assert not list((tmp_path / "little").glob("*.partial*"))
