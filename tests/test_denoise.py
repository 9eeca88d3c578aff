"""One window denoised on the real toy networks: each setting is seen to act, and to act as its formula says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filming import film_plan, window
from safetensors.torch import save_file
from torch import Tensor

from engine.condition import condition, window_noises, with_motion
from engine.denoise import denoise, scene_of
from engine.dit import DiT
from engine.folder import Handover
from engine.loras.by_step import recipe_for
from engine.models import ModelShelf
from engine.velocity import WindowVelocity
from storage.schema import (
    NAG,
    BeatSpan,
    Expert,
    GuidanceRule,
    Lora,
    Phase,
    RefinedSteps,
    Refiner,
    Sampling,
    SkipLayers,
    Solver,
    Timing,
    UserError,
    Window,
)

Denoise = Callable[..., Tensor]
HIGH, LOW = Expert.HIGH_NOISE, Expert.LOW_NOISE
SIGMAS = (1.0, 0.95, 0.8, 0.5, 0.0)


def sampling(guidance: float = 3.0, **changes: object) -> Sampling:
    phases = (Phase(expert=HIGH, above=0.9, guidance=guidance), Phase(expert=LOW, above=0.0, guidance=guidance))
    return Sampling(**{"solver": Solver.EULER, "sigmas": SIGMAS, "phases": phases} | changes)


@pytest.fixture
def latents_of(shelf: ModelShelf) -> Denoise:
    generator = torch.Generator().manual_seed(0)
    anchor, tail = torch.randn(2, 1, 16, 1, 6, 8, generator=generator).unbind()

    def run(
        chosen: Sampling,
        loras: tuple[Lora, ...] = (),
        tail: Tensor | None = tail,
        what: Window | None = None,
        timing: Timing = Timing.TEXT,
    ) -> Tensor:
        plan = film_plan([window(1)], sampling=chosen).model_copy(update={"loras": loras})
        with torch.inference_mode():
            return denoise(what or window(1), Handover(anchor, tail), chosen, shelf.load(plan), lambda *_: None, timing)

    return run


def test_the_tail_and_the_guidance_matter_and_a_repeat_does_not(latents_of: Denoise):
    usual = latents_of(sampling())
    assert torch.equal(latents_of(sampling()), usual)
    assert not torch.equal(latents_of(sampling(), tail=None), usual)
    assert not torch.equal(latents_of(sampling(guidance=1.0)), usual)


@pytest.mark.parametrize(
    "changes",
    [
        {"rule": GuidanceRule.CFG_STAR},
        {"rule": GuidanceRule.APG},
        {"zero_steps": 1},
        {"skip_layers": SkipLayers(blocks=(1,), start=0.0, stop=1.0)},
        {"nag": NAG(scale=11, tau=2.5, alpha=0.25)},
        {"solver": Solver.UNIPC},
        {"solver": Solver.DPMPP},
        {"motion_amplitude": 1.15},
        {"refiner": Refiner(steps=(RefinedSteps(first=1, last=2, evaluations=2),))},
    ],
)
def test_every_setting_of_guidance_changes_the_film(latents_of: Denoise, changes: dict[str, object]):
    changed = latents_of(sampling(**changes))
    assert changed.isfinite().all()
    assert not torch.allclose(changed, latents_of(sampling()), atol=1e-4)


def test_what_needs_a_negative_prediction_does_nothing_without_guidance(latents_of: Denoise):
    plain = latents_of(sampling(guidance=1.0))
    for changes in ({"rule": GuidanceRule.APG}, {"skip_layers": SkipLayers(blocks=(1,), start=0.0, stop=1.0)}):
        assert torch.equal(latents_of(sampling(guidance=1.0, **changes)), plain)
    assert not torch.equal(latents_of(sampling(guidance=1.0, nag=NAG(scale=5))), plain), "NAG needs none"


def test_layers_are_skipped_in_their_share_of_the_steps_alone(latents_of: Denoise):
    never = SkipLayers(blocks=(1,), start=0.3, stop=0.4)  # of 4 steps: from step 1 to before step 1
    assert torch.equal(latents_of(sampling(skip_layers=never)), latents_of(sampling()))
    assert [SkipLayers().covers(step, 30) for step in (2, 3, 26, 27)] == [False, True, True, False]


def test_zero_steps_leave_the_noise_as_it_is(latents_of: Denoise):
    """With every step but the last at rest, Euler goes in one straight step from the first noise."""
    rest = latents_of(sampling(guidance=1.0, zero_steps=4))
    other = latents_of(sampling(guidance=5.0, zero_steps=4))
    assert torch.equal(rest, other), "nothing was predicted"


def test_each_phase_asks_its_own_expert(latents_of: Denoise):
    def only(expert: Expert) -> Tensor:
        return latents_of(sampling(phases=(Phase(expert=expert, above=0.0),)))

    both = latents_of(sampling(guidance=1.0))
    assert not torch.equal(only(HIGH), only(LOW))
    assert not torch.equal(both, only(HIGH))
    assert not torch.equal(both, only(LOW))


def test_relay_holds_the_beats_of_a_window_and_text_leaves_them_alone(latents_of: Denoise):
    plain = latents_of(sampling())
    timed = window(1).model_copy(update={"beats": (BeatSpan(start=0, stop=4, seconds=2.0),)})
    later = window(1).model_copy(update={"beats": (BeatSpan(start=0, stop=4, seconds=4.0),)})
    assert torch.equal(latents_of(sampling(), what=timed), plain)
    assert torch.equal(latents_of(sampling(), timing=Timing.RELAY), plain), "there is no beat to hold"
    held = latents_of(sampling(), what=timed, timing=Timing.RELAY)
    assert held.isfinite().all()
    assert not torch.allclose(held, plain, atol=1e-4)
    assert not torch.allclose(latents_of(sampling(), what=later, timing=Timing.RELAY), held, atol=1e-4)
    nag = sampling(guidance=1.0, nag=NAG(scale=5))
    assert not torch.allclose(latents_of(nag, what=timed, timing=Timing.RELAY), latents_of(nag, what=timed), atol=1e-4)


def test_motion_amplitude_moves_what_the_network_reads_of_a_window(shelf: ModelShelf, latents_of: Denoise):
    """A first window and one with a tail, in which the source counts otherwise."""
    generator = torch.Generator().manual_seed(0)
    anchor, tail = torch.randn(2, 1, 16, 1, 6, 8, generator=generator).unbind()
    network = shelf.load(film_plan([window(1)])).experts[HIGH]
    read: list[Tensor] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0][:, 16:]))
    for given in (None, tail):
        latents_of(sampling(guidance=1.0, motion_amplitude=1.3), tail=given)
    hook.remove()
    assert torch.equal(read[0], with_motion(condition(anchor, None), 1.3, continues=False))
    assert torch.equal(read[-1], with_motion(condition(anchor, tail), 1.3, continues=True))


# ---- steps that are taken again -------------------------------------------------------------------------------------


def test_within_a_step_the_same_question_has_the_same_answer(shelf: ModelShelf, toy_models_dir: Path):
    """Strengths, skipped layers, zeros and APG's momentum belong to steps, not to evaluations."""
    network: DiT = shelf.load(film_plan([window(1)])).experts[HIGH]
    rank = {"lora_A": torch.ones(1, network.config.dim), "lora_B": torch.ones(network.config.ffn_dim, 1)}
    save_file(
        {f"blocks.0.ffn.0.{name}.weight": tensor for name, tensor in rank.items()}, toy_models_dir / "one.safetensors"
    )
    chosen = sampling(rule=GuidanceRule.APG, zero_steps=1, skip_layers=SkipLayers(blocks=(1,), start=0.5, stop=0.75))
    loras = (Lora(name="one", strength="0.1,0.2,0.3,0.4"),)
    models = shelf.load(film_plan([window(1)], sampling=chosen).model_copy(update={"loras": loras}))
    given = condition(torch.zeros(1, 16, 1, 4, 4), None)
    scene = scene_of(window(1), chosen, given, models)
    asked = WindowVelocity(scene, chosen, models)
    latents, sigma = torch.randn(1, 16, 21, 4, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0.95])
    answers = []
    with torch.inference_mode():
        for step in range(4):
            asked.go_on(step)
            first, second = asked.velocity(latents, sigma), asked.velocity(latents, sigma)
            assert torch.equal(first, second)
            answers.append(first)
        assert not answers[0].any()
        assert len({float(answer.sum()) for answer in answers}) == 4
        without_momentum = WindowVelocity(scene, chosen, models, step=3)
        assert not torch.equal(without_momentum.velocity(latents, sigma), answers[3])


