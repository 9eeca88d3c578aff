"""MagCache: Wan2GP's figures, the laws of skipping, and what it does to a window of the real toy networks."""

from pathlib import Path

import pytest
import torch
from filming import film_plan, window
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from engine.condition import condition, window_noise
from engine.denoise import denoise, scene_of
from engine.folder import Handover
from engine.magcache import (
    I2V_A14B_RATIOS,
    Branch,
    Drift,
    MagCache,
    Turn,
    computed_steps,
    resampled,
    threshold_for,
)
from engine.models import Models, ModelShelf
from engine.samplers import sample
from engine.velocity import WindowVelocity
from storage.schema import (
    NAG,
    Expert,
    Lora,
    MagCacheSettings,
    Phase,
    RefinedSteps,
    Refiner,
    Sampling,
    SkipLayers,
    Solver,
    Window,
)

HIGH, LOW = Expert.HIGH_NOISE, Expert.LOW_NOISE
SPEEDS = (1.5, 1.75, 2.0, 2.25, 2.5)
WAN21_480P_RATIOS = (
    (0.98783, 0.98993), (0.97559, 0.97593), (0.98311, 0.98319), (0.98202, 0.98225), (0.9888, 0.98878),
    (0.98762, 0.98759), (0.98957, 0.98971), (0.99052, 0.99043), (0.99383, 0.99384), (0.98857, 0.9886),
    (0.99065, 0.99068), (0.98845, 0.98847), (0.99057, 0.99057), (0.98957, 0.98961), (0.98601, 0.9861),
    (0.98823, 0.98823), (0.98756, 0.98759), (0.98808, 0.98814), (0.98721, 0.98724), (0.98571, 0.98572),
    (0.98543, 0.98544), (0.98157, 0.98165), (0.98411, 0.98413), (0.97952, 0.97953), (0.98149, 0.9815),
    (0.9774, 0.97742), (0.97825, 0.97826), (0.97355, 0.97361), (0.97085, 0.97087), (0.97056, 0.97055),
    (0.96588, 0.96587), (0.96113, 0.96124), (0.9567, 0.95681), (0.94961, 0.94969), (0.93973, 0.93988),
    (0.93217, 0.93224), (0.91878, 0.91896), (0.90955, 0.90954), (0.92617, 0.92616),
)  # fmt: skip


def positive(pairs, steps: int) -> list[float]:
    return [pair[Branch.POSITIVE] for pair in resampled(pairs, steps)]


def pattern(ratios, threshold: float, always=frozenset({0})) -> str:
    return "".join("SC"[computed] for computed in computed_steps(ratios, threshold, always))


# ---- ratios, thresholds, decisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "speed", "threshold", "expected"),
    [
        (I2V_A14B_RATIOS, 1.5, 0.02, "CSCSCSCSCSCCSCSCSCSCCCCCCCCCCC"),
        (WAN21_480P_RATIOS, 1.5, 0.02, "CSCSCSCSCSCSCSCSCSCCCCCCCCCCCC"),
        (I2V_A14B_RATIOS, 2.0, 0.04, "CSSCSSCSSCSCSSCSSCSCSCSCSCCCCC"),
        (WAN21_480P_RATIOS, 2.0, 0.05, "CSSCSSCSSCSSCSSCSCSCSCSCSCCCCC"),
    ],
)
def test_thirty_steps_are_skipped_as_in_wan2gp(pairs, speed, threshold, expected):
    ratios = positive(pairs, 30)
    assert threshold_for(speed, ratios, {0}) == threshold
    assert pattern(ratios, threshold) == expected


def test_forty_steps_are_as_measured_and_others_take_the_nearest():
    assert len(I2V_A14B_RATIOS) == len(WAN21_480P_RATIOS) == 39
    assert resampled(I2V_A14B_RATIOS, 40) == ((1.0, 1.0), *I2V_A14B_RATIOS)
    assert resampled([(0.9, 0.8), (0.7, 0.6)], 2) == ((1.0, 1.0), (0.7, 0.6))
    assert resampled([(0.9, 0.8), (0.7, 0.6)], 1) == ((0.7, 0.6),)
    for steps in range(2, 51):
        ratios = resampled(I2V_A14B_RATIOS, steps)
        assert len(ratios) == steps
        assert (ratios[0], ratios[-1]) == ((1.0, 1.0), I2V_A14B_RATIOS[-1])


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("steps", [20, 30, 40, 50])
def test_no_other_threshold_comes_nearer_to_the_speed(steps, speed):
    ratios = positive(I2V_A14B_RATIOS, steps)
    counts = [sum(computed_steps(ratios, hundredth / 100, {0})) for hundredth in range(1, 61)]
    chosen = sum(computed_steps(ratios, threshold_for(speed, ratios, {0}), {0}))
    assert abs(chosen - int(steps / speed)) == min(abs(count - int(steps / speed)) for count in counts)


