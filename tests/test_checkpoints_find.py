"""What of the set is found in a folder as people have it, which of several files is taken, what is told of the rest."""

import json
from pathlib import Path

import pytest
import torch
from checkpoint_files import cast, dit_weights, eight_bits, put, shards, text_weights, vae_weights
from oracles import dit_to_diffusers, vae_to_diffusers

from engine.checkpoints import Part, find_models, load_dit
from engine.checkpoints.find import expert_of
from engine.dit import DiTConfig
from engine.text import from_official
from storage.schema import Expert, UserError

SIZES = DiTConfig(dim=128, ffn_dim=32, freq_dim=16, heads=1, layers=2, text_dim=8)
DIT = dit_weights(SIZES)
FP8 = eight_bits(DIT, torch.float8_e4m3fn)
DIT_FP8 = FP8[0] | {f"{layer}.scale_weight": scale for layer, scale in FP8[1].items()}
VAE = vae_weights()
TEXT = from_official(text_weights())
LORA = {"blocks.0.self_attn.q.lora_A.default.weight": torch.zeros(1, 128)}
TAE = {"decoder.1.weight": torch.zeros(1)}
NEEDED = {Part.HIGH_NOISE, Part.LOW_NOISE, Part.VAE, Part.TEXT_ENCODER, Part.TOKENIZER, Part.SVI_HIGH, Part.SVI_LOW}


