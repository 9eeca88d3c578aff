"""Every way in which people have the weights gives the same network: the file is written here and read back."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from checkpoint_files import (
    DIT_CONFIG,
    VAE_CONFIG,
    cast,
    dit_weights,
    eight_bits,
    gguf_means,
    is_matrix,
    json_bytes,
    prefixed,
    shards,
    text_weights,
    to_llama,
    vae_weights,
    write_gguf,
    write_gguf_blocks,
)
from oracles import dit_to_diffusers, vae_to_diffusers
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoints import Kind, load_dit, load_text_weights, load_vae, open_checkpoint
from engine.checkpoints.files import open_tensors
from engine.checkpoints.sizes import TextConfig, config_from, shapes_of
from engine.dit import DiT, DiTConfig
from engine.text import from_official
from engine.vae import VAE, VAEConfig

FP8 = torch.float8_e4m3fn
ROOT = Path(__file__).parents[1]
DIT = dit_weights()
VAE_WEIGHTS = vae_weights()
TEXT = text_weights()
HF_TEXT = from_official(TEXT)


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same names and, in float32, bit by bit the same numbers."""
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].is_floating_point(), name
        assert torch.equal(got[name].float(), tensor.float()), name


def assert_loads_dit(path: Path, expected: dict[str, Tensor], words: str, config: DiTConfig = DIT_CONFIG) -> None:
    """The checkpoint says what it is, streams what is expected, and loads it in the precision of the network."""
    checkpoint = open_checkpoint(path)
    assert (checkpoint.kind, checkpoint.format, checkpoint.config) == (Kind.DIT, words, config)
    assert_same(dict(checkpoint.tensors()), expected)
    network = load_dit(path, dtype=torch.bfloat16)
    dtypes = {name: parameter.dtype for name, parameter in DiT(config).to_precision(torch.bfloat16).named_parameters()}
    assert_same(dict(network.named_parameters()), {name: t.to(dtypes[name]) for name, t in expected.items()})
    assert {name: parameter.dtype for name, parameter in network.named_parameters()} == dtypes
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in network.parameters())


# ---- the transformer ------------------------------------------------------------------------------------------------


def test_official_shards(tmp_path):
    folder = shards(tmp_path / "high_noise_model", DIT, "diffusion_pytorch_model")
    (folder / "config.json").write_text(json.dumps({"num_heads": 2, "num_layers": 2, "eps": 1e-6, "text_len": 512}))
    assert_loads_dit(folder, DIT, "native safetensors, fp32")


@pytest.mark.parametrize("heads", ["num_heads", "num_attention_heads"])
def test_config_beside_the_weights_says_what_shapes_cannot(tmp_path, heads):
    config = DiTConfig(dim=60, ffn_dim=32, freq_dim=16, heads=5, layers=1, text_dim=8, text_len=32, eps=1e-5)
    weights = dit_weights(config)
    folder = shards(tmp_path / "model", weights, "diffusion_pytorch_model", count=1)
    (folder / "config.json").write_text(json.dumps({heads: 5, "num_layers": 1, "eps": 1e-5, "text_len": 32}))
    assert_loads_dit(folder, weights, "native safetensors, fp32", config)


@pytest.mark.parametrize("shard_size", ["3MB", "1GB"])
def test_diffusers_folder(tmp_path, shard_size):
    """Written by diffusers itself, in shards and as one file."""
    from diffusers import WanTransformer3DModel

    theirs = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=128, in_channels=36, out_channels=16, text_dim=64, freq_dim=32,
        ffn_dim=512, num_layers=2,
    )  # fmt: skip
    theirs.load_state_dict(dit_to_diffusers(DIT), strict=True)
    theirs.save_pretrained(tmp_path / "transformer", max_shard_size=shard_size)
    assert (len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1) is (shard_size == "3MB")
    assert_loads_dit(tmp_path / "transformer", DIT, "diffusers safetensors, fp32")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "model.", "diffusion_model."])
