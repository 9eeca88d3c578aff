"""Laws of guidance on tensors made by hand, and the phases of the denoising."""

import math

import pytest
import torch
from noise import noise_of, official_grid
from torch import Tensor

from engine.guidance import Momentum, apg, cfg, cfg_star, phase_at
from engine.samplers import sample
from storage.schema import Expert, Phase, Solver


def hand_made(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)


POSITIVE, NEGATIVE = noise_of(1), noise_of(2)


# ---- formulas -------------------------------------------------------------------------------------------------------


def test_cfg_by_hand():
    assert torch.equal(cfg(hand_made(3, 1), hand_made(1, 2), 3.5), hand_made(8, -1.5))


@pytest.mark.parametrize("combine", [cfg, cfg_star])
def test_scale_one_is_the_positive(combine):
    torch.testing.assert_close(combine(POSITIVE, NEGATIVE, 1.0), POSITIVE)


def test_cfg_with_scale_zero_is_the_negative():
    assert torch.equal(cfg(POSITIVE, NEGATIVE, 0.0), NEGATIVE)


def test_cfg_star_by_hand():
    """<p, n> = 10, |n|^2 = 5: the negative counts twice. 2 n = (2, 4), p = (4, 3): 2 n + 3 (p - 2 n) = (8, 1)."""
    torch.testing.assert_close(cfg_star(hand_made(4, 3), hand_made(1, 2), 3.0), hand_made(8, 1))


def test_cfg_star_does_not_care_for_the_length_of_the_negative():
    torch.testing.assert_close(cfg_star(POSITIVE, 7 * NEGATIVE, 4.0), cfg_star(POSITIVE, NEGATIVE, 4.0))


def test_cfg_star_of_no_negative_is_finite():
    torch.testing.assert_close(cfg_star(POSITIVE, torch.zeros_like(POSITIVE), 2.0), 2 * POSITIVE)


def test_apg_by_hand():
    """d = (3, 4); along (2, 0) is (3, 0), so (0, 4) remains, and half of it is added at scale 1.5."""
    velocity, momentum = apg(hand_made(2, 0), hand_made(-1, -4), 1.5, Momentum())
    torch.testing.assert_close(velocity, hand_made(2, 2))
    torch.testing.assert_close(momentum.difference, hand_made(3, 4))


def test_apg_remembers_three_quarters_of_the_other_way():
    """d = (0, 4) after a difference of (0, 8): 4 - 0.75 * 8 = -2."""
    velocity, momentum = apg(hand_made(1, 4), hand_made(1, 0), 2.0, Momentum(hand_made(0, 8)))
    torch.testing.assert_close(momentum.difference, hand_made(0, -2))
    # (0, -2) less its part along (1, 4): <., .> = -8, |.|^2 = 17 -> (8/17, -2 + 32/17)
    torch.testing.assert_close(velocity, hand_made(1 + 8 / 17, 4 - 2 / 17))


def test_apg_limits_the_length_and_remembers_it_unlimited():
    velocity, momentum = apg(hand_made(1, 0), hand_made(1, -110), 2.0, Momentum())
    torch.testing.assert_close(velocity, hand_made(1, 55))
    torch.testing.assert_close(momentum.difference, hand_made(0, 110))


def test_apg_adds_nothing_along_the_positive():
    velocity, _ = apg(POSITIVE, NEGATIVE, 6.0, Momentum())
    along = ((velocity - POSITIVE) * POSITIVE).flatten(1).sum(1)
    torch.testing.assert_close(along, torch.zeros(2), rtol=0, atol=1e-4)
    assert (velocity - POSITIVE).flatten(1).norm(dim=1).min() > 1


def test_apg_without_a_difference_or_a_positive_is_finite():
    still = torch.zeros_like(POSITIVE)
    assert torch.equal(apg(POSITIVE, POSITIVE, 5.0, Momentum())[0], POSITIVE)
    torch.testing.assert_close(apg(still, NEGATIVE, 2.0, Momentum())[0], -NEGATIVE)


@pytest.mark.parametrize("formula", [cfg, cfg_star, lambda p, n, s: apg(p, n, s, Momentum())[0]])
def test_each_item_of_a_batch_is_guided_on_its_own_and_in_float32(formula):
    together = formula(POSITIVE, NEGATIVE, 3.5)
    apart = torch.cat([formula(p[None], n[None], 3.5) for p, n in zip(POSITIVE, NEGATIVE, strict=True)])
    torch.testing.assert_close(together, apart)
    assert formula(POSITIVE.bfloat16(), NEGATIVE.bfloat16(), 3.5).dtype == torch.float32


# ---- phases ---------------------------------------------------------------------------------------------------------


def phases_at(*thresholds: float) -> tuple[Phase, ...]:
    experts = [Expert.HIGH_NOISE] * len(thresholds) + [Expert.LOW_NOISE]
    return tuple(
        Phase(expert=expert, above=above, guidance=1 + number)
        for number, (expert, above) in enumerate(zip(experts, (*thresholds, 0.0), strict=True))
    )


def split(phases: tuple[Phase, ...], steps: int, shift: float = 5.0) -> tuple[int, ...]:
    """Steps in each phase, counted by sampling with UniPC."""
    visited: list[Phase] = []

    def velocity(latents: Tensor, sigma: Tensor) -> Tensor:
        visited.append(phase_at(phases, float(sigma[0])))
        return latents

    sample(Solver.UNIPC, velocity, torch.zeros(1, 1, 1, 1, 1), official_grid(steps, shift))
    assert [phases.index(phase) for phase in visited] == sorted(phases.index(phase) for phase in visited)
    return tuple(visited.count(phase) for phase in phases)


@pytest.mark.parametrize(("steps", "high", "low"), [(4, 2, 2), (8, 3, 5), (20, 8, 12), (30, 11, 19), (40, 15, 25)])
def test_the_split_at_900(steps, high, low):
    assert split(phases_at(0.9), steps) == (high, low)


def test_the_split_at_876():
    assert split(phases_at(0.876), 8) == (4, 4)


@pytest.mark.parametrize(("threshold", "high", "low"), [(0.9, 1, 3), (0.876, 2, 2)])
def test_the_split_at_shift_3(threshold, high, low):
    assert split(phases_at(threshold), 4, shift=3.0) == (high, low)


def test_the_split_in_three_phases():
    """985 and 800 on 999 972 937 892 833 749 624 416."""
    assert split(phases_at(0.985, 0.8), 8) == (1, 4, 3)


def test_one_phase_takes_every_step():
    assert split(phases_at(), 8) == (8,)


@pytest.mark.parametrize("thousandths", [876, 900, 965])
def test_a_level_at_the_threshold_is_in_the_next_phase(thousandths):
    phases = phases_at(thousandths / 1000)
    assert phase_at(phases, thousandths / 1000) is phases[1]
    assert phase_at(phases, (thousandths + 1) / 1000) is phases[0]
    assert phase_at(phases, math.nextafter(thousandths / 1000, 1)) is phases[0]


def test_every_level_has_a_phase():
    phases = phases_at(0.9, 0.4)
    assert [phase_at(phases, sigma) for sigma in (1.0, 0.9, 0.5, 0.4, 0.001, 0.0)] == [
        phases[number] for number in (0, 1, 1, 2, 2, 2)
    ]