def put_tokenizer(path: Path, tokens: int = 20, end: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [f"w{number}" for number in range(tokens)]
    words[end] = "</s>"
    added = [{"id": end, "content": "</s>"}, {"id": tokens, "content": "<extra_id_0>"}]
    vocabulary = [[word, 0.0] for word in words]
    path.write_text(json.dumps({"model": {"type": "Unigram", "vocab": vocabulary}, "added_tokens": added}))
    return path


def paths(root: Path) -> dict[Part, str]:
    return {part: str(piece.path.relative_to(root)) for part, piece in find_models(root).pieces.items()}


def test_comfyui_layout(tmp_path):
    names = {
        Part.HIGH_NOISE: "diffusion_models/wan2.2_i2v_high_noise_14B_fp16.safetensors",
        Part.LOW_NOISE: "diffusion_models/wan2.2_i2v_low_noise_14B_fp16.safetensors",
        Part.VAE: "vae/wan_2.1_vae.safetensors",
        Part.TEXT_ENCODER: "text_encoders/umt5_xxl_fp16.safetensors",
        Part.TOKENIZER: "text_encoders/tokenizer.json",
        Part.SVI_HIGH: "loras/SVI_v2_PRO_Wan2.2-I2V-A14B_HIGH_lora_rank_128_fp16.safetensors",
        Part.SVI_LOW: "loras/SVI_v2_PRO_Wan2.2-I2V-A14B_LOW_lora_rank_128_fp16.safetensors",
        Part.LIGHTNING_HIGH: "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
        Part.LIGHTNING_LOW: "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
        Part.PREVIEW: "vae_approx/taew2_1.safetensors",
    }
    contents = [DIT, DIT, VAE, TEXT, None, LORA, LORA, LORA, LORA, TAE]
    for name, tensors in zip(names.values(), contents, strict=True):
        put_tokenizer(tmp_path / name) if tensors is None else put(tmp_path / name, tensors)
    put(tmp_path / "loras/SVI_Wan2.1-I2V-14B_lora_v2.0.safetensors", LORA)
    put(tmp_path / "loras/wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors", LORA)
    put(tmp_path / "checkpoints/other_high_model.safetensors", {"model.x": torch.zeros(1)})
    found = find_models(tmp_path)
    assert paths(tmp_path) == names
    assert (found.missing, found.unusable) == ((), ())
    assert "native safetensors, fp32" in str(found.pieces[Part.HIGH_NOISE])


def test_official_layout(tmp_path):
    shards(tmp_path / "Wan2.2-I2V-A14B/high_noise_model", DIT, "diffusion_pytorch_model")
    shards(tmp_path / "Wan2.2-I2V-A14B/low_noise_model", DIT, "diffusion_pytorch_model")
    put(tmp_path / "Wan2.2-I2V-A14B/Wan2.1_VAE.pth", VAE)
    put(tmp_path / "Wan2.2-I2V-A14B/models_t5_umt5-xxl-enc-bf16.pth", cast(text_weights(), torch.bfloat16))
    put_tokenizer(tmp_path / "Wan2.2-I2V-A14B/google/umt5-xxl/tokenizer.json")
    svi = "svi-model/version-2.0/SVI_Wan2.2-I2V-A14B_{}_noise_lora_v2.0_pro.safetensors"
    put(tmp_path / svi.format("high"), LORA)
    put(tmp_path / svi.format("low"), LORA)
    put(tmp_path / svi.format("high").replace("_pro", ""), LORA)
    seko = "Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1"
    put(tmp_path / seko / "high_noise_model.safetensors", LORA)
    put(tmp_path / seko / "low_noise_model.safetensors", LORA)
    official = "Wan2.2-I2V-A14B"
    assert paths(tmp_path) == {
        Part.HIGH_NOISE: f"{official}/high_noise_model",
        Part.LOW_NOISE: f"{official}/low_noise_model",
        Part.VAE: f"{official}/Wan2.1_VAE.pth",
        Part.TEXT_ENCODER: f"{official}/models_t5_umt5-xxl-enc-bf16.pth",
        Part.TOKENIZER: f"{official}/google/umt5-xxl/tokenizer.json",
        Part.SVI_HIGH: svi.format("high"),
        Part.SVI_LOW: svi.format("low"),
        Part.LIGHTNING_HIGH: f"{seko}/high_noise_model.safetensors",
        Part.LIGHTNING_LOW: f"{seko}/low_noise_model.safetensors",
    }
    found = find_models(tmp_path)
    assert (found.missing, found.unusable) == ((), ())
    assert load_dit(found.path(Part.HIGH_NOISE)).config == SIZES


def test_experts_that_were_distilled_are_taken_where_those_are_meant(tmp_path):
    """Enhanced Lightning is experts of its own, which lie beside the others."""
    for noise in ("high", "low"):
        put(tmp_path / f"wan2.2_i2v_{noise}_noise_14B_fp16.safetensors", DIT)
        put(tmp_path / f"wan22EnhancedLightning_v2I2VFP8{noise.upper()}.safetensors", DIT)
    assert "Enhanced" not in " ".join(paths(tmp_path).values())
    enhanced = find_models(tmp_path, distilled_experts=True)
    assert enhanced.path(Part.HIGH_NOISE).name == "wan22EnhancedLightning_v2I2VFP8HIGH.safetensors"
    assert enhanced.path(Part.LOW_NOISE).name == "wan22EnhancedLightning_v2I2VFP8LOW.safetensors"
    enhanced.path(Part.LOW_NOISE).unlink()
    assert Part.LOW_NOISE in find_models(tmp_path, distilled_experts=True).missing


def test_diffusers_layout(tmp_path):
    shards(tmp_path / "transformer", dit_to_diffusers(DIT), "diffusion_pytorch_model")
    put(tmp_path / "transformer_2/diffusion_pytorch_model.safetensors", dit_to_diffusers(DIT))
    put(tmp_path / "vae/diffusion_pytorch_model.safetensors", vae_to_diffusers(VAE))
    shards(tmp_path / "text_encoder", TEXT, "model")
    put_tokenizer(tmp_path / "tokenizer/tokenizer.json")
    assert paths(tmp_path) == {
        Part.HIGH_NOISE: "transformer",
        Part.LOW_NOISE: "transformer_2/diffusion_pytorch_model.safetensors",
        Part.VAE: "vae/diffusion_pytorch_model.safetensors",
        Part.TEXT_ENCODER: "text_encoder",
        Part.TOKENIZER: "tokenizer/tokenizer.json",
    }
    assert find_models(tmp_path).missing == (Part.SVI_HIGH, Part.SVI_LOW)


def test_nothing_there_means_everything_is_missing(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        found = find_models(folder)
        assert set(found.missing) == NEEDED
        assert not found.pieces
    with pytest.raises(UserError, match=r"The high-noise expert is not installed\."):
        found.path(Part.HIGH_NOISE)


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf", "high"),
        ("Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors", "low"),
        ("wan22EnhancedLightning_v2I2VFP8HIGH.safetensors", "high"),
        ("highnoise.safetensors", "high"),
        ("wan_lownoise_14b.safetensors", "low"),
        ("high/model.safetensors", "high"),
        ("low_noise_model/high.safetensors", "high"),
        ("high_noise_model/low/a.safetensors", "low"),
        ("slow_flow_yellow.safetensors", None),
        ("highlights_below.safetensors", None),
        ("high_and_low.safetensors", None),
        ("transformer_2/a.safetensors", "low"),
        ("my_transformer/a.safetensors", None),
    ],
)
def test_expert_is_told_by_whole_words(name, expert):
    """The folder above the models' does not count."""
    root = Path("/models/high")
    assert expert_of(root / name, root) == (None if expert is None else Expert(f"{expert}_noise"))