def test_at_most_two_steps_in_a_row_are_skipped():
    assert pattern([1.0] * 10, 0.6) == "CSSCSSCSSC"


def test_what_must_be_computed_is_and_the_count_begins_anew_there():
    assert pattern([1.0] * 10, 0.6, always={0, 1, 2, 4}) == "CCCSCSSCSS"


def test_errors_of_skipped_steps_add_up():
    drift = Drift().after(0.9).after(0.9)
    assert drift.ratio == pytest.approx(0.81)
    assert drift.error == pytest.approx(0.1 + 0.19)
    assert drift.bearable(0.3)
    assert not drift.bearable(0.28)
    assert not drift.bearable(drift.error), "the threshold itself is too much"
    assert Drift().after(1.25).error == 0.25


# ---- a window -------------------------------------------------------------------------------------------------------


LEVELS = 12


def sampling(**changes: object) -> Sampling:
    """12 even steps; the experts change at step 4, which is skipped where nobody minds the change."""
    phases = (Phase(expert=HIGH, above=8.5 / LEVELS, guidance=3.0), Phase(expert=LOW, above=0.0, guidance=3.0))
    sigmas = tuple(1 - step / LEVELS for step in range(LEVELS + 1))
    return Sampling(**{"solver": Solver.EULER, "sigmas": sigmas, "phases": phases} | changes)


FAST = sampling(magcache=MagCacheSettings(speed=2.0))


@pytest.fixture(scope="module")
def models(shelf: ModelShelf) -> Models:
    return shelf.load(film_plan([window(1)], sampling=sampling()))


@pytest.fixture(scope="module")
def handover() -> Handover:
    generator = torch.Generator().manual_seed(0)
    return Handover(*torch.randn(2, 1, 16, 1, 4, 4, generator=generator).unbind())


class Counted:
    """Which expert ran its first block, at which step: one letter a run."""

    def __init__(self, models: Models) -> None:
        self.runs: list[list[Expert]] = [[]]
        self.hooks = [
            network.blocks[0].register_forward_hook(lambda *_, expert=expert: self.runs[-1].append(expert))
            for expert, network in models.experts.items()
        ]

    def next_step(self, _: int) -> None:
        self.runs.append([])

    def remove(self) -> list[list[Expert]]:
        for hook in self.hooks:
            hook.remove()
        return self.runs[:-1]


def film(models: Models, handover: Handover, chosen: Sampling, what: Window | None = None):
    """Latents, and which experts' blocks ran at each step."""
    counted = Counted(models)
    try:
        with torch.inference_mode():
            latents = denoise(what or window(1), handover, chosen, models, lambda step, _: counted.next_step(step))
    finally:
        runs = counted.remove()
    return latents, runs


def film_with(models: Models, handover: Handover, cache: MagCache) -> Tensor:
    given = condition(handover.anchor, handover.tail)
    noise = window_noise(window(1).seed, (1, 16, *given.shape[2:]))
    scene = scene_of(window(1), sampling(), given, models)
    predicted = WindowVelocity(scene, sampling(), models, cache)
    with torch.inference_mode():
        return sample(
            Solver.EULER, predicted.velocity, noise, predicted.sampling.sigmas, lambda walk: predicted.go_on(walk.step)
        )


def test_a_film_with_nothing_skipped_is_the_film_without_bit_for_bit(models: Models, handover: Handover):
    plain, runs = film(models, handover, sampling())
    assert [len(step) for step in runs] == [2] * LEVELS, "both branches, every step"
    assert torch.equal(film_with(models, handover, MagCache(resampled(I2V_A14B_RATIOS, LEVELS), 1e-9)), plain)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nag": NAG(scale=11, tau=2.5, alpha=0.25)},
        {"skip_layers": SkipLayers(blocks=(1,), start=0.25, stop=0.75)},
        {"zero_steps": 2},
    ],
)
def test_a_start_at_the_end_changes_no_bit_whatever_else_is_set(models: Models, handover: Handover, changes):
    plain, runs = film(models, handover, sampling(**changes))
    never = MagCacheSettings(speed=2.5, start=1.0)
    late, late_runs = film(models, handover, sampling(magcache=never, **changes))
    assert torch.equal(late, plain)
    assert late_runs == runs