def test_a_refined_window_comes_from_its_seed_and_costs_its_repetitions(shelf: ModelShelf, latents_of: Denoise):
    runs: list[float] = []
    experts = set(shelf.load(film_plan([window(1)])).experts.values())
    hooks = [expert.register_forward_hook(lambda *_: runs.append(1)) for expert in experts]
    chosen = sampling(
        guidance=1.0, refiner=Refiner(steps=(RefinedSteps(first=1, last=2, evaluations=3),), uncertainty=0.0)
    )
    first, second = latents_of(chosen), latents_of(chosen)
    for hook in hooks:
        hook.remove()
    assert torch.equal(first, second)
    assert len(runs) == 2 * (4 + 2 * 2)
    other = window(1).model_copy(update={"seed": 5})
    assert not torch.equal(latents_of(chosen, what=other), first)
    assert torch.equal(next(window_noises(101, (2,))), next(window_noises(window(1).seed, (2,))))


# ---- LoRAs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lora(toy_models_dir: Path, shelf: ModelShelf) -> str:
    """A LoRA on every attention and feed-forward of the toy expert, as SVI's are."""
    network: DiT = shelf.load(film_plan([window(1)])).experts[HIGH]
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and name.startswith("blocks."):
            tensors[f"{name}.lora_A.default.weight"] = torch.randn(2, module.in_features, generator=generator) * 0.1
            tensors[f"{name}.lora_B.default.weight"] = torch.randn(module.out_features, 2, generator=generator) * 0.1
    save_file(tensors, toy_models_dir / "style.safetensors")
    return "style"


