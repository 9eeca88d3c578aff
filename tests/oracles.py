"""Key names of the official checkpoints -> those of diffusers 0.42.1, which is the oracle of the parity tests."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

DIT_RENAMES = (
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"),
    (".modulation", ".scale_shift_table"),
    ("self_attn", "attn1"),
    ("cross_attn", "attn2"),
    (".q.", ".to_q."),
    (".k.", ".to_k."),
    (".v.", ".to_v."),
    (".o.", ".to_out.0."),
    ("norm3", "norm2"),  # the affine one, before the cross-attention
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
)

VAE_RENAMES = (
    (".residual.0.", ".norm1."),
    (".residual.2.", ".conv1."),
    (".residual.3.", ".norm2."),
    (".residual.6.", ".conv2."),
    (".shortcut.", ".conv_shortcut."),
    ("coder.conv1.", "coder.conv_in."),
    (".head.0.", ".norm_out."),
    (".head.2.", ".conv_out."),
    (".middle.0.", ".mid_block.resnets.0."),
    (".middle.1.", ".mid_block.attentions.0."),
    (".middle.2.", ".mid_block.resnets.1."),
    ("encoder.downsamples.", "encoder.down_blocks."),
    *((f"decoder.upsamples.{i}.", f"decoder.up_blocks.{i // 4}.resnets.{i % 4}.") for i in range(15) if i % 4 != 3),
    *((f"decoder.upsamples.{i}.", f"decoder.up_blocks.{i // 4}.upsamplers.0.") for i in (3, 7, 11)),
)


def dit_to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_rename(key, DIT_RENAMES): tensor for key, tensor in tensors.items()}


def vae_to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    whole = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
    renamed = {}
    for key, tensor in tensors.items():
        first, rest = key.split(".", 1)
        renamed[f"{whole[first]}.{rest}" if first in whole else _rename(key, VAE_RENAMES)] = tensor
    return renamed


def randomise(module: nn.Module, seed: int) -> None:
    """Weights that let nothing hide: no gain is 1, no bias or modulation is 0, and activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("gamma") or ("norm" in name and name.endswith("weight")):
            value = 1 + 0.3 * noise
        elif name.endswith("bias") or parameter.ndim == 1:
            value = 0.2 * noise
        elif name.endswith("modulation"):
            value = 0.5 * noise
        else:
            value = noise * parameter[0].numel() ** -0.5
        with torch.no_grad():
            parameter.copy_(value)


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Length of the difference over length of what was expected."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def _rename(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in renames:
        key = key.replace(ours, theirs)
    return key
