"""Laws of the samplers, and parity with the official formulas as diffusers has them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from noise import noise_of, official_grid, shifted
from torch import Tensor

from engine.samplers import STEPS, TRUNCATING, Walk, in_thousandths, sample, seen_by_network, shown_levels
from storage.schema import Solver


def full_grid(steps: int) -> list[float]:
    """Wan2.2's DPM++ grid, from 1 down."""
    return shifted(np.linspace(1, 0, steps + 1))


def some_velocity(latents: Tensor, sigma: Tensor) -> Tensor:
    """A velocity that depends on everything: the level, the place and the neighbours."""
    level = sigma.to(latents.dtype).view(-1, 1, 1, 1, 1)
    place = torch.linspace(-1, 1, latents[0].numel()).view(latents.shape[1:]).to(latents)
    return torch.tanh(1.3 * latents + place * level) - 0.3 * latents * level + 0.2 * latents.roll(1, -1)


def walked(solver: Solver, velocity, noise: Tensor, grid: list[float]) -> Tensor:
    """As `sample` does it, but every solver shows the network the levels themselves."""
    walk = Walk(noise)
    for _ in grid[:-1]:
        walk = STEPS[solver](velocity, grid, walk)
    return walk.latents


# ---- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", Solver)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 30])
def test_exact_when_the_velocity_is_constant(solver, steps):
    """With one video in the world, velocity = noise - video: any step count must land on it."""
    video, noise = noise_of(seed=1), noise_of(seed=2)
    latents = sample(solver, lambda x, s: noise - video, noise, full_grid(steps))
    torch.testing.assert_close(latents, video, rtol=0, atol=2e-6)


@pytest.mark.parametrize("solver", Solver)
def test_a_grid_may_end_above_zero(solver):
    """The lcm grid leaves some noise: x = (1 - sigma) video + sigma noise at its end."""
    video, noise = noise_of(seed=1), noise_of(seed=2)
    latents = sample(solver, lambda x, s: noise - video, noise, [1.0, 0.8, 0.3, 0.015])
    torch.testing.assert_close(latents, 0.985 * video + 0.015 * noise, rtol=0, atol=2e-6)


@pytest.mark.parametrize("solver", [Solver.DPMPP, Solver.UNIPC])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_last_step_gives_the_predicted_video_exactly(solver, steps):
    predicted, grid = [], official_grid(steps)

    def velocity(latents: Tensor, sigma: Tensor) -> Tensor:
        predicted.append(latents - grid[len(predicted)] * some_velocity(latents, sigma))
        return some_velocity(latents, sigma)

    assert torch.equal(sample(solver, velocity, noise_of(), grid), predicted[-1])
    assert len(predicted) == steps  # one evaluation a step


@pytest.mark.parametrize("solver", Solver)
def test_step_by_step_equals_at_once(solver):
    """A walk is a value: stopping after every step and going on from a copy changes no bit."""
    grid, noise = official_grid(7), noise_of()
    walk, velocity = Walk(noise.clone()), in_thousandths(some_velocity) if solver in TRUNCATING else some_velocity
    for _ in grid[:-1]:
        walk = STEPS[solver](velocity, grid, walk)
        corrected = None if walk.corrected is None else walk.corrected.clone()
        walk = Walk(walk.latents.clone(), walk.step, tuple(video.clone() for video in walk.videos), corrected)
    assert torch.equal(walk.latents, sample(solver, some_velocity, noise, grid))


@pytest.mark.parametrize("solver", Solver)
def test_on_step_counts_from_one_and_may_stop_the_walk(solver):
    class Cancelled(Exception):
        pass

    heard: list[int] = []
    evaluations: list[float] = []

    def velocity(latents: Tensor, sigma: Tensor) -> Tensor:
        evaluations.append(float(sigma[0]))
        return some_velocity(latents, sigma)

    def on_step(walk: Walk) -> None:
        heard.append(walk.step)
        if walk.step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        sample(solver, velocity, noise_of(), official_grid(6), on_step)
    assert heard == [1, 2, 3]
    assert tuple(evaluations) == shown_levels(solver, official_grid(6))[:3]
    heard.clear()
    sample(solver, some_velocity, noise_of(), [1.0, 0.5, 0.0], lambda walk: heard.append(walk.step))
    assert heard == [1, 2]