def test_a_faster_film_runs_fewer_blocks_and_is_close(models: Models, handover: Handover):
    plain, _ = film(models, handover, sampling())
    distances = []
    for speed in (1.5, 2.5):
        latents, runs = film(models, handover, sampling(magcache=MagCacheSettings(speed=speed)))
        assert sum(map(len, runs)) / 2 == pytest.approx(LEVELS / speed, abs=1)
        distances.append(float((latents - plain).norm() / plain.norm()))
    assert 0 < distances[0] < distances[1] < 0.02


def test_the_threshold_counts_on_the_change_of_experts():
    cache = MagCache.of(FAST)
    assert cache is not None
    ratios = positive(I2V_A14B_RATIOS, LEVELS)
    assert cache.threshold == threshold_for(2.0, ratios, {0, 4})
    assert pattern(ratios, cache.threshold, {0})[4] == "S", "the test needs a change at a step that would be skipped"


def test_each_expert_computes_its_own_first_step(models: Models, handover: Handover):
    _, runs = film(models, handover, FAST)
    letters = pattern(positive(I2V_A14B_RATIOS, LEVELS), MagCache.of(FAST).threshold, {0, 4})
    experts = [HIGH] * 4 + [LOW] * (LEVELS - 4)
    assert runs == [[expert] * 2 if letter == "C" else [] for expert, letter in zip(experts, letters, strict=True)]


def test_the_first_steps_up_to_the_start_are_computed(models: Models, handover: Handover):
    usual, late = (sampling(magcache=MagCacheSettings(speed=2.0, start=start)) for start in (0.0, 0.25))
    assert [] in film(models, handover, usual)[1][:4]
    assert [] not in film(models, handover, late)[1][:4]
    assert [] in film(models, handover, late)[1][4:]


def test_nothing_is_kept_from_one_window_to_the_next(models: Models, handover: Handover):
    first, second = film(models, handover, FAST), film(models, handover, FAST, window(2))
    assert not torch.equal(first[0], second[0])
    again, alone = film(models, handover, FAST, window(2)), film(models, handover, FAST)
    assert torch.equal(again[0], second[0])
    assert torch.equal(alone[0], first[0])
    assert first[1] == second[1] == again[1] == alone[1]


@pytest.mark.parametrize(
    ("turn", "serves"),
    [
        (Turn(4, Branch.POSITIVE, LOW), True),
        (Turn(5, Branch.POSITIVE, LOW), False),  # no guidance for a step: its drift is not known
        (Turn(4, Branch.NEGATIVE, LOW), False),
        (Turn(4, Branch.POSITIVE, HIGH), False),
        (Turn(4, Branch.POSITIVE, LOW, strengths=(0.5,)), False),
        (Turn(4, Branch.POSITIVE, LOW, skip_blocks=(1,)), False),
    ],
)
def test_a_residual_serves_the_next_turn_of_its_kind_alone(models: Models, turn: Turn, serves: bool):
    network = models.experts[LOW]
    generator = torch.Generator().manual_seed(1)
    text = network.encode_text(torch.randn(1, 3, 32, generator=generator))
    first, second = torch.randn(2, 1, 36, 2, 4, 4, generator=generator)
    sigma = torch.tensor([0.5])
    cache = MagCache([(1.0, 1.0)] * 6, threshold=0.5)
    with torch.inference_mode():
        made = cache.predict(network, Turn(3, Branch.POSITIVE, LOW), first, sigma, text)
        assert torch.equal(made, network(first, sigma, text))
        got, exact = cache.predict(network, turn, second, sigma, text), network(second, sigma, text, turn.skip_blocks)
        assert torch.equal(got, exact) is not serves
        before, after = network.embed(first, sigma), network.embed(second, sigma)
        added = network.run_blocks(before, text) - before.tokens
        reused = network.unpatch(after.tokens + added, after.time, second.shape)
        assert torch.equal(got, reused) is serves


def test_a_residual_without_a_block_does_not_serve_with_it(models: Models, handover: Handover):
    skipping = SkipLayers(blocks=(1,), start=0.0, stop=1.5 / LEVELS)  # at step 0 alone
    _, runs = film(models, handover, sampling(skip_layers=skipping, magcache=MagCacheSettings(speed=2.0)))
    assert [len(step) for step in runs[:2]] == [2, 1], "the negative branch has its blocks back"


