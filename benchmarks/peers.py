"""diffusers' networks, as they come, around the same weights as ours."""

import sys

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from rig import ROOT
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from oracles import dit_to_diffusers, vae_to_diffusers  # noqa: E402

from engine.dit import PATCH, DiT  # noqa: E402
from engine.vae import VAE  # noqa: E402

# What torch 2.11 prefers on a Hopper. NOTE: it has to be asked for, since once any part of a process has ordered its
# attention kernels (engine/attention.py does), torch goes by its older order: FlashAttention 2 first.
PREFERRED = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def transformer(network: DiT, device: torch.device) -> WanTransformer3DModel:
    """Its transformer in bfloat16, but for what it keeps in float32 itself. Most weights are shared, not copied."""
    sizes = network.config
    with torch.device("meta"):
        peer = WanTransformer3DModel(
            num_attention_heads=sizes.heads, attention_head_dim=sizes.head_dim, in_channels=sizes.in_dim,
            out_channels=sizes.out_dim, num_layers=sizes.layers, ffn_dim=sizes.ffn_dim, freq_dim=sizes.freq_dim,
            text_dim=sizes.text_dim, eps=sizes.eps,
        )  # fmt: skip
    peer.rope = WanRotaryPosEmbed(sizes.head_dim, PATCH, 1024).to(device)
    kept = set(peer._keep_in_fp32_modules)
    weights = dit_to_diffusers(network.state_dict())
    typed = {
        key: tensor.to(torch.float32 if kept & set(key.split(".")) else torch.bfloat16)
        for key, tensor in weights.items()
    }
    peer.load_state_dict(typed, strict=True, assign=True)
    return peer.eval().requires_grad_(False)


def velocity(peer: WanTransformer3DModel, inputs: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """As DiT.forward. text: [B, text_len, text_dim], padded"""
    with sdpa_kernel(PREFERRED, set_priority=True):
        out: Tensor = peer(inputs.bfloat16(), sigma * 1000, text.bfloat16(), return_dict=False)[0]
    return out


def autoencoder(vae: VAE, device: torch.device) -> AutoencoderKLWan:
    """Its VAE with the same weights, in their dtype."""
    peer = AutoencoderKLWan(base_dim=vae.config.base_dim).to(device, next(vae.parameters()).dtype)
    peer.load_state_dict(vae_to_diffusers(vae.state_dict()))
    return peer.eval().requires_grad_(False)


def pixels(peer: AutoencoderKLWan, vae: VAE, latents: Tensor) -> Tensor:
    """As VAE.decode_all."""
    out: Tensor = peer.decode(vae.denormalise(latents).to(peer.dtype), return_dict=False)[0]
    return out
