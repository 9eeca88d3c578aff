"""A picture VAE as a film VAE: every frame alone, the last of four frames in a latent, every latent four frames.

Trained from there, a latent stays what it was wherever it stands: the latents of a still picture are all alike, and two
windows that overlap agree on what they share. A VAE that learns films from random taps through time does not do so:
its latents of one still picture differed by more than their own spread from one latent frame to the next.
"""

import torch
from torch import Tensor, nn

from engine.vae import VAE, CausalConv3d, Downsample, Upsample


@torch.no_grad()
def inflate(vae: VAE) -> None:
    """Forget what the network knows of time."""
    for module in vae.modules():
        if isinstance(module, CausalConv3d) and module.history:
            module.weight[:, :, : module.history] = 0
    for module in vae.modules():
        if isinstance(module, Downsample | Upsample) and module.time_conv is not None:
            _pass_on(module.time_conv)


def _pass_on(convolution: nn.Conv3d) -> None:
    """Make every output frame, or both of them, a copy of the newest input frame. weight: [n or 2 n, n, 3, 1, 1]"""
    weight: Tensor = convolution.weight
    channels = weight.shape[1]
    weight.zero_()
    weight[:, :, -1, 0, 0] = torch.eye(channels, device=weight.device).repeat(weight.shape[0] // channels, 1)
    if convolution.bias is not None:
        convolution.bias.zero_()
