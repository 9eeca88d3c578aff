"""Which tier a machine gets, and that latents are the same in all of them."""

from pathlib import Path

import pytest
import torch
from checkpoint_files import put
from filming import film_plan, window
from test_models import SIZES, as_comfyui
from test_models import lora as lora_weights

from engine.denoise import denoise
from engine.dit import DiTConfig
from engine.folder import Handover
from engine.memory import Precision, Tier, needs, place
from engine.models import ModelShelf
from engine.settings import EngineSettings
from engine.vae import VAEConfig
from storage.schema import Lora, Plan, Size

GIB = 2**30
FREE = 0.85 * GIB  # of each GiB of a card
UMT5 = 11_400_000_000
LORAS = (
    Lora(name="svi-pro-high", strength="1;0"),
    Lora(name="svi-pro-low", strength="0;1"),
    Lora(name="style", strength="0.3,0.6,0.9"),  # varies while the second expert predicts
)


def plan_of(width: int, height: int) -> Plan:
    return film_plan([window(1)]).model_copy(update={"size": Size(width=width, height=height)})


@pytest.mark.parametrize(
    ("card_gib", "fp8", "tier", "text_on_device", "latents_per_call"),
    [
        (140, False, Tier.RESIDENT, True, 4),
        (140, True, Tier.RESIDENT, True, 4),
        (80, False, Tier.RESIDENT, False, 4),
        (80, True, Tier.RESIDENT, True, 4),
        (48, False, Tier.EXPERT, False, 4),
        (48, True, Tier.RESIDENT, False, 4),
        (24, False, Tier.STREAMED, False, 2),
        (16, True, Tier.STREAMED, False, 2),
        (12, False, Tier.STREAMED, False, 2),
    ],
)
def test_a_card_gets_the_largest_tier_that_fits(
    card_gib: int, fp8: bool, tier: Tier, text_on_device: bool, latents_per_call: int
):
    need = needs(plan_of(832, 480), DiTConfig(), VAEConfig(), UMT5, Precision(2, fp8=fp8), experts=2)
    got = place(need, int(card_gib * FREE))
    assert (got.tier, got.text_on_device, got.latents_per_call) == (tier, text_on_device, latents_per_call)


def test_the_numbers_of_the_14_b_model_are_those_that_are_known():
    need = needs(plan_of(832, 480), DiTConfig(), VAEConfig(), UMT5, Precision(2, fp8=False), experts=2)
    assert need.blocks + need.texts == pytest.approx(28.1e9, rel=0.01)
    assert need.decoding(4) == pytest.approx(7.2 * GIB, rel=0.01)
    assert need.decoding(10) == pytest.approx(14.2 * GIB, rel=0.01)


def test_a_larger_picture_leaves_less_room_for_the_networks():
    small, large = (
        needs(plan_of(*size), DiTConfig(), VAEConfig(), UMT5, Precision(2, fp8=False), experts=2)
        for size in ((832, 480), (1280, 720))
    )
    assert large.working > 1.9 * small.working
    tiers = [(place(small, room).tier.step, place(large, room).tier.step) for room in range(0, 120 * GIB, GIB)]
    assert all(of_small <= of_large for of_small, of_large in tiers)
    assert any(of_small < of_large for of_small, of_large in tiers)


def test_each_tier_has_a_smaller_one_but_the_last():
    tiers = [Tier.RESIDENT]
    while smaller := tiers[-1].smaller():
        tiers.append(smaller)
    assert tiers == [Tier.RESIDENT, Tier.EXPERT, Tier.STREAMED, Tier.LEAST]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = as_comfyui(tmp_path_factory.mktemp("models"), SIZES)
    put(folder / "style.safetensors", lora_weights(7))
    return folder


def test_latents_are_the_same_in_every_tier_also_where_loras_vary(folder: Path, tmp_path: Path):
    plan = film_plan([window(1)]).model_copy(update={"model": "svi2pro", "loras": LORAS})
    anchor = torch.randn(1, 16, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    latents = {}
    for tier in Tier:
        settings = EngineSettings(models_dir=folder, data_dir=tmp_path / tier, lora_dir=folder, memory=tier)
        shelf = ModelShelf(settings, torch.device("cpu"), torch.float32)
        models = shelf.load(plan)
        assert (shelf.tier, models.pool is None) == (tier, tier is Tier.RESIDENT)
        assert models.step_loras, "the style's strength varies"
        with torch.inference_mode():
            latents[tier] = denoise(plan.windows[0], Handover(anchor, None), plan.sampling, models, lambda *_: None)
    assert all(torch.equal(latents[tier], latents[Tier.RESIDENT]) for tier in Tier)


def test_after_too_little_memory_the_models_come_back_in_the_next_smaller_tier(folder: Path, tmp_path: Path):
    settings = EngineSettings(models_dir=folder, data_dir=tmp_path, lora_dir=folder)
    shelf = ModelShelf(settings, torch.device("cpu"), torch.float32)
    plan = film_plan([window(1)]).model_copy(update={"model": "svi2pro"})
    seen = []
    while True:
        models = shelf.load(plan)
        seen.append(shelf.tier)
        assert shelf.load(plan).experts == models.experts, "what is there is used again"
        if shelf.shrink() is None:
            break
    assert seen == list(Tier)
    assert shelf.load(plan).experts == models.experts, "nothing changes where there is no smaller tier"
