"""Two processes film one window: the film of one process, whatever is asked for, and nobody is left behind.

On a machine with two GPUs the same runs there, with LONGTAKE_TEST_DEVICE=cuda.
"""

import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filming import film_plan, window
from safetensors.torch import save_file
from torch import Tensor
from waiting import LIMIT_SECONDS

from engine.condition import condition, window_noise
from engine.demo.untrained import DIT, write_untrained
from engine.denoise import denoise, scene_of, shared
from engine.device import other_devices
from engine.dit import DiT, DiTConfig
from engine.folder import Handover
from engine.magcache import MagCache, computed_steps
from engine.memory import Tier
from engine.models import Models, ModelShelf
from engine.samplers import Walk, sample
from engine.settings import EngineSettings
from engine.team.followers import TeamBroken
from engine.team.lead import Lead
from engine.velocity import WindowVelocity
from storage.schema import (
    NAG,
    BeatSpan,
    Expert,
    GuidanceRule,
    Lora,
    MagCacheSettings,
    Phase,
    Plan,
    RefinedSteps,
    Refiner,
    Sampling,
    SkipLayers,
    Solver,
    Timing,
    UserError,
    Window,
)

DEVICE = torch.device(os.environ.get("LONGTAKE_TEST_DEVICE", "cpu"))
OTHER = torch.device("cuda:1" if DEVICE.type == "cuda" else "cpu")
FAILING = Path(__file__).parent / "failing_follower.py"
HIGH, LOW = Expert
SIGMAS = (1.0, 0.95, 0.8, 0.6, 0.4, 0.2, 0.0)
EVERYTHING = {
    "rule": GuidanceRule.APG,
    "zero_steps": 1,
    "skip_layers": SkipLayers(blocks=(1,), start=0.0, stop=1.0),
    "nag": NAG(scale=11, tau=2.5, alpha=0.25),
    "motion_amplitude": 1.15,
    "refiner": Refiner(steps=(RefinedSteps(first=1, last=2, evaluations=2),)),
}
TIMED = window(1).model_copy(update={"beats": (BeatSpan(start=0, stop=4, seconds=2.0),)})


def sampling(high: float = 3.0, low: float = 3.0, **changes: object) -> Sampling:
    phases = (Phase(expert=HIGH, above=0.9, guidance=high), Phase(expert=LOW, above=0.0, guidance=low))
    return Sampling(**{"solver": Solver.UNIPC, "sigmas": SIGMAS, "phases": phases} | changes)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> EngineSettings:
    folder = tmp_path_factory.mktemp("gpus")
    write_untrained(folder / "demo")
    write_untrained(folder / "odd", dit=replace(DIT, heads=3))
    down, up = torch.randn(4, DIT.dim), torch.randn(DIT.ffn_dim, 4)
    lora = {f"blocks.0.ffn.0.lora_{side}.weight": rank for side, rank in (("down", down), ("up", up))}
    save_file(lora, folder / "style.safetensors")
    return EngineSettings(models_dir=folder, data_dir=folder / "data", lora_dir=folder, precision="float32", gpus=2)


@pytest.fixture(scope="module")
def lead(settings: EngineSettings) -> Iterator[Lead]:
    with closing(Lead(settings, DEVICE, [OTHER])) as lead:
        yield lead


@pytest.fixture(scope="module")
def alone(settings: EngineSettings) -> ModelShelf:
    return ModelShelf(settings, DEVICE, torch.float32)


@pytest.fixture(scope="module")
def together(settings: EngineSettings, lead: Lead) -> ModelShelf:
    return ModelShelf(settings, DEVICE, torch.float32, lead)


