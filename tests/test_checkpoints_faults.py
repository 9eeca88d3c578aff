"""A file that is not whole, or not what it should be, is refused with the name of what is wrong in it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from checkpoint_files import (
    cast,
    dit_weights,
    eight_bits,
    is_matrix,
    json_bytes,
    prefixed,
    shards,
    text_weights,
    to_llama,
    vae_weights,
    write_gguf,
)
from oracles import dit_to_diffusers, vae_to_diffusers
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoints import Foreign, Kind, load_dit, load_text_weights, load_vae, open_checkpoint
from engine.checkpoints.sizes import TextConfig, config_from, shapes_of
from engine.dit import DiTConfig
from engine.text import from_official
from engine.vae import VAEConfig
from storage.schema import UserError

FP8 = torch.float8_e4m3fn
DIT = dit_weights(DiTConfig(dim=128, ffn_dim=32, freq_dim=16, heads=1, layers=2, text_dim=8))
VAE_WEIGHTS = vae_weights()
TEXT = text_weights()

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def refused(path: Path, *words: str, error: type[UserError] = UserError) -> None:
    """One sentence that names the file and the words."""
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert path.name in sentence
    for word in words:
        assert word in sentence


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path)
    return path


def without(weights: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    assert weights.keys() >= set(names)
    return {name: tensor for name, tensor in weights.items() if name not in names}


WRITTEN = [
    pytest.param(DIT, "native", id="dit"),
    pytest.param(prefixed(DIT, "model.diffusion_model."), "native", id="dit-prefix"),
    pytest.param(dit_to_diffusers(DIT), "diffusers", id="dit-diffusers"),
    pytest.param(VAE_WEIGHTS, "native", id="vae"),
    pytest.param(vae_to_diffusers(VAE_WEIGHTS), "diffusers", id="vae-diffusers"),
    pytest.param(TEXT, "native", id="text"),
    pytest.param(from_official(TEXT), "transformers", id="text-transformers"),
    pytest.param(to_llama(TEXT), "llama.cpp", id="text-llama"),
]


OFFICIAL_NAMES = {id(tensor): name for weights in (DIT, VAE_WEIGHTS, TEXT) for name, tensor in weights.items()}


@pytest.mark.parametrize(("weights", "naming"), WRITTEN)
def test_any_single_tensor_that_is_missing_is_named(tmp_path, weights, naming):
    assert open_checkpoint(saved(tmp_path / "whole.safetensors", weights)).format.startswith(naming)
    for name in [*weights][:: max(1, len(weights) // 12)]:
        path = saved(tmp_path / "cut.safetensors", without(weights, name))
        refused(path, "missing", OFFICIAL_NAMES[id(weights[name])])


@pytest.mark.parametrize(("weights", "naming"), WRITTEN)
def test_one_surplus_tensor_is_named_as_in_the_file(tmp_path, weights, naming):
    prefix = "model.diffusion_model." if next(iter(weights)).startswith("model.") else ""
    for number, name in enumerate([f"{prefix}surplus.one", f"{[*weights][5]}.more"]):
        refused(saved(tmp_path / f"{number}.safetensors", weights | {name: torch.zeros(3)}), f"1 surplus: {name}.")


@pytest.mark.parametrize("name", ["blocks.1.ffn.2.bias", "blocks.0.modulation", "blocks.1.cross_attn.norm_k.weight"])
def test_misshapen_tensor_is_named_with_both_shapes(tmp_path, name):
    wrong = torch.zeros(*DIT[name].shape[:-1], DIT[name].shape[-1] + 1)
    path = saved(tmp_path / "a.safetensors", DIT | {name: wrong})
    refused(path, f"misshapen: {name}", str(list(wrong.shape)), str(list(DIT[name].shape)))


def test_more_faults_than_fit_a_sentence_are_counted(tmp_path):
    names = [f"blocks.0.self_attn.{name}.bias" for name in "qkvo"]
    path = saved(tmp_path / "a.safetensors", without(DIT, *names) | {"x": torch.zeros(1)})
    refused(path, "4 missing: " + ", ".join(names[:3]) + ", ...", "1 surplus: x")


def test_full_size_without_its_last_block_is_not_a_smaller_network():
    for kind, config, last in ((Kind.DIT, DiTConfig(), 39), (Kind.T5, TextConfig(), 23)):
        shapes = {n: s for n, s in shapes_of(config).items() if not n.startswith(f"blocks.{last}.")}
        with pytest.raises(UserError, match=rf"wan is not complete: blocks\.{last} is missing, {last + 1} blocks"):
            config_from(kind, "wan", shapes, {})


def test_folder_without_its_last_block_is_not_a_smaller_network(tmp_path):
    cut = {name: tensor for name, tensor in DIT.items() if not name.startswith("blocks.1.")}
    folder = shards(tmp_path / "model", cut, "model")
    (folder / "config.json").write_text(json.dumps({"num_layers": 2, "num_heads": 1}))
    refused(folder, "blocks.1 is missing")


# ---- files that were cut short, or are something else ----------------------------------------------------------------


@pytest.mark.parametrize("container", ["safetensors", "pth", "gguf"])
def test_file_cut_short_anywhere_is_refused(tmp_path, container):
    path = tmp_path / f"whole.{container}"
    if container == "safetensors":
        save_file(DIT, path)
    elif container == "pth":
        torch.save(DIT, path)
    else:
        write_gguf(path, DIT, lambda *_: gguf.GGMLQuantizationType.F32, "wan")
    whole = path.read_bytes()
    assert open_checkpoint(path).kind is Kind.DIT
    for length in (0, 3, 8, 9, 60, 700, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\n", b"hi"])
def test_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "wan.safetensors").write_bytes(content)
    refused(tmp_path / "wan.safetensors", "not a checkpoint")


def test_nothing_is_refused_with_its_path(tmp_path):
    with pytest.raises(UserError, match=r"There is no .*gone\.safetensors\."):
        open_checkpoint(tmp_path / "gone.safetensors")


class Harmful:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (os.environ["LONGTAKE_TEST_TRAP"],)


def test_pth_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_TEST_TRAP", str(tmp_path / "trapped"))
    torch.save(DIT | {"x": Harmful()}, tmp_path / "wan.pth")
    refused(tmp_path / "wan.pth", "refused", "more than tensors")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("content", [{"state_dict": DIT}, {"a": 1}, [torch.zeros(1)]])
def test_pth_without_a_plain_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "wan.pth")
    refused(tmp_path / "wan.pth", "no plain dictionary of tensors")


def test_stranger_is_foreign(tmp_path):
    lora = {"diffusion_model.blocks.0.self_attn.q.lora_down.weight": torch.zeros(2, 2)}
    refused(saved(tmp_path / "l.safetensors", lora), "is a LoRA", error=Foreign)
    refused(saved(tmp_path / "s.safetensors", {"model.input.weight": torch.zeros(1)}), "no checkpoint", error=Foreign)
    plain_t5 = {n: t for n, t in from_official(TEXT).items() if "relative" not in n or "block.0." in n}
    refused(saved(tmp_path / "t5xxl.safetensors", plain_t5), "no checkpoint", error=Foreign)


def test_network_of_another_kind_is_refused(tmp_path):
    dit, vae, text = (
        saved(tmp_path / f"{name}.safetensors", tensors)
        for name, tensors in (("dit", DIT), ("vae", VAE_WEIGHTS), ("text", TEXT))
    )
    with pytest.raises(UserError, match=r"vae\.safetensors is a VAE of Wan, not a transformer of Wan\."):
        load_dit(vae)
    with pytest.raises(UserError, match=r"text\.safetensors is a UMT5 text encoder, not a VAE of Wan\."):
        load_vae(text)
    with pytest.raises(UserError, match=r"dit\.safetensors is a transformer of Wan, not a UMT5 text encoder\."):
        load_text_weights(dit)


def test_text_to_video_model_is_refused(tmp_path):
    sizes = DiTConfig(dim=128, ffn_dim=32, freq_dim=16, heads=1, layers=2, text_dim=8, in_dim=16)
    path = saved(tmp_path / "t2v.safetensors", dit_weights(sizes))
    with pytest.raises(Foreign, match=r"t2v\.safetensors is no image-to-video model: it reads 16 channels, not 36\."):
        load_dit(path)


# ---- shards ----------------------------------------------------------------------------------------------------------


def test_lost_shard_is_named(tmp_path):
    folder = shards(tmp_path / "model", DIT, "model")
    (folder / "model-00002-of-00003.safetensors").unlink()
    refused(folder, "lacks the shard model-00002-of-00003.safetensors")


def test_shards_that_their_index_does_not_describe_are_refused(tmp_path):
    folder = shards(tmp_path / "model", DIT, "model")
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    del content["weight_map"]["head.head.bias"]
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"head\.head\.bias"):
        open_checkpoint(folder)
    index.write_text("[]")
    with pytest.raises(UserError, match="does not say which shard"):
        open_checkpoint(folder)


def test_tensor_in_two_shards_is_named(tmp_path):
    folder = shards(tmp_path / "model", DIT, "model")
    names = list(DIT)
    save_file({n: DIT[n] for n in [*names[1::3], names[0]]}, folder / "model-00002-of-00003.safetensors")
    with pytest.raises(UserError, match=rf"{names[0]}, which another shard holds too"):
        open_checkpoint(folder)


def test_folder_must_hold_one_checkpoint(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no checkpoint")
    save_file(DIT, tmp_path / "a.safetensors")
    save_file(DIT, tmp_path / "b.safetensors")
    refused(tmp_path, "a.safetensors, b.safetensors")


# ---- quantised weights -----------------------------------------------------------------------------------------------


def scaled(**more: Tensor) -> dict[str, Tensor]:
    stored, scales, _ = eight_bits(DIT, FP8)
    stored |= {f"{layer}.weight_scale": scale for layer, scale in scales.items()}
    return stored | {name.replace("__", "."): tensor for name, tensor in more.items()}


LAYER = "blocks.0.ffn.0"


def test_weight_without_its_scale_is_named(tmp_path):
    refused(saved(tmp_path / "a.safetensors", without(scaled(), f"{LAYER}.weight_scale")), f"scale of {LAYER}.weight")
    stored, _, _ = eight_bits(DIT, FP8)
    marked = stored | {"scaled_fp8": torch.zeros(0, dtype=FP8)}
    refused(saved(tmp_path / "b.safetensors", marked), "the scale of", "is missing")
    integers, _, _ = eight_bits(DIT, torch.int8)
    refused(saved(tmp_path / "c.safetensors", integers), "the scale of", "is missing")


def test_scale_without_its_weight_is_named(tmp_path):
    refused(saved(tmp_path / "a.safetensors", scaled() | {"gone.weight_scale": torch.ones(1)}), "gone.weight_scale")
    twice = scaled() | {f"{LAYER}.scale_weight": torch.ones(1)}
    refused(saved(tmp_path / "b.safetensors", twice), f"two scales for {LAYER}.weight")


@pytest.mark.parametrize("shape", [(31,), (32, 4), (1, 32), (1, 128)])
def test_scale_of_another_shape_is_named(tmp_path, shape):
    path = saved(tmp_path / "a.safetensors", scaled() | {f"{LAYER}.weight_scale": torch.ones(shape)})
    refused(path, f"{LAYER}.weight_scale", str(list(shape)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "nvfp4"}, "nvfp4"),
        ({"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 256}, "int8_tensorwise with convrot"),
    ],
)
def test_quantisation_that_cannot_be_read_is_named(tmp_path, settings, words):
    in_tensor = scaled() | {f"{LAYER}.comfy_quant": json_bytes(settings)}
    refused(saved(tmp_path / "a.safetensors", in_tensor), f"{LAYER}.weight", words)
    metadata = {"_quantization_metadata": json.dumps({"layers": {LAYER: settings}})}
    save_file(scaled(), tmp_path / "b.safetensors", metadata)
    refused(tmp_path / "b.safetensors", f"{LAYER}.weight", words)


def test_type_that_cannot_be_read_is_named(tmp_path):
    packed = cast(DIT, torch.bfloat16) | {f"{LAYER}.weight": torch.zeros(32, 128, dtype=torch.uint8)}
    refused(saved(tmp_path / "a.safetensors", packed), f"{LAYER}.weight is stored as uint8")
    refused(saved(tmp_path / "b.safetensors", packed | {f"{LAYER}.weight": torch.zeros(32, 128).long()}), "I64")


def test_gguf_without_its_five_dimensional_tensor_is_refused(tmp_path):
    """As converters leave it before the last of their steps."""
    path = tmp_path / "wan.gguf"
    write_gguf(path, without(DIT, "patch_embedding.weight"), lambda *_: gguf.GGMLQuantizationType.F32, "wan")
    refused(path, "patch_embedding.weight is missing")


def test_vae_of_another_model_is_refused(tmp_path):
    """Wan2.2's 5 B model has a VAE of its own, with 48 channels."""
    other = VAE_WEIGHTS | {"conv2.weight": torch.zeros(48, 48, 1, 1, 1)}
    refused(saved(tmp_path / "wan2.2_vae.safetensors", other), "48 latent channels, not 16")
    assert VAEConfig().z_dim == 16


def test_matrices_alone_are_quantised():
    """What the writers of the tests call a matrix are ten for each block."""
    assert sum(is_matrix(name, tensor) for name, tensor in DIT.items()) == 2 * 10