def test_comfyui_single_file(tmp_path, prefix, dtype):
    path = tmp_path / "wan.safetensors"
    save_file(prefixed(cast(DIT, dtype), prefix), path)
    words = {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    assert_loads_dit(path, cast(DIT, dtype), f"native safetensors, {words}")


def test_any_length_of_the_header_is_that_of_a_safetensors_file(tmp_path):
    """The file begins with it, so that its first byte may be that of another format."""
    lengths = set()
    for padding in range(0, 256, 8):
        path = tmp_path / f"{padding}.safetensors"
        save_file({"a": torch.zeros(1)}, path, {"padding": "x" * padding})
        lengths.add(path.read_bytes()[0])
        assert open_tensors(path).container == "safetensors"
    assert lengths == set(range(0, 256, 8))


@pytest.mark.parametrize("scale_shape", [(), (1,)])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_old_fp8_scaled(tmp_path, prefix, scale_shape):
    """ComfyUI's and Kijai's: scale_weight, a marker, and scales of activations, which are of no use here."""
    stored, scales, meant = eight_bits(DIT, FP8)
    stored |= {f"{layer}.scale_weight": scale.view(scale_shape) for layer, scale in scales.items()}
    stored |= {f"{layer}.scale_input": torch.tensor(0.25) for layer in scales}
    stored["scaled_fp8"] = torch.zeros(2, dtype=FP8)
    save_file(prefixed(stored, prefix), tmp_path / "wan.safetensors")
    assert_loads_dit(tmp_path / "wan.safetensors", meant, "native safetensors, fp8_e4m3fn scaled")
    assert open_checkpoint(tmp_path / "wan.safetensors").quantised


@pytest.mark.parametrize("where", ["tensors", "header"])
@pytest.mark.parametrize(("dtype", "word"), [(FP8, "float8_e4m3fn"), (torch.float8_e5m2, "float8_e5m2")])
def test_new_fp8_scaled(tmp_path, where, dtype, word):
    """ComfyUI's weight_scale, with the format as JSON in a tensor of each layer, or in the header for all of them."""
    stored, scales, meant = eight_bits(DIT, dtype)
    stored |= {f"{layer}.weight_scale": scale for layer, scale in scales.items()}
    settings = {"format": word, "full_precision_matrix_mult": True}
    metadata = {"format": "pt"}
    if where == "tensors":
        stored |= {f"{layer}.comfy_quant": json_bytes(settings) for layer in scales}
        stored |= {f"{layer}.input_scale": torch.tensor(1.0) for layer in scales}
    else:
        metadata["_quantization_metadata"] = json.dumps({"layers": dict.fromkeys(scales, settings)})
    save_file(stored, tmp_path / "wan.safetensors", metadata)
    assert_loads_dit(tmp_path / "wan.safetensors", meant, f"native safetensors, {word.replace('float', 'fp')} scaled")


def test_plain_fp8(tmp_path):
    """Kijai's fp8_e4m3fn files: the weights were cast, there are no scales."""
    stored = {name: tensor.to(FP8) if is_matrix(name, tensor) else tensor for name, tensor in DIT.items()}
    save_file(stored, tmp_path / "wan.safetensors")
    assert_loads_dit(tmp_path / "wan.safetensors", stored, "native safetensors, fp8_e4m3fn")


@pytest.mark.parametrize(("dtype", "word"), [(FP8, "fp8_e4m3fn"), (torch.int8, "int8")])
def test_lightx2v_has_a_scale_for_each_output_channel(tmp_path, dtype, word):
    stored, scales, meant = eight_bits(DIT, dtype, per_row=True, rest=torch.bfloat16)
    assert {scale.shape[1] for scale in scales.values()} == {1}
    stored |= {f"{layer}.weight_scale": scale for layer, scale in scales.items()}
    save_file(stored, tmp_path / "wan.safetensors")
    assert_loads_dit(tmp_path / "wan.safetensors", meant, f"native safetensors, {word} scaled")


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("kind", ["Q8_0", "Q5_1", "Q4_0", "BF16", "F16"])
def test_gguf(tmp_path, kind, prefix):
    """Matrices of the blocks quantised, vectors and the five-dimensional patch embedding in float32, as in city96's."""
    types = {name: gguf.GGMLQuantizationType[kind if is_matrix(name, t) else "F32"] for name, t in DIT.items()}
    path = write_gguf(tmp_path / "a.gguf", prefixed(DIT, prefix), lambda n, _: types[n.removeprefix(prefix)], "wan")
    expected = {name: gguf_means(tensor, types[name]) for name, tensor in DIT.items()}
    word = {"BF16": "bf16", "F16": "fp16"}.get(kind, kind)
    assert_loads_dit(path, expected, f"native gguf, {word}")
    assert open_checkpoint(path).quantised is kind.startswith("Q")


def test_gguf_k_quants(tmp_path):
    """Blocks of random bytes mean what the format's formulas say."""
    random = np.random.default_rng(4)
    rows, names = 256, ["blocks.0.self_attn.q.weight", "blocks.1.cross_attn.o.weight"]
    q4 = random.integers(0, 256, (rows, 144), dtype=np.uint8)
    q6 = random.integers(0, 256, (rows, 210), dtype=np.uint8)
    q4[:, :4] = (random.random((rows, 2)) / 64).astype(np.float16).view(np.uint8)
    q6[:, 208:] = (random.random((rows, 1)) / 64).astype(np.float16).view(np.uint8)
    path = write_gguf_blocks(tmp_path / "a.gguf", DIT, {names[0]: (q4, "Q4_K"), names[1]: (q6, "Q6_K")})
    meant = {names[0]: torch.from_numpy(np.stack([q4_k(row) for row in q4]))}
    meant |= {names[1]: torch.from_numpy(np.stack([q6_k(row) for row in q6]))}
    got = dict(open_checkpoint(path).tensors())
    assert_same(
        {name: t for name, t in got.items() if name not in meant}, {k: v for k, v in DIT.items() if k not in meant}
    )
    for name, tensor in meant.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-6, atol=1e-6)


