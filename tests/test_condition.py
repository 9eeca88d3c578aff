"""Laws of the condition of SVI 2.0 Pro and of a window's noise."""

import pytest
import torch
from torch import Tensor

from engine.condition import (
    condition,
    eve_of,
    in_film,
    network_input,
    tail_of,
    window_noise,
    window_noises,
    with_motion,
    without_end,
)

BATCH, HEIGHT, WIDTH = 2, 3, 5


def frame(seed: int) -> Tensor:
    return window_noise(seed, (BATCH, 16, 1, HEIGHT, WIDTH))


ANCHOR, TAIL = frame(1), frame(2)


@pytest.mark.parametrize("tail", [None, TAIL])
@pytest.mark.parametrize("latent_frames", [2, 5, 21])
def test_the_mask_marks_the_anchor_alone(tail, latent_frames):
    mask = condition(ANCHOR, tail, latent_frames)[:, :4]
    assert mask.shape == (BATCH, 4, latent_frames, HEIGHT, WIDTH)
    assert (mask[:, :, 0] == 1).all()
    assert (mask[:, :, 1:] == 0).all()


@pytest.mark.parametrize("latent_frames", [2, 5, 21])
def test_anchor_then_tail_then_exact_zeros(latent_frames):
    latents = condition(ANCHOR, TAIL, latent_frames)[:, 4:]
    assert torch.equal(latents[:, :, :2], torch.cat([ANCHOR, TAIL], dim=2))
    assert latents.shape == (BATCH, 16, latent_frames, HEIGHT, WIDTH)
    assert not latents[:, :, 2:].any()


def test_without_a_tail_all_but_the_anchor_is_zero():
    latents = condition(ANCHOR, None)[:, 4:]
    assert torch.equal(latents[:, :, :1], ANCHOR)
    assert not latents[:, :, 1:].any()
    assert torch.equal(condition(ANCHOR, None), condition(ANCHOR, torch.zeros_like(ANCHOR)))


def test_a_window_has_21_latent_frames():
    assert condition(ANCHOR, TAIL).shape == (BATCH, 20, 21, HEIGHT, WIDTH)


def test_type_and_values_stay_as_they_are():
    before = ANCHOR.clone()
    filled = condition(ANCHOR.double(), None)
    filled[:] = 7
    assert filled.dtype == torch.float64
    assert torch.equal(ANCHOR, before)


def test_the_network_reads_noise_then_mask_then_latents():
    noisy = window_noise(3, (BATCH, 16, 21, HEIGHT, WIDTH))
    read = network_input(noisy, condition(ANCHOR, TAIL))
    assert read.shape == (BATCH, 36, 21, HEIGHT, WIDTH)
    assert torch.equal(read[:, :16], noisy)
    assert (read[:, 16:20, 0] == 1).all()
    assert torch.equal(read[:, 20:, 0], ANCHOR[:, :, 0])
    assert torch.equal(read[:, 20:, 1], TAIL[:, :, 0])


def test_the_tail_of_a_window_stands_raw_in_the_next_one():
    latents = window_noise(4, (BATCH, 16, 21, HEIGHT, WIDTH))
    handed = condition(ANCHOR, tail_of(latents))[:, 4:, 1]
    assert torch.equal(handed, latents[:, :, 20])


