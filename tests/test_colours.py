"""Colours and what is measured of them, against scikit-image."""

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from engine.colours import corrected, mean_lab, to_lab, to_rgb
from engine.measures import IDENTICAL, measured, seam_between
from engine.pixels import frames_to_pixels, to_uint8


def picture(seed: int, low: int = 0, high: int = 256) -> np.ndarray:
    """A frame [1, 24, 32, 3] of smooth colours and noise."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(low, high, (1, 3, 4, 3)).repeat(8, 1).repeat(8, 2)
    return np.clip(blocks + generator.integers(-6, 7, blocks.shape), 0, 255).astype(np.uint8)


def test_lab_is_that_of_scikit_image_and_there_is_a_way_back():
    levels = np.linspace(0, 1, 12)
    every = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    rgb = torch.tensor(every).permute(2, 0, 1)
    lab = to_lab(rgb)
    np.testing.assert_allclose(lab.permute(1, 2, 0), rgb2lab(every), atol=1e-3)
    np.testing.assert_allclose(to_rgb(lab).permute(1, 2, 0), every, atol=1e-5)
    assert torch.allclose(to_lab(rgb.float()), lab.float(), atol=2e-2)


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_colour_correction_gives_every_frame_the_mean_and_spread_of_the_frame_before(strength: float):
    frames, reference = np.concatenate([picture(1), picture(2, 0, 120)]), picture(3, 60, 200)
    wanted = rgb2lab(reference[0])
    made = corrected(frames_to_pixels(frames), frames_to_pixels(reference), strength)
    for frame, got in zip(frames, made[0].unbind(1), strict=True):
        lab = rgb2lab(frame)
        matched = (lab - lab.mean((0, 1))) * (wanted.std((0, 1)) / lab.std((0, 1))) + wanted.mean((0, 1))
        expected = (1 - strength) * frame / 255 + strength * lab2rgb(matched)
        np.testing.assert_allclose((got.permute(1, 2, 0) + 1) / 2, expected, atol=1e-3)


def test_a_flat_frame_takes_the_mean_of_the_frame_before():
    flat, reference = np.full((1, 8, 8, 3), 70, np.uint8), np.full((1, 8, 8, 3), (200, 60, 20), np.uint8)
    made = to_uint8(corrected(frames_to_pixels(flat), frames_to_pixels(reference), 1.0))
    assert np.abs(made.astype(int) - reference).max() <= 1


def test_a_seam_is_told_by_what_both_sides_have():
    before, after = picture(4), picture(5)
    seam = seam_between(before, after)
    assert seam.psnr == pytest.approx(peak_signal_noise_ratio(before, after), rel=1e-5)
    distance = np.linalg.norm(rgb2lab(before[-1]).mean((0, 1)) - rgb2lab(after[-1]).mean((0, 1)))
    assert seam.colour == pytest.approx(distance, rel=1e-3)
    same = seam_between(before, before)
    assert (same.psnr, same.colour) == (IDENTICAL, 0)


def test_drift_is_the_distance_from_the_first_window():
    calm, red = np.full((8, 16, 16, 3), 128, np.uint8), np.full((8, 16, 16, 3), (160, 120, 120), np.uint8)
    first = measured(1, calm, None, ())
    second = measured(2, red, None, (first,))
    third = measured(3, calm, None, (first, second))
    assert [row.drift for row in (first, third)] == [0, 0]
    assert second.drift == pytest.approx(np.linalg.norm(rgb2lab(red[0, 0, 0]) - rgb2lab(calm[0, 0, 0])), rel=1e-3)
    assert second.colour == pytest.approx(mean_lab(red), rel=1e-5)