def handover() -> Handover:
    anchor, tail = torch.randn(2, 1, 16, 1, 6, 8, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    return Handover(anchor, tail)


def plan_of(chosen: Sampling, model: str = "demo", loras: tuple[Lora, ...] = ()) -> Plan:
    return film_plan([window(1)], sampling=chosen).model_copy(update={"model": model, "loras": loras})


def latents_of(
    shelf: ModelShelf,
    plan: Plan,
    what: Window = TIMED,
    timing: Timing = Timing.TEXT,
    on_step: Callable[[int, Tensor], None] = lambda *_: None,
) -> Tensor:
    with torch.inference_mode():
        return denoise(what, handover(), plan.sampling, shelf.load(plan), on_step, timing)


def children(leader: int | None = None) -> set[int]:
    """Processes that follow a process, this one if none is named."""
    own: set[int] = set()
    for thread in Path(f"/proc/{leader or os.getpid()}/task").iterdir():
        with suppress(OSError):  # it has ended
            own |= {int(pid) for pid in (thread / "children").read_text().split()}
    return {pid for pid in own if b"follow" in _command(pid)}


def _command(pid: int) -> bytes:
    """The command line of a process; nothing of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def ended(pid: int) -> bool:
    """Whether a process has ended, or does soon."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], LIMIT_SECONDS)[0])
    finally:
        os.close(process)


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("changes", [{}, {"rule": GuidanceRule.CFG_STAR}, {"magcache": MagCacheSettings()}, EVERYTHING])
def test_with_a_text_each_latents_are_those_of_one_process_bit_for_bit(
    alone: ModelShelf, together: ModelShelf, changes: dict[str, object], timing: Timing
):
    plan = plan_of(sampling(**changes), loras=(Lora(name="style", strength="0.1,0.4"),))
    assert torch.equal(latents_of(together, plan, timing=timing), latents_of(alone, plan, timing=timing))


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("high", [1.0, 3.0])
@pytest.mark.parametrize("changes", [{}, {"magcache": MagCacheSettings()}, {"nag": NAG(scale=11)}, EVERYTHING])
def test_with_a_part_of_the_tokens_each_they_are_as_near_as_rounding_lets_them(
    alone: ModelShelf, together: ModelShelf, changes: dict[str, object], high: float, timing: Timing
):
    """Everywhere, or behind a phase with a text each."""
    plan = plan_of(sampling(high, 1.0, **changes))
    torch.testing.assert_close(
        latents_of(together, plan, timing=timing), latents_of(alone, plan, timing=timing), rtol=1e-4, atol=1e-4
    )


def test_a_step_behind_a_change_of_ways_is_computed(alone: ModelShelf, together: ModelShelf):
    """The same expert predicts with guidance, and then without: what was left of before is of whole tokens."""
    sigmas = tuple(1 - step / 20 for step in range(21))
    skipping = MagCacheSettings(speed=2.5)
    always = sampling(phases=(Phase(expert=LOW, above=0.0),), sigmas=sigmas, magcache=skipping)
    cache = MagCache.of(always)
    assert cache is not None
    computed = computed_steps([positive for positive, _ in cache.ratios], cache.threshold, {0})
    change = computed.index(False, 5)
    phases = (Phase(expert=LOW, above=sigmas[change], guidance=3.0), Phase(expert=LOW, above=0.0))
    chosen = sampling(phases=phases, solver=Solver.EULER, sigmas=sigmas, magcache=skipping)

    def latents(models: Models, forget: int | None = None) -> Tensor:
        given = condition(handover().anchor, handover().tail)
        predicted = WindowVelocity(scene_of(window(1), chosen, given, models), chosen, models, MagCache.of(chosen))
        noise = window_noise(1, (1, 16, *given.shape[2:])).to(DEVICE)

        def stepped(walk: Walk) -> None:
            predicted.go_on(walk.step)
            if walk.step == forget and predicted.cache is not None:
                predicted.cache.memories.clear()

        with torch.inference_mode(), shared(predicted, models) as velocity:
            return sample(chosen.solver, velocity, noise, chosen.sigmas, stepped)

    plan = plan_of(chosen)
    seen = latents(together.load(plan))
    torch.testing.assert_close(seen, latents(alone.load(plan), forget=change), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(seen, latents(alone.load(plan)), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_shared_evenly_is_predicted_by_one_and_said_once(
    alone: ModelShelf, together: ModelShelf, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "longtake.lead")
    plan = plan_of(sampling(3.0, 1.0), model="odd")
    for _ in range(2):
        assert torch.equal(latents_of(together, plan), latents_of(alone, plan))
    assert sum("alone" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("by_frame", [False, True])
def test_a_window_of_the_14_b_model_is_shared_by_whom_its_heads_and_tokens_are(by_frame: bool):
    with torch.device("meta"):
        network = DiT(DiTConfig(layers=1))
    can = [number for number in range(2, 17) if network.shared_evenly((21, 60, 104), number, by_frame=by_frame)]
    assert can == [2, 4, 5, 8, 10]


def test_a_leader_that_stops_between_two_steps_leaves_nobody_waiting(alone: ModelShelf, together: ModelShelf):
    class Enough(Exception):
        pass

    def stop(step: int, _: Tensor) -> None:
        if step == 2:
            raise Enough

    plan = plan_of(sampling(3.0, 1.0))
    latents_of(together, plan)
    before = children()
    with pytest.raises(Enough):
        latents_of(together, plan, on_step=stop)
    torch.testing.assert_close(latents_of(together, plan), latents_of(alone, plan), rtol=1e-4, atol=1e-4)
    assert children() == before, "the same ones"


@pytest.mark.parametrize("tier", [Tier.EXPERT, Tier.STREAMED, Tier.LEAST])
def test_in_every_tier_they_are_the_same(settings: EngineSettings, alone: ModelShelf, lead: Lead, tier: Tier):
    plan = plan_of(sampling(3.0, 3.0))
    shelf = ModelShelf(settings.model_copy(update={"memory": tier.value}), DEVICE, torch.float32, lead)
    assert torch.equal(latents_of(shelf, plan), latents_of(alone, plan))
    assert shelf.tier is tier


def test_what_fails_in_the_leader_ends_its_followers_and_the_next_film_has_new_ones(
    settings: EngineSettings, alone: ModelShelf, lead: Lead
):
    plan = plan_of(sampling(1.0, 1.0))
    shelf = ModelShelf(settings, DEVICE, torch.float32, lead)
    shelf.load(plan)
    before = children()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    failing = shelf.load(plan).experts[LOW].get_submodule("blocks.1.ffn.0").register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        latents_of(shelf, plan)
    assert not before & children()
    failing.remove()
    torch.testing.assert_close(latents_of(shelf, plan), latents_of(alone, plan), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ("killed", TeamBroken, f"^The process that films along on {OTHER} was killed by signal 9.$"),
        ("broken", TeamBroken, f"^The process that films along on {OTHER} failed: Arithm.*: one and one are three.$"),
        ("gone", TeamBroken, f"^The process that films along on {OTHER} ended with code 3.$"),
        ("memory", torch.OutOfMemoryError, f"{OTHER}: no room for 1 GiB"),
    ],
)
def test_what_fails_in_a_follower_is_told_in_one_sentence(
    settings: EngineSettings, lead: Lead, how: str, error: type[Exception], said: str
):
    """In the middle of an evaluation, or of becoming a team, in which the leader waits for it."""
    lead.close()  # a process leads one team at a time
    with closing(Lead(settings, DEVICE, [OTHER], (sys.executable, str(FAILING), how))) as lead:
        shelf, before = ModelShelf(settings, DEVICE, torch.float32, lead), children()
        with pytest.raises(error, match=said):
            latents_of(shelf, plan_of(sampling(1.0, 1.0)))
        assert children() == before


def test_the_device_with_the_least_room_says_where_networks_are_kept(
    settings: EngineSettings, alone: ModelShelf, lead: Lead
):
    lead.close()
    tight = settings.model_copy(update={"memory_gib": 0.001})
    plan = plan_of(sampling())
    with closing(Lead(tight, DEVICE, [OTHER])) as lead:
        shelf = ModelShelf(settings, DEVICE, torch.float32, lead)
        assert torch.equal(latents_of(shelf, plan), latents_of(alone, plan))
        assert shelf.tier is Tier.STREAMED
    latents_of(alone, plan)
    assert alone.tier is Tier.RESIDENT


def test_a_follower_that_is_gone_between_two_films_is_replaced(alone: ModelShelf, together: ModelShelf):
    plan = plan_of(sampling())
    together.load(plan)
    for pid in children():
        os.kill(pid, signal.SIGKILL)
        assert ended(pid)
    assert torch.equal(latents_of(together, plan), latents_of(alone, plan))


def test_more_gpus_than_there_are_is_refused_with_a_sentence(settings: EngineSettings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("engine.device.is_nccl_available", lambda: True)
    two = settings.model_copy(update={"device": "cuda:1"})
    assert other_devices(two, torch.device("cuda:1")) == [torch.device("cuda:2")]
    with pytest.raises(UserError, match=r"^LONGTAKE_GPUS is 3, but there are 2 GPUs from cuda:1 on.$"):
        other_devices(two.model_copy(update={"gpus": 3}), torch.device("cuda:1"))


def test_more_processes_than_a_cpu_has_cores_are_refused_with_a_sentence(settings: EngineSettings):
    cpu, cores = torch.device("cpu"), max(2, os.cpu_count() or 1)
    assert other_devices(settings.model_copy(update={"gpus": cores}), cpu) == [cpu] * (cores - 1)
    with pytest.raises(UserError, match=rf"^LONGTAKE_GPUS is {cores + 1}, but .* on its CPU: {cores} at most.$"):
        other_devices(settings.model_copy(update={"gpus": cores + 1}), cpu)
