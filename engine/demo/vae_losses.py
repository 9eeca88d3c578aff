"""What the demonstration model's VAE is asked for: pictures, and latents that move as pictures do.

The loss is the difference of pixels and of their slopes. Every latent channel is held at mean 0 and variance 1, with a
little noise on top, in place of a variational posterior. Half of every batch is decoded from latents that were shifted
and scaled: they must give the shifted and scaled picture, and be its latents, so that the network that animates latents
finds movement simple (as in EQ-VAE, arXiv 2502.09509, here for what a camera does).

# B batch, C latent channels, F frames, T latent frames, H W height and width of pixels, h w of latents
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from engine.vae import VAE
from storage.timeline import DROPPED_FRAMES

LATENT_NOISE = 0.08  # added to latents of about unit variance, so that the decoder forgives small errors
SCALE_WEIGHT = 0.1
MOVED_SHARE = 0.5  # of the pictures
MOVED_WEIGHT = 0.25  # of the difference between moved latents and the latents of what was moved
NEAREST, FARTHEST = 0.45, 1.25  # of the frame: what moved latents show of it, most of them coming nearer
JOIN_WEIGHT = 1.0  # of what a later beginning changes in the pixels
SHIFT = 2  # latent frames by which one of two windows of a clip begins later


def moved(x: Tensor, theta: Tensor) -> Tensor:
    """Shift and scale every frame. x: [B, C, T, H, W], theta: [B, 2, 3]"""
    frames = rearrange(x, "b c t h w -> b (c t) h w").float()
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    out = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
    return rearrange(out, "b (c t) h w -> b c t h w", c=x.shape[1])


def moves(count: int, device: torch.device) -> Tensor:
    """What a camera may do to a picture: shifts of up to a tenth of the frame, and scales. [count, 2, 3]"""
    theta = torch.zeros(count, 2, 3, device=device)
    scale = torch.empty(count, device=device).uniform_(NEAREST, FARTHEST)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.where(torch.rand(count, device=device) < 0.25, 1.0, scale)
    theta[:, :, 2].uniform_(-0.1, 0.1)
    return theta


def picture_losses(vae: VAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the mean squared error of what was not moved. pixels: [B, 3, 1, H, W]"""
    batch = pixels.shape[0]
    some = int(batch * MOVED_SHARE)
    theta = moves(some, pixels.device)
    elsewhere = moved(pixels[:some], theta)
    mean, _ = vae.encode_distribution(torch.cat([pixels, elsewhere]))
    mean, theirs = mean[:batch], mean[batch:]
    shifted = moved(mean[:some], theta)
    latents = torch.cat([shifted, mean[some:]]).float()
    target = torch.cat([elsewhere, pixels[some:]])
    error = vae.reconstruct(latents + torch.randn_like(latents) * LATENT_NOISE) - target
    axes = (0, 2, 3, 4)
    scale_error = mean.mean(axes).square().mean() + (mean.std(axes) - 1).square().mean()
    unlike = (shifted - theirs).square().mean()
    return pixel_loss(error) + SCALE_WEIGHT * scale_error + MOVED_WEIGHT * unlike, error[some:].square().mean()


def clip_losses(vae: VAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The same for the decoder alone, of two windows of each clip, which must agree. pixels: [B, 3, F, H, W]

    Most of the later windows begin with a latent that is off or from elsewhere, as the engine's do; what a film does
    not show of them, their first five frames, does not count.
    """
    batch = pixels.shape[0]
    with torch.no_grad():
        keys = rearrange(pixels[:, :, ::4], "b c t h w -> (b t) c 1 h w")
        latents = rearrange(vae.encode_distribution(keys)[0], "(b t) c 1 h w -> b c t h w", b=batch)
        some = int(batch * MOVED_SHARE)
        theta = moves(some, pixels.device)
        latents = torch.cat([moved(latents[:some], theta), latents[some:]])
        pixels = torch.cat([moved(pixels[:some], theta), pixels[some:]])
        latents = latents + torch.randn_like(latents) * LATENT_NOISE
    early, late = vae.reconstruct(torch.cat([latents[:, :, :-SHIFT], estranged(latents[:, :, SHIFT:])])).chunk(2)
    jump = late[:, :, DROPPED_FRAMES : -4 * SHIFT] - early[:, :, 4 * SHIFT + DROPPED_FRAMES :]
    first = early - pixels[:, :, : -4 * SHIFT]
    then = late[:, :, DROPPED_FRAMES:] - pixels[:, :, 4 * SHIFT + DROPPED_FRAMES :]
    loss = 0.5 * (pixel_loss(first) + pixel_loss(then)) + JOIN_WEIGHT * (jump.square() + 1e-5).sqrt().mean()
    return loss, first.square().mean()


def estranged(latents: Tensor) -> Tensor:
    """Windows whose first latent is their own, noisy, or that of another time, a third each. [B, 16, T, h, w]"""
    batch, frames = latents.shape[0], latents.shape[2]
    kind = torch.randint(3, (batch, 1, 1, 1), device=latents.device)
    own = latents[:, :, 0]
    noisy = own + torch.randn_like(own) * 0.5 * torch.rand(batch, 1, 1, 1, device=latents.device)
    other = latents[torch.arange(batch), :, torch.randint(frames, (batch,))]
    first = torch.where(kind == 0, own, torch.where(kind == 1, noisy, other))
    return torch.cat([first[:, :, None], latents[:, :, 1:]], dim=2)


def pixel_loss(error: Tensor) -> Tensor:
    """Of pixels, of their slopes, and of their changes in time. error: [B, 3, F, H, W]"""
    slopes = (error.diff(dim=3).square() + 1e-4).sqrt().mean() + (error.diff(dim=4).square() + 1e-4).sqrt().mean()
    steps = (error.diff(dim=2).square() + 1e-4).sqrt().mean() if error.shape[2] > 1 else 0.0
    return (error.square() + 4e-4).sqrt().mean() + 3 * error.square().mean() + 0.5 * slopes + 0.5 * steps