@pytest.mark.parametrize("solver", Solver)
def test_the_noise_is_left_as_it_was(solver):
    noise = noise_of()
    before = noise.clone()
    sample(solver, some_velocity, noise, official_grid(4))
    assert torch.equal(noise, before)


@pytest.mark.parametrize("solver", Solver)
def test_each_item_of_a_batch_is_on_its_own(solver):
    noise, grid = noise_of(), official_grid(5)
    apart = [sample(solver, some_velocity, item[None], grid) for item in noise]
    torch.testing.assert_close(sample(solver, some_velocity, noise, grid), torch.cat(apart), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", Solver)
def test_a_network_in_bfloat16_leaves_the_latents_in_float32(solver):
    latents = sample(solver, lambda x, s: some_velocity(x, s).bfloat16(), noise_of(), official_grid(4))
    widened = sample(solver, lambda x, s: some_velocity(x, s).bfloat16().float(), noise_of(), official_grid(4))
    assert latents.dtype == torch.float32
    assert torch.equal(latents, widened)


# ---- accuracy -------------------------------------------------------------------------------------------------------
# The toy world: latents ~ N(0, 0.25), where velocity and flow are known: x0 = x1 f(s0) / f(s1).

VARIANCE = 0.25


def spread(sigma: float) -> float:
    return math.sqrt((1 - sigma) ** 2 * VARIANCE + sigma**2)


def toy_velocity(latents: Tensor, sigma: Tensor) -> Tensor:
    level = float(sigma[0])
    return (latents - (1 - level) * VARIANCE * latents / spread(level) ** 2) / level


def toy_error(solver: Solver, grid: list[float]) -> float:
    start = torch.full((1, 1, 1, 1, 1), 1.3 * spread(grid[0]), dtype=torch.float64)
    return abs(walked(solver, toy_velocity, start, grid).item() - 1.3 * spread(grid[-1]))


@pytest.mark.parametrize(
    ("steps", "unipc", "euler"),
    [(10, ".2245", ".2486"), (20, ".0736", ".1323"), (40, ".00742", ".0689"), (80, ".00264", ".0353")],
)
def test_the_toy_oracle_to_its_printed_digits(steps, unipc, euler):
    for solver, printed in ((Solver.UNIPC, unipc), (Solver.EULER, euler)):
        digits = len(printed) - 1
        assert f"{toy_error(solver, official_grid(steps)):.{digits}f}".lstrip("0") == printed


@pytest.mark.parametrize(("solver", "order"), [(Solver.EULER, 1), (Solver.DPMPP, 2), (Solver.UNIPC, 2)])
def test_halving_the_steps_shrinks_the_error_by_the_order(solver, order):
    errors = [toy_error(solver, np.linspace(0.9, 0.3, steps + 1).tolist()) for steps in (20, 40, 80, 160)]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(abs(found - order) < 0.05 for found in orders), orders


def test_the_corrector_pays():
    """UniPC is DPM++ 2M with a corrector: on a fine grid it is the nearer one."""
    assert toy_error(Solver.UNIPC, official_grid(80)) < 0.6 * toy_error(Solver.DPMPP, official_grid(80))


# ---- parity ---------------------------------------------------------------------------------------------------------


def unipc_oracle(sigmas: list[float]) -> UniPCMultistepScheduler:
    oracle = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0)
    oracle.set_timesteps(sigmas=np.array(sigmas[:-1]))  # shifts what it is given, hence flow_shift 1
    return oracle


def dpmpp_oracle(sigmas: list[float]) -> DPMSolverMultistepScheduler:
    oracle = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0)
    oracle.num_inference_steps = len(sigmas) - 1  # by hand, as it takes no grid
    oracle.timesteps = torch.tensor([int(1000 * sigma) for sigma in sigmas[:-1]])
    return oracle


