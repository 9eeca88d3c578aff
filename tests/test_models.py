"""From the files that people have to a film: the 14 B model's way, at toy size."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import dit_weights, put, vae_weights
from filming import PHOTO, draw, film_plan, window
from torch import Tensor

from engine.demo.untrained import byte_tokenizer
from engine.device import choose_dtype
from engine.dit import DiTConfig
from engine.kernels.rows import quantised
from engine.models import ModelShelf
from engine.pipeline import render
from engine.previews.taehv import TAEHV
from engine.settings import EngineSettings
from storage.footage import read_frames
from storage.schema import Expert, Lora, Plan, UserError

SIZES = DiTConfig(dim=128, ffn_dim=32, freq_dim=16, heads=1, layers=2, text_dim=16)
SVI = (Lora(name="svi-pro-high", strength="1;0"), Lora(name="svi-pro-low", strength="0;1"))


def lora(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"blocks.{block}.{layer}.lora_{side}.default.weight": torch.randn(*shape, generator=generator) / 4
        for block in range(SIZES.layers)
        for layer in ("self_attn.q", "cross_attn.o")
        for side, shape in (("A", (2, SIZES.dim)), ("B", (SIZES.dim, 2)))
    }


def umt5_weights(width: int) -> dict[str, Tensor]:
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    sizes = UMT5Config(vocab_size=258, d_model=width, d_kv=64, d_ff=32, num_layers=3, num_heads=1)
    weights = UMT5EncoderModel(sizes).state_dict()
    return {name: tensor.clone() for name, tensor in weights.items() if name != "encoder.embed_tokens.weight"}


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder as ComfyUI keeps it."""
    return as_comfyui(tmp_path_factory.mktemp("models"), SIZES)


def as_comfyui(folder: Path, sizes: DiTConfig) -> Path:
    for seed, noise in enumerate(("high", "low")):
        torch.manual_seed(seed)
        put(folder / f"diffusion_models/wan2.2_i2v_{noise}_noise_14B_fp16.safetensors", dit_weights(sizes))
        name = f"loras/SVI_v2_PRO_Wan2.2-I2V-A14B_{noise.upper()}_lora_rank_128_fp16.safetensors"
        put(folder / name, lora(seed))
    put(folder / "vae/wan_2.1_vae.safetensors", vae_weights())
    put(folder / "text_encoders/umt5_xxl_fp16.safetensors", umt5_weights(sizes.text_dim))
    byte_tokenizer().save(str(folder / "text_encoders/tokenizer.json"))
    return folder


def shelf_of(folder: Path) -> ModelShelf:
    settings = EngineSettings(models_dir=folder, data_dir=folder / "data", lora_dir=folder)
    return ModelShelf(settings, torch.device("cpu"), torch.float32)


def svi2pro(loras: tuple[Lora, ...] = SVI) -> Plan:
    return film_plan([window(1), window(2)]).model_copy(update={"model": "svi2pro", "loras": loras})


def test_the_files_that_people_have_become_a_film(comfyui: Path, tmp_path: Path):
    shelf = shelf_of(comfyui)
    draw(tmp_path / "out" / "media" / PHOTO, seed=1)
    rendering = render(svi2pro(), shelf.load(svi2pro()), tmp_path / "out")
    assert rendering.frames == len(list(read_frames(rendering.video))) == 157
    assert {name: text.rpartition(": ")[2] for name, text in shelf.ledgers.items()} == {
        "svi-pro-high": "8 keys applied to 4 modules",
        "svi-pro-low": "8 keys applied to 4 modules",
    }


def test_each_expert_gets_its_own_file_and_its_own_lora(comfyui: Path):
    shelf = shelf_of(comfyui)
    plain, styled = shelf.load(svi2pro(loras=())).experts, shelf.load(svi2pro()).experts
    changed = {
        expert: {
            name
            for name, weight in styled[expert].named_parameters()
            if not torch.equal(weight, plain[expert].get_parameter(name))
        }
        for expert in Expert
    }
    expected = {f"blocks.{b}.{layer}.weight" for b in (0, 1) for layer in ("self_attn.q", "cross_attn.o")}
    assert changed == dict.fromkeys(Expert, expected)


@pytest.mark.parametrize(("precision", "attention"), [("fp8", False), ("fp8-attention", True)])
def test_fp8_rounds_the_weights_that_the_loras_were_merged_into(tmp_path: Path, precision: str, attention: bool):
    folder = as_comfyui(tmp_path, replace(SIZES, layers=3))
    settings = EngineSettings(models_dir=folder, data_dir=folder / "data", lora_dir=folder, precision=precision)
    near = ModelShelf(settings, torch.device("cpu"), torch.bfloat16).load(svi2pro()).experts
    exact = settings.model_copy(update={"precision": "bfloat16"})
    wide = ModelShelf(exact, torch.device("cpu"), torch.bfloat16).load(svi2pro()).experts
    for expert in Expert:
        of_near, of_wide = near[expert].blocks[1].self_attn, wide[expert].blocks[1].self_attn
        assert torch.equal(of_near.q.weight.float(), quantised(of_wide.q.weight).values.float())
        assert (of_near.in_fp8, of_wide.in_fp8) == (attention, False)
    with pytest.raises(
        UserError, match=f"The precision {precision} needs a GPU of compute capability 8.9; this is cpu"
    ):
        choose_dtype(settings, torch.device("cpu"))


def test_a_set_that_is_not_complete_names_what_is_missing(comfyui: Path, tmp_path: Path):
    (tmp_path / "vae").symlink_to(comfyui / "vae")
    with pytest.raises(
        UserError, match=r"not complete\. Missing in .*: high-noise expert; low-noise expert; text encoder"
    ):
        shelf_of(tmp_path).load(svi2pro())
    with pytest.raises(UserError, match="The model other is not installed"):
        shelf_of(tmp_path).load(svi2pro().model_copy(update={"model": "other"}))


def test_what_shows_latents_is_taehv_where_its_file_is_sound_and_else_a_linear_map(
    comfyui: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A file that cannot be used is logged, and keeps no film from being filmed."""
    models = shutil.copytree(comfyui, tmp_path / "models")
    latents = torch.zeros(1, 16, 2, 3, 5)

    def shape() -> tuple[int, ...]:
        previewer = shelf_of(models).load(svi2pro()).previewer
        assert previewer is not None
        return previewer(latents).shape

    assert shape() == (2, 3, 5, 3)
    put(models / "vae_approx/taew2_1.safetensors", dict(TAEHV().state_dict()))
    assert shape() == (2, 24, 40, 3)
    assert not caplog.text
    put(models / "vae_approx/taew2_1.safetensors", {"decoder.1.weight": torch.zeros(1)})
    assert shape() == (2, 3, 5, 3)
    assert "does not fit the preview decoder" in caplog.text
