import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.presets import PRESETS, find_preset
from planner.sigmas import causvid_sigmas, euler_sigmas, lcm_sigmas, linear_sigmas, shifted, unipc_sigmas
from storage.schema import Expert, Sampling, Solver, UserError


def timesteps(sigmas: tuple[float, ...]) -> list[int]:
    return [math.trunc(1000 * sigma) for sigma in sigmas[:-1]]


@pytest.mark.parametrize(
    ("steps", "shift", "expected"),
    [
        (4, 5, [999, 937, 833, 624]),
        (8, 5, [999, 972, 937, 892, 833, 749, 624, 416]),
        (20, 5, [999, 989, 978, 965, 952, 937, 920, 902, 882, 859, 833, 803, 768, 728, 681, 624, 555, 468, 356, 208]),
        (4, 3, [999, 899, 749, 499]),
    ],
)
def test_unipc_timesteps_are_the_official_ones(steps: int, shift: float, expected: list[int]) -> None:
    sigmas = unipc_sigmas(steps, shift)
    assert timesteps(sigmas) == expected
    assert sigmas[-1] == 0


def test_forty_official_steps_begin_and_end_as_tabled() -> None:
    steps = timesteps(unipc_sigmas(40, 5))
    assert steps[:6] == [999, 994, 989, 983, 978, 972]
    assert steps[-4:] == [356, 288, 208, 113]
    assert sum(step >= 900 for step in steps) == 15


@pytest.mark.parametrize(("steps", "high"), [(4, 2), (8, 3), (20, 8), (30, 11), (40, 15)])
def test_the_boundary_splits_the_steps_as_tabled(steps: int, high: int) -> None:
    assert sum(step > 900 for step in timesteps(unipc_sigmas(steps, 5))) == high


@pytest.mark.parametrize("steps", [1, 4, 30])
def test_unipc_is_numpys_line_in_float64_from_a_float32_start(steps: int) -> None:
    line = np.linspace(np.float64(np.float32(0.999)), 0, steps + 1)[:-1]
    assert list(unipc_sigmas(steps, 5)[:-1]) == (5 * line / (1 + 4 * line)).tolist()


def test_euler_is_a_line_of_timesteps_that_ends_at_one() -> None:
    assert [round(1000 * s, 2) for s in euler_sigmas(4, 5)] == [1000, 909.21, 714.90, 4.98, 0]
    expected = [1000, 967.78, 926.02, 869.76, 789.86, 667.44, 456.28, 4.98, 0]
    assert [round(1000 * s, 2) for s in euler_sigmas(8, 5)] == expected


def test_lightning_runs_at_the_levels_it_was_trained_at() -> None:
    assert [round(sigma, 4) for sigma in linear_sigmas(4, 5)] == [1.0, 0.9375, 0.8333, 0.625, 0.0]
    eight = [1, 0.9722, 0.9375, 0.89286, 0.83333, 0.75, 0.625, 0.41667, 0]
    assert [round(sigma, 5) for sigma in linear_sigmas(8, 5)] == pytest.approx(eight, abs=5e-5)


def test_lcm_stops_at_eight_steps_and_above_zero() -> None:
    assert [round(1000 * sigma, 2) for sigma in lcm_sigmas(4, 5)] == [1000, 937.73, 834.16, 627.79, 14.79]
    assert lcm_sigmas(30, 5) == lcm_sigmas(8, 5)


def test_causvid_levels_are_fixed() -> None:
    assert causvid_sigmas(3) == (1.0, 0.934, 0.862, 0.0)
    assert [round(1000 * sigma) for sigma in causvid_sigmas(9)] == [1000, 934, 862, 756, 603, 410, 250, 140, 74, 0]
    with pytest.raises(ValueError, match="9"):
        causvid_sigmas(10)


@given(st.integers(2, 60), st.floats(1, 25))
def test_every_grid_falls_and_makes_a_sampling(steps: int, shift: float) -> None:
    phases = PRESETS["quality"].sampling.phases
    for grid in (unipc_sigmas, euler_sigmas, linear_sigmas, lcm_sigmas):
        sigmas = grid(steps, shift)
        assert all(a > b for a, b in pairwise(sigmas))
        assert Sampling(solver=Solver.EULER, sigmas=sigmas, phases=phases).steps == min(
            steps, 8 if grid is lcm_sigmas else steps
        )


@given(st.floats(1, 25))
def test_shift_keeps_the_ends_and_lifts_the_middle(shift: float) -> None:
    assert (shifted(0.0, shift), shifted(1.0, shift)) == (0.0, 1.0)
    assert shifted(0.5, shift) >= 0.5


@pytest.mark.parametrize("grid", [unipc_sigmas, euler_sigmas, linear_sigmas, lcm_sigmas])
def test_no_steps_are_a_programmers_mistake(grid: object) -> None:
    with pytest.raises(ValueError, match="steps must be at least"):
        grid(0, 5)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "steps", "experts", "guidances"),
    [
        ("demo", 8, ["high_noise"] * 3 + ["low_noise"] * 5, [1] * 8),
        ("quality", 30, ["high_noise"] * 11 + ["low_noise"] * 19, [3.5] * 30),
        ("lightning", 4, ["high_noise"] * 2 + ["low_noise"] * 2, [1] * 4),
        ("lightning-2025", 4, ["high_noise"] * 2 + ["low_noise"] * 2, [1] * 4),
        ("enhanced", 8, ["high_noise"] * 3 + ["low_noise"] * 5, [1] * 8),
        ("lightning-3phase", 8, ["high_noise"] * 4 + ["low_noise"] * 4, [3.5] + [1] * 7),
    ],
)
def test_a_preset_gives_each_step_its_expert(name: str, steps: int, experts: list[str], guidances: list[float]) -> None:
    sampling = find_preset(name).sampling
    phases = [next(p for p in sampling.phases if p.above < sigma) for sigma in sampling.sigmas[:-1]]
    assert sampling.steps == steps
    assert [phase.expert for phase in phases] == [Expert(expert) for expert in experts]
    assert [phase.guidance for phase in phases] == guidances


def test_each_expert_of_the_model_has_its_svi_lora() -> None:
    for preset in (preset for preset in PRESETS.values() if preset.model != "demo"):
        svi = [lora.strength for lora in preset.loras if lora.name.startswith("svi")]
        assert svi == ["1;0", "0;1"]


def test_an_unknown_preset_names_those_there_are() -> None:
    there = "demo, demo-fast, quality, lightning, lightning-3phase, lightning-2025, enhanced"
    with pytest.raises(UserError, match=rf"no preset fast: choose {there}\."):
        find_preset("fast")