def q4_k(block: np.ndarray) -> np.ndarray:
    """d, dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles -> 256 numbers d * scale * q - dmin * min."""
    d, smallest = block[:4].view(np.float16).astype(np.float32)
    b = block[4:16].astype(int)
    scales = [*(b[:4] & 63), *((b[8:12] & 15) | ((b[:4] >> 2) & 48))]
    minima = [*(b[4:8] & 63), *((b[8:12] >> 4) | ((b[4:8] >> 2) & 48))]
    out = []
    for group in range(8):
        nibbles = block[16 + 32 * (group // 2) :][:32] >> (4 * (group % 2)) & 15
        out.append(d * scales[group] * nibbles - smallest * minima[group])
    return np.concatenate(out).astype(np.float32)


def q6_k(block: np.ndarray) -> np.ndarray:
    """128 low nibbles' bytes, 64 bytes of high pairs, 16 signed scales, d -> 256 numbers d * scale * (q - 32)."""
    low, high, scales = block[:128], block[128:192], block[192:208].view(np.int8)
    d = block[208:].view(np.float16).astype(np.float32)[0]
    out = np.empty(256, np.float32)
    for i in range(256):
        half, quarter, j = i // 128, i // 32 % 4, i % 32
        four = low[64 * half + j + 32 * (quarter % 2)] >> (4 * (quarter // 2)) & 15
        two = high[32 * half + j] >> (2 * quarter) & 3
        out[i] = d * scales[i // 16] * (int(four | two << 4) - 32)
    return out


def test_pth_of_a_transformer(tmp_path):
    torch.save(DIT, tmp_path / "wan.pth")
    assert_loads_dit(tmp_path / "wan.pth", DIT, "native pth, fp32")


# ---- the VAE --------------------------------------------------------------------------------------------------------


def assert_loads_vae(path: Path, expected: dict[str, Tensor], words: str) -> None:
    checkpoint = open_checkpoint(path)
    assert (checkpoint.kind, checkpoint.format, checkpoint.config) == (Kind.VAE, words, VAE_CONFIG)
    assert_same(dict(checkpoint.tensors()), expected)
    for dtype in (torch.float32, torch.bfloat16):
        assert_same(dict(load_vae(path, dtype=dtype).named_parameters()), cast(expected, dtype))


@pytest.mark.parametrize("zipped", [True, False])
def test_vae_as_pth(tmp_path, zipped):
    torch.save(VAE_WEIGHTS, tmp_path / "Wan2.1_VAE.pth", _use_new_zipfile_serialization=zipped)
    assert_loads_vae(tmp_path / "Wan2.1_VAE.pth", VAE_WEIGHTS, "native pth, fp32")


@pytest.mark.parametrize("prefix", ["", "model."])
def test_vae_as_safetensors(tmp_path, prefix):
    save_file(prefixed(cast(VAE_WEIGHTS, torch.bfloat16), prefix), tmp_path / "vae.safetensors")
    assert_loads_vae(tmp_path / "vae.safetensors", cast(VAE_WEIGHTS, torch.bfloat16), "native safetensors, bf16")


def test_vae_of_a_diffusers_folder(tmp_path):
    from diffusers import AutoencoderKLWan

    theirs = AutoencoderKLWan(base_dim=8)
    theirs.load_state_dict(vae_to_diffusers(VAE_WEIGHTS), strict=True)
    theirs.save_pretrained(tmp_path / "vae")
    assert_loads_vae(tmp_path / "vae", VAE_WEIGHTS, "diffusers safetensors, fp32")


# ---- the text encoder -----------------------------------------------------------------------------------------------


def assert_loads_text(path: Path, expected: dict[str, Tensor], words: str) -> None:
    """The streamed tensors have official names; the loaded ones fit transformers' own network, built from the sizes."""
    from transformers import UMT5Config, UMT5EncoderModel

    checkpoint = open_checkpoint(path)
    assert (checkpoint.kind, checkpoint.format) == (Kind.T5, words)
    assert_same(dict(checkpoint.tensors()), expected)
    assert isinstance(checkpoint.config, TextConfig)
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_text_weights(path, dtype=dtype)
        assert {tensor.dtype for tensor in loaded.values()} == {dtype}
        assert_same(loaded, from_official(cast(expected, dtype)))
    with torch.device("meta"):
        network = UMT5EncoderModel(UMT5Config(**asdict(checkpoint.config)))
    assert {name: tensor.shape for name, tensor in network.named_parameters()} == {
        name: tensor.shape for name, tensor in loaded.items()
    }


def test_official_text_encoder(tmp_path):
    torch.save(cast(TEXT, torch.bfloat16), tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    save_file(TEXT, tmp_path / "umt5-xxl-enc.safetensors")
    path = tmp_path / "models_t5_umt5-xxl-enc-bf16.pth"
    assert_loads_text(path, cast(TEXT, torch.bfloat16), "native pth, bf16")
    assert_loads_text(tmp_path / "umt5-xxl-enc.safetensors", TEXT, "native safetensors, fp32")


@pytest.mark.parametrize("embedding", ["shared", "embed_tokens", "both"])
def test_text_encoder_of_a_diffusers_folder(tmp_path, embedding):
    weights = dict(HF_TEXT)
    if embedding != "shared":
        weights["encoder.embed_tokens.weight"] = weights["shared.weight"].clone()
    if embedding == "embed_tokens":
        del weights["shared.weight"]
    assert_loads_text(shards(tmp_path / "text_encoder", weights, "model"), TEXT, "transformers safetensors, fp32")


def test_text_encoder_that_transformers_wrote(tmp_path):
    from transformers import UMT5Config, UMT5EncoderModel

    save_file(TEXT, tmp_path / "a.safetensors")
    config = open_checkpoint(tmp_path / "a.safetensors").config
    assert isinstance(config, TextConfig)
    network = UMT5EncoderModel(UMT5Config(**asdict(config) | {"relative_attention_max_distance": 20}))
    network.load_state_dict({**HF_TEXT, "encoder.embed_tokens.weight": HF_TEXT["shared.weight"]}, strict=True)
    network.save_pretrained(tmp_path / "text_encoder")
    assert_loads_text(tmp_path / "text_encoder", TEXT, "transformers safetensors, fp32")
    there = open_checkpoint(tmp_path / "text_encoder").config
    assert isinstance(there, TextConfig)
    assert there.relative_attention_max_distance == 20


def test_comfyui_text_encoder(tmp_path):
    """With the tokenizer that ComfyUI keeps among the weights."""
    stored = cast(HF_TEXT, torch.float16) | {"spiece_model": torch.arange(9, dtype=torch.uint8)}
    save_file(stored, tmp_path / "umt5_xxl_fp16.safetensors")
    path = tmp_path / "umt5_xxl_fp16.safetensors"
    assert_loads_text(path, cast(TEXT, torch.float16), "transformers safetensors, fp16")


def test_comfyui_text_encoder_in_scaled_fp8(tmp_path):
    _, scales, meant = eight_bits(TEXT, FP8)
    stored = from_official({n: (t / scales[n[:-7]]).to(FP8) if n[:-7] in scales else t.half() for n, t in TEXT.items()})
    hf_layer = {name: from_official({f"{name}.weight": scale}).popitem()[0][:-7] for name, scale in scales.items()}
    stored |= {f"{hf_layer[name]}.scale_weight": scale for name, scale in scales.items()}
    stored |= {"spiece_model": torch.arange(9, dtype=torch.uint8), "scaled_fp8": torch.zeros(0, dtype=FP8)}
    save_file(stored, tmp_path / "umt5.safetensors")
    assert_loads_text(tmp_path / "umt5.safetensors", meant, "transformers safetensors, fp8_e4m3fn scaled")


@pytest.mark.parametrize("kind", ["Q8_0", "F16"])
def test_gguf_text_encoder(tmp_path, kind):
    types = {n: gguf.GGMLQuantizationType["F32" if t.ndim == 1 or "pos" in n else kind] for n, t in TEXT.items()}
    llama_types = dict(zip(to_llama(TEXT), types.values(), strict=True))
    path = write_gguf(tmp_path / "umt5.gguf", to_llama(TEXT), lambda name, _: llama_types[name], "t5encoder")
    expected = {name: gguf_means(tensor, types[name]) for name, tensor in TEXT.items()}
    assert_loads_text(path, expected, f"llama.cpp gguf, {'fp16' if kind == 'F16' else kind}")


# ---- sizes and memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config", "tensors", "numbers"),
    [
        (Kind.DIT, DiTConfig(), 1095, 14_288_901_184),
        (Kind.VAE, VAEConfig(), 194, 126_892_531),
        (Kind.T5, TextConfig(), 242, 5_680_910_336),
    ],
)
def test_full_size_is_recognised_by_its_shapes(kind, config, tensors, numbers):
    shapes = shapes_of(config)
    assert len(shapes) == tensors
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == numbers
    assert config_from(kind, "wan.safetensors", shapes, {}) == config


@pytest.mark.parametrize(
    "config",
    [
        VAEConfig(base_dim=24),
        VAEConfig(base_dim=4, res_blocks=1),
        VAEConfig(base_dim=4, dim_mult=(1, 2), temporal_downsample=(True,)),
        VAEConfig(base_dim=4, res_blocks=3, dim_mult=(1, 3, 3), temporal_downsample=(True, False)),
    ],
)
def test_vae_of_any_size_is_recognised_by_its_shapes(config):
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in VAE(config).state_dict().items()}
    assert config_from(Kind.VAE, "vae.safetensors", shapes, {}) == config


LARGE = DiTConfig(dim=1024, ffn_dim=1024, freq_dim=32, heads=8, layers=4, text_dim=64)
MIB = 2**20


LOAD = """
import sys
from pathlib import Path
from engine.checkpoints import load_dit

def peak_mib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

load_dit(Path(sys.argv[1]))  # a small one: torch itself takes memory for what it does for the first time
before = peak_mib()
load_dit(Path(sys.argv[2]))
print(peak_mib() - before)
"""


def test_network_is_never_twice_in_memory(tmp_path):
    """The peak is the file, which is mapped, the network in the types that it runs in, and a tensor or two."""
    weights = {name: torch.ones(shape) for name, shape in shapes_of(LARGE).items()}
    stored, scales, _ = eight_bits(weights, FP8)
    stored |= {f"{layer}.scale_weight": scale for layer, scale in scales.items()}
    path = tmp_path / "wan.safetensors"
    save_file(stored, path)
    dtypes = {name: p.dtype for name, p in DiT(LARGE).to_precision(torch.bfloat16).named_parameters()}
    loaded = sum(tensor.numel() * dtypes[name].itemsize for name, tensor in weights.items()) // MIB
    in_float32 = sum(tensor.numel() * 4 for tensor in weights.values()) // MIB
    save_file(DIT, tmp_path / "small.safetensors")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small.safetensors"), str(path)]
    steady = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back, and not kept for later
    done = subprocess.run(command, cwd=ROOT, env=steady, check=True, capture_output=True)
    held_twice = path.stat().st_size // MIB + loaded + in_float32
    assert int(done.stdout) < held_twice - 90


@pytest.mark.parametrize("container", ["safetensors", "pth", "gguf"])
def test_weights_of_the_right_type_stay_in_the_file(tmp_path, container):
    """They lie in its memory map, so that they cost no memory of their own."""
    path = tmp_path / f"wan.{container}"
    if container == "safetensors":
        save_file(DIT, path)
    elif container == "pth":
        torch.save(DIT, path)
    else:
        write_gguf(path, DIT, lambda *_: gguf.GGMLQuantizationType.F32, "wan")
    network = load_dit(path, dtype=torch.float32)
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    maps = [range(*(int(number, 16) for number in line.split()[0].split("-"))) for line in lines]
    assert all(any(parameter.data_ptr() in held for held in maps) for parameter in network.parameters())
