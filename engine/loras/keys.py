"""The names in LoRA files: which part of which module a key holds, in every spelling that is about.

A key is [prefix] module [.] part. The module is named as Wan2.2 names it, or as diffusers does, or a mix of both, with
dots or (musubi, Fun, lycoris) with underscores. Names are looked up among the network's own, so nothing is guessed.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum

_ADAPTER = r"(?:\.\w+)?"  # PEFT puts the adapter's name there, mostly "default"


class Part(Enum):
    """What a tensor of a LoRA file is for its module, and how the end of its key is written."""

    DOWN = rf"lora_(?:A|down){_ADAPTER}\.weight|lora\.(?:A|down)\.weight"  # [rank, in]
    UP = rf"lora_(?:B|up){_ADAPTER}\.weight|lora\.(?:B|up)\.weight"  # [out, rank]
    UP_BIAS = rf"lora_(?:B|up){_ADAPTER}\.bias"  # [out]; added to the bias, scaled as the product of the two is
    ALPHA = "alpha"
    DIFF = "diff"  # added to the weight
    DIFF_B = "diff_b"  # added to the bias
    DIFF_M = "diff_m"  # added to the modulation
    MAGNITUDE = rf"dora_scale|lora_magnitude_vector{_ADAPTER}(?:\.weight)?"  # [out], [out, 1] or [1, in]
    LOKR_W1 = "lokr_w1"
    LOKR_W1_A = "lokr_w1_a"
    LOKR_W1_B = "lokr_w1_b"
    LOKR_W2 = "lokr_w2"
    LOKR_W2_A = "lokr_w2_a"
    LOKR_W2_B = "lokr_w2_b"


_KEYS = {part: re.compile(rf"(.+?)\.(?:{part.value})") for part in Part}
_PREFIXES = re.compile(
    r"(?:base_model\.model\.|pipe\.dit\.|model\.|diffusion_model\.|transformer\.|lora_unet__?|lycoris_)*"
)

# Wan2.2's names and diffusers' for the same module (its convert_wan_to_diffusers.py). NOTE: native norm3 is its norm2.
_OTHER_NAMES = (
    (r"\bself_attn\b", "attn1"),
    (r"\bcross_attn\b", "attn2"),
    (r"(attn\w*)\.([qkv])$", r"\1.to_\2"),
    (r"(attn\w*)\.o$", r"\1.to_out.0"),
    (r"\bffn\.0$", "ffn.net.0.proj"),
    (r"\bffn\.2$", "ffn.net.2"),
    (r"\bnorm3$", "norm2"),
    (r"^head\.head$", "proj_out"),
    (r"^head\.modulation$", "scale_shift_table"),
    (r"\bmodulation$", "scale_shift_table"),
    (r"^text_embedding\.0$", "condition_embedder.text_embedder.linear_1"),
    (r"^text_embedding\.2$", "condition_embedder.text_embedder.linear_2"),
    (r"^time_embedding\.0$", "condition_embedder.time_embedder.linear_1"),
    (r"^time_embedding\.2$", "condition_embedder.time_embedder.linear_2"),
    (r"^time_projection\.1$", "condition_embedder.time_proj"),
)

# Wan2.1 I2V reads the picture through a branch of its own, which Wan2.2 does not have.
_IMAGE_BRANCH = re.compile(
    r"(?<![a-z])(?:k_img|v_img|norm_k_img|img_emb|add_k_proj|add_v_proj|norm_added_[kq]|image_embedder)(?![a-z])"
)


def module_names(parameters: Iterable[str]) -> Mapping[str, str]:
    """Every spelling of every module that has `parameters` -> its native name.

    A parameter that is neither a weight nor a bias (modulation) is found by its own name and by its module's.
    """
    modules = dict.fromkeys(re.sub(r"\.(?:weight|bias)$", "", name) for name in parameters)
    modules |= dict.fromkeys(name.removesuffix(".modulation") for name in list(modules))
    return {written: module for module in modules for name in _spellings(module) for written in _written(name)}


def split_key(key: str, modules: Mapping[str, str]) -> tuple[str, Part] | None:
    """The native module and the part that `key` names; None where either is unknown."""
    for part, pattern in _KEYS.items():
        if match := pattern.fullmatch(key):
            module = modules.get(_PREFIXES.sub("", match[1], count=1))
            return None if module is None else (module, part)
    return None


def is_of_image_branch(key: str) -> bool:
    """Whether `key` belongs to Wan2.1's image branch, which is left out by name."""
    return _IMAGE_BRANCH.search(key) is not None


def _spellings(module: str) -> set[str]:
    names = {module}
    for native, other in _OTHER_NAMES:
        names |= {re.sub(native, other, name) for name in names}
    return names


def _written(name: str) -> tuple[str, str]:
    return name, name.replace(".", "_")