def test_least_rounded_file_is_taken_and_no_distilled_one(tmp_path):
    order = [
        ("wan_high_fp16.safetensors", cast(DIT, torch.float16)),
        ("a/wan_high_fp8.safetensors", DIT_FP8),
        ("wan_high_lightx2v_4step.safetensors", DIT),
        ("distill_high_fp8.safetensors", DIT_FP8),
    ]
    for name, tensors in reversed(order):
        put(tmp_path / name, tensors)
        assert paths(tmp_path) == {Part.HIGH_NOISE: name}


def test_choice_does_not_depend_on_the_order_of_the_folder(tmp_path):
    for name in ("b_low.safetensors", "a_low.safetensors", "c_low.safetensors"):
        put(tmp_path / name, DIT)
    assert paths(tmp_path) == {Part.LOW_NOISE: "a_low.safetensors"}


def test_file_that_cannot_be_used_is_told_with_its_reason(tmp_path):
    cut = put(tmp_path / "wan_high.safetensors", DIT)
    cut.write_bytes(cut.read_bytes()[:-1])
    nameless = put(tmp_path / "wan.safetensors", DIT)
    incomplete = put(
        tmp_path / "vae.safetensors", {name: tensor for name, tensor in VAE.items() if name != "conv2.bias"}
    )
    text_to_video = put(tmp_path / "t2v_high.safetensors", dit_weights(DiTConfig(**vars(SIZES) | {"in_dim": 16})))
    found = find_models(tmp_path)
    assert not found.pieces
    reasons = {unusable.path: unusable.reason for unusable in found.unusable}
    assert set(reasons) == {cut, nameless, incomplete}
    assert text_to_video not in reasons
    assert "cut short" in reasons[cut]
    assert "neither its name nor its folder's says high or low" in reasons[nameless]
    assert "conv2.bias" in reasons[incomplete]


def test_loras_of_other_models_are_not_taken(tmp_path):
    put(tmp_path / "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors", LORA)
    put(tmp_path / "SVI_Wan2.2-I2V-A14B_high_noise_lora_v2.0.safetensors", LORA)
    put(tmp_path / "lightx2v_rank64.safetensors", LORA)
    put(tmp_path / "svi_pro_high_lightning.safetensors", {"x": torch.zeros(1)})
    assert paths(tmp_path) == {}


def test_tokenizer_of_another_model_is_not_taken(tmp_path):
    put(tmp_path / "umt5.safetensors", TEXT)  # 24 rows
    put_tokenizer(tmp_path / "a/tokenizer.json", tokens=30)  # more tokens than rows
    put_tokenizer(tmp_path / "b/tokenizer.json", end=2)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/tokenizer.json").write_text("{}")
    assert Part.TOKENIZER in find_models(tmp_path).missing
    put_tokenizer(tmp_path / "d/tokenizer.json")
    assert paths(tmp_path)[Part.TOKENIZER] == "d/tokenizer.json"


def test_links_are_followed_once_and_hidden_folders_left_out(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere / "wan_high.safetensors", DIT)
    models = tmp_path / "models"
    put(models / ".partial/wan_low.safetensors", DIT)
    (models / "comfy").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(models)
    assert paths(models) == {Part.HIGH_NOISE: "comfy/wan_high.safetensors"}


def test_whole_models_are_no_pieces(tmp_path, toy_models_dir):
    """The demo's folder lies in the same models folder."""
    (tmp_path / "demo").symlink_to(toy_models_dir / "demo")
    put(tmp_path / "wan_high.safetensors", DIT)
    found = find_models(tmp_path)
    assert list(found.pieces) == [Part.HIGH_NOISE]
    assert not found.unusable