def test_two_branches_keep_their_own_residuals(models: Models):
    network = models.experts[LOW]
    inputs, sigma = torch.randn(1, 36, 2, 4, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0.5])
    texts = [network.encode_text(torch.full((1, 3, 32), value)) for value in (1.0, -1.0)]
    cache = MagCache([(1.0, 1.0)] * 2, threshold=0.5)
    with torch.inference_mode():
        for step in (0, 1):
            for branch, text in zip(Branch, texts, strict=True):
                got = cache.predict(network, Turn(step, branch, LOW), inputs, sigma, text)
                torch.testing.assert_close(got, network(inputs, sigma, text))


def test_each_branch_drifts_by_its_own_ratios(models: Models):
    network = models.experts[LOW]
    inputs, text = torch.zeros(1, 36, 1, 4, 4), network.encode_text(torch.ones(1, 1, 32))
    cache = MagCache([(1.0, 1.0), (0.9, 0.8), (1.0, 1.25)], threshold=1.0)
    with torch.inference_mode():
        for step in range(3):
            for branch in Branch:
                cache.predict(network, Turn(step, branch, LOW), inputs, torch.tensor([0.5]), text)
    ratios = [cache.memories[branch].drift.ratio for branch in Branch]
    assert ratios == pytest.approx([0.9, 1.0])
    assert [cache.memories[branch].drift.error for branch in Branch] == pytest.approx([0.2, 0.2])


def test_a_step_that_is_repeated_is_one_step_and_computed_whenever_its_noise_is_new(models: Models, handover: Handover):
    """A residual holds the noise that it was made from. What was skipped once is skipped, its repetitions are not."""
    plain = [len(step) // 2 for step in film(models, handover, FAST)[1]]
    assert plain == [1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1]
    steps = (RefinedSteps(first=2, last=2, evaluations=3),)
    chosen = FAST.model_copy(update={"refiner": Refiner(steps=steps, uncertainty=0.0)})
    runs = [len(step) // 2 for step in film(models, handover, chosen)[1]]
    assert runs == [1, 0, 2, 0, 1, 0, 0, 1, 0, 1, 0, 1], "the last repetition's residual serves step 3"


def test_steps_before_the_first_that_is_taken_count_as_computed_not_at_all():
    cache = MagCache.of(FAST, first_step=6)
    assert cache is not None
    assert cache.always_until == 6
    assert cache.threshold == threshold_for(2.0, positive(I2V_A14B_RATIOS, LEVELS), {0, 1, 2, 3, 4, 5, 6})


def test_a_lora_whose_strength_changes_at_every_step_leaves_nothing_to_skip(
    shelf: ModelShelf, toy_models_dir: Path, handover: Handover
):
    tensors = {"blocks.0.ffn.0.lora_A.weight": torch.ones(1, 48), "blocks.0.ffn.0.lora_B.weight": torch.ones(96, 1)}
    save_file(tensors, toy_models_dir / "swelling.safetensors")

    def computed(strength: str) -> int:
        plan = film_plan([window(1)], sampling=FAST)
        loras = (Lora(name="swelling", strength=strength),)
        return sum(map(len, film(shelf.load(plan.model_copy(update={"loras": loras})), handover, FAST)[1]))

    assert computed(",".join(str(step / LEVELS) for step in range(LEVELS))) == 2 * LEVELS
    assert computed("0.5") < 2 * LEVELS


# ---- settings -------------------------------------------------------------------------------------------------------


def test_the_settings_are_wan2gps():
    assert [MagCacheSettings(speed=speed).speed for speed in SPEEDS] == list(SPEEDS)
    for wrong in ({"speed": 1.25}, {"speed": 2.75}, {"speed": 1.6}, {"start": 1.1}, {"start": -0.1}):
        with pytest.raises(ValidationError):
            MagCacheSettings(**wrong)


def test_more_than_fifty_steps_are_refused():
    def steps(count: int, magcache: MagCacheSettings | None) -> Sampling:
        return sampling(sigmas=tuple(1 - step / count for step in range(count + 1)), magcache=magcache)

    assert steps(50, MagCacheSettings()).steps == 50
    assert steps(51, None).steps == 51
    with pytest.raises(ValidationError, match="at most 50 steps, got 51"):
        steps(51, MagCacheSettings())


def test_who_asks_for_no_speed_gets_no_cache():
    assert MagCache.of(sampling()) is None
