"""Other projects' names of the networks' tensors -> the official ones, which are the names in engine/.

Facts: diffusers, scripts/convert_wan_to_diffusers.py; city96's ComfyUI-GGUF, loader.py (the text encoder's names come
from llama.cpp). No tensor is transposed or split. A name without a row stays as it is, and is then surplus.
"""

import re
from collections.abc import Collection

from engine.checkpoints.header import Kind, Naming
from engine.text import OFFICIAL_BLOCK_KEYS, OFFICIAL_KEYS

# NOTE: the norm before the cross-attention, the only one with weights, is norm3 here and norm2 in diffusers.
_DIT = (
    (r"condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"condition_embedder\.time_proj\.", "time_projection.1."),
    (r"scale_shift_table$", "head.modulation"),
    (r"proj_out\.", "head.head."),
    (r"blocks\.(\d+)\.scale_shift_table$", r"blocks.\1.modulation"),
    (r"blocks\.(\d+)\.attn1\.", r"blocks.\1.self_attn."),
    (r"blocks\.(\d+)\.attn2\.", r"blocks.\1.cross_attn."),
    (r"blocks\.(\d+)\.norm2\.", r"blocks.\1.norm3."),
    (r"blocks\.(\d+)\.ffn\.net\.0\.proj\.", r"blocks.\1.ffn.0."),
    (r"blocks\.(\d+)\.ffn\.net\.2\.", r"blocks.\1.ffn.2."),
)
_DIT_ATTENTION = ((r"\.to_([qkv])\.", r".\1."), (r"\.to_out\.0\.", ".o."))

_VAE = (
    (r"quant_conv\.", "conv1."),
    (r"post_quant_conv\.", "conv2."),
    (r"(encoder|decoder)\.conv_in\.", r"\1.conv1."),
    (r"(encoder|decoder)\.conv_out\.", r"\1.head.2."),
    (r"(encoder|decoder)\.norm_out\.", r"\1.head.0."),
    (r"(encoder|decoder)\.mid_block\.resnets\.0\.", r"\1.middle.0."),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.middle.1."),
    (r"(encoder|decoder)\.mid_block\.resnets\.1\.", r"\1.middle.2."),
    (r"encoder\.down_blocks\.", "encoder.downsamples."),
)
_VAE_RESIDUAL = (
    (r"\.norm1\.gamma$", ".residual.0.gamma"),
    (r"\.conv1\.(weight|bias)$", r".residual.2.\1"),
    (r"\.norm2\.gamma$", ".residual.3.gamma"),
    (r"\.conv2\.(weight|bias)$", r".residual.6.\1"),
    (r"\.conv_shortcut\.", ".shortcut."),
)

_LLAMA_BLOCK = {
    "attn_norm": "norm1", "attn_q": "attn.q", "attn_k": "attn.k", "attn_v": "attn.v", "attn_o": "attn.o",
    "attn_rel_b": "pos_embedding.embedding", "ffn_norm": "norm2", "ffn_gate": "ffn.gate.0", "ffn_up": "ffn.fc1",
    "ffn_down": "ffn.fc2",
}  # fmt: skip
_LLAMA = {"token_embd.weight": "token_embedding.weight", "enc.output_norm.weight": "norm.weight"}
_TRANSFORMERS_BLOCK = {theirs: native for native, theirs in OFFICIAL_BLOCK_KEYS.items()}
_TRANSFORMERS = {f"{theirs}.weight": f"{native}.weight" for native, theirs in OFFICIAL_KEYS.items()}


def native_names(kind: Kind, naming: Naming, names: Collection[str]) -> dict[str, str]:
    """The official name of each tensor. `names` are all tensors of the checkpoint, without a prefix."""
    if naming is Naming.NATIVE:
        return {name: name for name in names}
    if naming is Naming.LLAMA:
        return {name: _from_llama(name) for name in names}
    if naming is Naming.TRANSFORMERS:
        return {name: _from_transformers(name) for name in names}
    if kind is Kind.DIT:
        return {name: _dit_from_diffusers(name) for name in names}
    blocks = {int(match[1]) for name in names if (match := re.match(r"decoder\.up_blocks\.0\.resnets\.(\d+)\.", name))}
    return {name: _vae_from_diffusers(name, len(blocks)) for name in names}


def _dit_from_diffusers(name: str) -> str:
    name = _first_match(_DIT, name)
    if "_attn." in name:
        for theirs, native in _DIT_ATTENTION:
            name = re.sub(theirs, native, name)
    return name


def _vae_from_diffusers(name: str, resnets: int) -> str:
    """resnets: residual blocks in a stage of the decoder, which diffusers counts anew in every stage."""
    name = _first_match(_VAE, name)
    if match := re.match(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.", name):
        within = int(match[3]) if match[2] == "resnets" else resnets
        name = f"decoder.upsamples.{int(match[1]) * (resnets + 1) + within}.{name[match.end() :]}"
    if re.match(r"(encoder|decoder)\.(middle|downsamples|upsamples)\.", name):
        for theirs, native in _VAE_RESIDUAL:
            name = re.sub(theirs, native, name)
    return name


def _from_transformers(name: str) -> str:
    if match := re.fullmatch(r"encoder\.block\.(\d+)\.(.+)\.weight", name):
        native = _TRANSFORMERS_BLOCK.get(match[2])
        return f"blocks.{match[1]}.{native}.weight" if native else name
    return _TRANSFORMERS.get(name, name)


def _from_llama(name: str) -> str:
    if match := re.fullmatch(r"enc\.blk\.(\d+)\.(\w+)\.weight", name):
        native = _LLAMA_BLOCK.get(match[2])
        return f"blocks.{match[1]}.{native}.weight" if native else name
    return _LLAMA.get(name, name)


def _first_match(rows: tuple[tuple[str, str], ...], name: str) -> str:
    for theirs, native in rows:
        if match := re.match(theirs, name):
            return match.expand(native) + name[match.end() :]
    return name