@pytest.mark.parametrize("frames", [0, 4, 20])
def test_without_its_end_a_window_hands_on_what_ends_so_many_frames_before(frames):
    latents = torch.arange(21.0).view(1, 1, 21, 1, 1).expand(1, 16, 21, 2, 2)
    kept = without_end(latents, frames)
    assert torch.equal(kept, latents[:, :, : 21 - frames // 4])
    assert torch.equal(tail_of(kept), latents[:, :, 20 - frames // 4 : 21 - frames // 4])


def test_a_window_is_decoded_behind_the_end_of_the_film():
    before, latents = (window_noise(seed, (BATCH, 16, 21, HEIGHT, WIDTH)) for seed in (3, 4))
    decoded = in_film(latents, tail_of(before), eve_of(before))
    assert torch.equal(decoded[:, :, :3], before[:, :, -3:])
    assert torch.equal(decoded[:, :, 3:], latents[:, :, 2:])
    assert torch.equal(in_film(latents, None), latents)


def test_a_window_behind_a_film_without_an_eve_is_decoded_behind_its_anchor():
    latents = window_noise(4, (BATCH, 16, 21, HEIGHT, WIDTH))
    decoded = in_film(latents, TAIL)
    assert torch.equal(decoded[:, :, 1:2], TAIL)
    assert torch.equal(decoded[:, :, 0], latents[:, :, 0])
    assert torch.equal(decoded[:, :, 2:], latents[:, :, 2:])


@pytest.mark.parametrize(
    ("anchor", "tail", "latent_frames"),
    [
        (ANCHOR[0], None, 21),
        (ANCHOR[..., 0], None, 21),
        (ANCHOR.expand(-1, -1, 2, -1, -1), None, 21),
        (ANCHOR, TAIL[..., :2], 21),
        (ANCHOR, TAIL[:1], 21),
        (ANCHOR, TAIL, 1),
        (ANCHOR, None, 0),
    ],
)
def test_what_does_not_fit_is_refused(anchor, tail, latent_frames):
    with pytest.raises(ValueError, match=r"latent|anchor"):
        condition(anchor, tail, latent_frames)


# ---- motion amplitude -----------------------------------------------------------------------------------------------


def hand_made(*frames: tuple[float, float]) -> Tensor:
    """A condition of one place and two channels: mask, then latent frames."""
    latents = torch.tensor(frames).T.view(1, 2, len(frames), 1, 1)
    return torch.cat([torch.zeros(1, 4, len(frames), 1, 1), latents], dim=1)


def test_motion_by_hand():
    """Anchor (1, 3), zeros: d = (-1, -3), m = -2, so anchor + m + 1.5 (d - m) = (1, 3) - 2 + 1.5 (1, -1)."""
    moved = with_motion(hand_made((1, 3), (0, 0), (2, 8)), 1.5, continues=False)
    torch.testing.assert_close(moved[0, 4:, :, 0, 0].T, torch.tensor([[1, 3], [0.5, -0.5], [1, 6.0]]).clamp(-6, 6))
    # (2, 8): d = (1, 5), m = 3, (1, 3) + 3 + 1.5 (-2, 2) = (1, 9), of which 6 is left
    assert not moved[:, :4].any()


@pytest.mark.parametrize(("tail", "first"), [(None, 1), (TAIL, 4)])
def test_zeros_go_away_from_the_anchor_from_where_the_source_counts(tail, first):
    """Known frames are counted in pixels there: 1 in a first window, 4 in a later one, whose first two zeros stay."""
    plain = condition(ANCHOR, tail)
    moved = with_motion(plain, 1.2, continues=tail is not None)
    assert torch.equal(moved[:, :, :first], plain[:, :, :first])
    away = -0.2 * (ANCHOR - ANCHOR.mean(dim=(1, 3, 4), keepdim=True))
    torch.testing.assert_close(moved[:, 4:, first:], away.expand(-1, -1, 21 - first, -1, -1))
    assert torch.equal(moved[:, :4], plain[:, :4])


@pytest.mark.parametrize("continues", [False, True])
def test_an_amplitude_of_one_is_off_and_more_of_it_is_more(continues):
    plain = condition(ANCHOR, TAIL if continues else None)
    assert torch.equal(with_motion(plain, 1.0, continues=continues), plain)
    distances = [(with_motion(plain, 1 + a, continues=continues) - plain).norm() for a in (0.1, 0.2, 0.4)]
    assert distances[1] / distances[0] == pytest.approx(2, rel=1e-4)
    assert distances[2] / distances[0] == pytest.approx(4, rel=1e-4)


def test_motion_stays_within_six_and_leaves_the_condition_as_it_was():
    plain = condition(30 * ANCHOR, None)
    before = plain.clone()
    moved = with_motion(plain, 1.4, continues=False)
    assert torch.equal(plain, before)
    assert moved[:, 4:, 1:].abs().max() == 6
    assert torch.equal(moved[:, 4:, :1], 30 * ANCHOR)


# ---- noise ----------------------------------------------------------------------------------------------------------


def test_a_seed_is_its_noise():
    shape = (1, 16, 21, 4, 6)
    assert torch.equal(window_noise(42, shape), window_noise(42, shape))
    assert not torch.equal(window_noise(42, shape), window_noise(43, shape))
    assert torch.isfinite(window_noise(2**63 - 1, shape)).all()


def test_noise_after_noise_comes_from_one_seed():
    first, second, third = (noise for noise, _ in zip(window_noises(42, (1, 2, 3)), range(3), strict=False))
    assert torch.equal(first, window_noise(42, (1, 2, 3)))
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_noise_is_standard_normal_float32_on_the_cpu_and_touches_no_other_generator():
    before = torch.get_rng_state()
    noise = window_noise(0, (1, 16, 21, 18, 32))
    assert torch.equal(torch.get_rng_state(), before)
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    assert abs(noise.mean().item()) < 0.01
    assert abs(noise.std().item() - 1) < 0.01
    torch.testing.assert_close(window_noise(42, (3,)), torch.tensor([0.3367, 0.1288, 0.2345]), rtol=0, atol=1e-4)
