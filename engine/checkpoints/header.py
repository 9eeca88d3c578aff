"""What a checkpoint is, seen from the names of its tensors: which network, whose names, and under which prefix."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from storage.schema import UserError


class Kind(StrEnum):
    """The network that a checkpoint is for."""

    DIT = "dit"
    VAE = "vae"
    T5 = "t5"


class Naming(StrEnum):
    """Whose names the tensors carry."""

    NATIVE = "native"  # Wan2.2's own, also ComfyUI's, Kijai's, LightX2V's and GGUF's for the transformer
    DIFFUSERS = "diffusers"
    TRANSFORMERS = "transformers"  # of the text encoder, also ComfyUI's
    LLAMA = "llama.cpp"  # of the text encoder in GGUF files


class Foreign(UserError):
    """The file can be read, but holds none of the networks that Longtake knows."""


@dataclass(frozen=True)
class Header:
    """What the names say."""

    kind: Kind
    naming: Naming
    prefix: str


# Names that only this network has; one of them suffices, so that a missing tensor does not hide what the rest is.
# UMT5 has a relative bias in every block, plain T5 in the first one only.
_SIGNS = {
    (Kind.DIT, Naming.NATIVE): ("blocks.0.self_attn.q.weight", "blocks.0.cross_attn.q.weight"),
    (Kind.DIT, Naming.DIFFUSERS): ("blocks.0.attn1.to_q.weight", "blocks.0.attn2.to_q.weight"),
    (Kind.VAE, Naming.NATIVE): ("decoder.middle.0.residual.0.gamma", "encoder.middle.0.residual.0.gamma"),
    (Kind.VAE, Naming.DIFFUSERS): (
        "decoder.mid_block.resnets.0.norm1.gamma", "encoder.mid_block.resnets.0.norm1.gamma",
    ),
    (Kind.T5, Naming.NATIVE): (
        "blocks.1.pos_embedding.embedding.weight", "blocks.0.pos_embedding.embedding.weight",
    ),
    (Kind.T5, Naming.TRANSFORMERS): (
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.block.2.layer.0.SelfAttention.relative_attention_bias.weight",
    ),
    (Kind.T5, Naming.LLAMA): ("enc.blk.1.attn_rel_b.weight", "enc.blk.2.attn_rel_b.weight"),
}  # fmt: skip
_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.")


def recognise(file: str, names: Collection[str]) -> Header:
    """The header of a checkpoint with tensors of these names; Foreign when they belong to something else."""
    for prefix in _PREFIXES:
        for (kind, naming), signs in _SIGNS.items():
            if any(prefix + sign in names for sign in signs):
                return Header(kind, naming, prefix)
    if is_lora(names):
        raise Foreign(f"{file} is a LoRA, not a checkpoint.")
    raise Foreign(f"{file} is no checkpoint of Wan's transformer, of its VAE or of UMT5.")


def is_lora(names: Collection[str]) -> bool:
    """Whether these are the tensors of a LoRA file."""
    return any("lora_" in name or ".lora." in name or ".lokr_" in name for name in names)