def with_strength(lora: str, strength: str) -> tuple[Lora, ...]:
    return (Lora(name=lora, strength=strength),)


def test_a_lora_changes_the_film_and_goes_when_the_next_plan_has_none(latents_of: Denoise, lora: str):
    plain = latents_of(sampling())
    styled = latents_of(sampling(), with_strength(lora, "1"))
    assert not torch.allclose(styled, plain, atol=1e-3)
    assert torch.equal(latents_of(sampling()), plain)
    assert torch.equal(latents_of(sampling(), with_strength(lora, "0")), plain)


def test_a_lora_that_varies_by_step_runs_beside_the_network_to_the_same_result(latents_of: Denoise, lora: str):
    merged = latents_of(sampling(), with_strength(lora, "0.7;0.3"))
    varying = latents_of(sampling(), with_strength(lora, "0.7,0.7;0.3,0.3000001"))
    torch.testing.assert_close(varying, merged, atol=1e-4, rtol=1e-4)
    first_step = latents_of(sampling(), with_strength(lora, "1,0,0,0"))
    assert not torch.allclose(first_step, latents_of(sampling()), atol=1e-3)
    assert not torch.allclose(first_step, latents_of(sampling(), with_strength(lora, "1")), atol=1e-3)


def test_a_strength_by_phase_reaches_its_expert_alone(latents_of: Denoise, lora: str):
    recipes = {expert: recipe_for(expert, with_strength(lora, "1;0"), sampling()) for expert in Expert}
    assert recipes[HIGH].merged == ((Lora(name=lora), 1.0),)
    assert recipes[LOW].merged == ()
    low_only = sampling(phases=(Phase(expert=LOW, above=0.0),))
    assert torch.equal(latents_of(low_only, with_strength(lora, "0")), latents_of(low_only))


def test_what_became_of_a_loras_keys_is_kept(latents_of: Denoise, lora: str, shelf: ModelShelf):
    latents_of(sampling(), with_strength(lora, "0.5"))
    assert shelf.ledgers[lora] == "style.safetensors: 40 keys applied to 20 modules"


def test_a_lora_that_is_not_there_is_named(latents_of: Denoise):
    with pytest.raises(UserError, match=r"There is no LoRA lost: put lost\.safetensors into"):
        latents_of(sampling(), with_strength("lost", "1"))