def euler_oracle(sigmas: list[float]) -> FlowMatchEulerDiscreteScheduler:
    oracle = FlowMatchEulerDiscreteScheduler(shift=1.0)
    oracle.set_timesteps(sigmas=sigmas[:-1])
    return oracle


def run_oracle(oracle, shown: tuple[float, ...], sigmas: list[float], noise: Tensor) -> Tensor:
    """`shown`: the levels that the network sees. The oracle computes its coefficients in the type of its sigmas: given
    float64 it does what the engine does."""
    oracle.sigmas = torch.tensor(sigmas, dtype=torch.float64)
    oracle.set_begin_index(0)
    latents = noise
    for level, timestep in zip(shown, oracle.timesteps, strict=True):
        seen = torch.full((len(noise),), level, dtype=torch.float64)
        latents = oracle.step(some_velocity(latents, seen), timestep, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("grid", [official_grid, full_grid])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 20])
@pytest.mark.parametrize(
    ("solver", "oracle"),
    [(Solver.UNIPC, unipc_oracle), (Solver.DPMPP, dpmpp_oracle), (Solver.EULER, euler_oracle)],
)
def test_steps_equal_diffusers(solver, oracle, steps, grid):
    sigmas, noise = grid(steps), noise_of()
    expected = run_oracle(oracle(sigmas), shown_levels(solver, sigmas), sigmas, noise)
    torch.testing.assert_close(sample(solver, some_velocity, noise, sigmas), expected, rtol=0, atol=1e-6)


def test_unipc_sees_the_timesteps_that_diffusers_sees():
    sigmas = official_grid(20)
    seen = [round(1000 * float(seen_by_network(torch.tensor(s, dtype=torch.float64), True))) for s in sigmas[:-1]]
    assert seen == unipc_oracle(sigmas).timesteps.tolist()


# ---- what the network is shown --------------------------------------------------------------------------------------


def test_a_truncated_level_times_1000_is_a_whole_number_again():
    whole = torch.arange(1001, dtype=torch.float64)
    assert torch.equal(seen_by_network(whole / 1000, truncate=True) * 1000, whole)
    between = (whole[:-1] + 0.999) / 1000
    assert torch.equal(seen_by_network(between, truncate=True) * 1000, whole[:-1])
    assert torch.equal(seen_by_network(between, truncate=False), between)


@pytest.mark.parametrize(
    ("steps", "shift", "timesteps"),
    [
        (4, 5.0, [999, 937, 833, 624]),
        (8, 5.0, [999, 972, 937, 892, 833, 749, 624, 416]),
        (4, 3.0, [999, 899, 749, 499]),
    ],
)
def test_each_solver_shows_the_network_its_own_levels(steps, shift, timesteps):
    grid = official_grid(steps, shift)
    for solver in Solver:
        shown: list[Tensor] = []
        sample(solver, lambda x, sigma, shown=shown: shown.append(sigma) or x, noise_of(), grid)
        assert all(sigma.dtype == torch.float64 and sigma.shape == (2,) for sigma in shown)
        levels = [float(sigma[0]) for sigma in shown]
        assert levels == (grid[:-1] if solver is Solver.EULER else [t / 1000 for t in timesteps])
        assert shown_levels(solver, grid) == tuple(levels)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grid", [[], [1.0], [0.5, 0.5, 0.0], [0.2, 0.4], [1.2, 0.0], [1.0, -0.1], [1.0, math.nan, 0.0]]
)
def test_a_grid_that_does_not_fall_is_refused(grid):
    with pytest.raises(ValueError, match="fall strictly"):
        sample(Solver.EULER, some_velocity, noise_of(), grid)


def test_a_tensor_of_levels_is_a_grid():
    grid = official_grid(4)
    as_tensor = sample(Solver.UNIPC, some_velocity, noise_of(), torch.tensor(grid, dtype=torch.float64))
    assert torch.equal(as_tensor, sample(Solver.UNIPC, some_velocity, noise_of(), grid))


def test_noise_in_half_precision_is_refused():
    with pytest.raises(ValueError, match="float32"):
        sample(Solver.EULER, some_velocity, noise_of().bfloat16(), [1.0, 0.0])
