"""The Wan 2.1 video VAE: pixels <-> latents, in chunks of any length, with the official checkpoint's key names.

Everything that looks through time looks only backwards, so a video may be coded chunk by chunk; what the convolutions
remember between two chunks is a CausalState that the caller holds. Facts: Wan2.2, wan/modules/vae2_1.py.

    B batch, C channels, F pixel frames, H W pixel height and width, latents T = (F - 1) / 4 + 1, h = H / 8, w = W / 8
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from engine.kernels.frames import FrameDecoder, serves

WAN_LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
WAN_LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the network; the defaults are Wan 2.1's. `latent_mean` and `latent_std` hold one number per channel."""

    base_dim: int = 96
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    z_dim: int = 16
    res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latent_mean: tuple[float, ...] = WAN_LATENT_MEAN
    latent_std: tuple[float, ...] = WAN_LATENT_STD

    def __post_init__(self) -> None:
        if len(self.temporal_downsample) != len(self.dim_mult) - 1:
            raise ValueError(f"{len(self.dim_mult)} stages need {len(self.dim_mult) - 1} temporal_downsample flags")
        if not len(self.latent_mean) == len(self.latent_std) == self.z_dim:
            raise ValueError(f"latent_mean and latent_std must hold {self.z_dim} numbers each")

    @property
    def frames_per_latent(self) -> int:
        """Pixel frames that one latent frame stands for; the first one stands for a single frame."""
        return 1 << sum(self.temporal_downsample)

    def frames(self, latent_frames: int) -> int:
        """Pixel frames of the first `latent_frames` latent frames."""
        return self.frames_per_latent * (latent_frames - 1) + 1 if latent_frames else 0

    @property
    def pixels_per_latent(self) -> int:
        """Side of the square of pixels that one latent pixel stands for."""
        return 1 << (len(self.dim_mult) - 1)


@dataclass
class CausalState:
    """What the layers of one pass over one video remember between two chunks: the last frames that each of them saw."""

    tails: dict[nn.Module, Tensor] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        """True before the first chunk."""
        return not self.tails


class CausalConv3d(nn.Conv3d):
    """A convolution that sees no future. Chunk by chunk equals all at once; before the first frame lie zeros."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))
        self.history = kernel[0] - 1

    def forward(self, x: Tensor, state: CausalState) -> Tensor:  # type: ignore[override]
        """x: [B, C, T, H, W] -> [B, out_channels, T, H, W]"""
        if self.history == 0:
            return super().forward(x)
        new_frames = x.shape[2]
        tail = state.tails.get(self)
        if tail is not None and tail.shape[2]:
            x = torch.cat([tail, x], dim=2)
        # A clone, because a view would keep the whole chunk in memory.
        state.tails[self] = x if x.shape[2] <= self.history else x[:, :, -self.history :].clone()
        missing = new_frames + self.history - x.shape[2]
        if missing and new_frames == 1:  # the taps that would see the zeros before the first frame are left out
            return F.conv3d(x, self.weight[:, :, missing:], self.bias, padding=(0, *self.padding[1:]))
        return super().forward(F.pad(x, (0, 0, 0, 0, missing, 0)) if missing else x)


class RMSNorm(nn.Module):
    """Scale the channel vector of every pixel to root mean square 1, in float32. `axes`: those after the channels."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, ...] -> the same shape and dtype."""
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32).clamp_min(1e-12)
        scaled: Tensor = x / length * (self.gamma.float() * x.shape[1] ** 0.5)
        return scaled.to(x.dtype)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, beside a shortcut."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.residual = nn.ModuleDict(
            {
                "0": RMSNorm(in_dim, axes=3),
                "2": CausalConv3d(in_dim, out_dim, (3, 3, 3)),
                "3": RMSNorm(out_dim, axes=3),
                "6": CausalConv3d(out_dim, out_dim, (3, 3, 3)),
            }
        )
        self.shortcut = None if in_dim == out_dim else CausalConv3d(in_dim, out_dim, (1, 1, 1))

    def forward(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, C, T, H, W] -> [B, out_dim, T, H, W]"""
        hidden: Tensor = self.residual["2"](F.silu(self.residual["0"](x)), state)
        hidden = self.residual["6"](F.silu(self.residual["3"](hidden)), state)
        return hidden + (x if self.shortcut is None else self.shortcut(x, state))


class AttentionBlock(nn.Module):
    """Self-attention with one head among the pixels of each frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(dim, axes=2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, state: CausalState) -> Tensor:  # noqa: ARG002  (frames do not see each other)
        """x: [B, C, T, H, W] -> the same shape."""
        batch, _, _, height, _ = x.shape
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        qkv = self.to_qkv(self.norm(frames))
        q, k, v = rearrange(qkv, "n (three c) h w -> three n 1 (h w) c", three=3)
        out = rearrange(F.scaled_dot_product_attention(q, k, v), "n 1 (h w) c -> n c h w", h=height)
        change: Tensor = rearrange(self.proj(out), "(b t) c h w -> b c t h w", b=batch)
        return x + change


class Downsample(nn.Module):
    """Halve height and width, then, if `temporal`, the frames; the first frame of a video is not merged with any."""

    def __init__(self, dim: int, *, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(dim, dim, 3, stride=2)})
        self.time_conv = nn.Conv3d(dim, dim, (3, 1, 1), stride=(2, 1, 1)) if temporal else None

    def forward(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, C, T, H, W] -> [B, C, T or T / 2, H / 2, W / 2]"""
        frames = F.pad(rearrange(x, "b c t h w -> (b t) c h w"), (0, 1, 0, 1))
        x = rearrange(self.resample["1"](frames), "(b t) c h w -> b c t h w", b=x.shape[0])
        if self.time_conv is None:
            return x
        tail = state.tails.get(self)
        state.tails[self] = x[:, :, -1:].clone()
        if tail is not None:
            x = self.time_conv(torch.cat([tail, x], dim=2))
        return x


class Upsample(nn.Module):
    """Double the frames if `temporal`, then height and width; halve the channels. The first latent stays one frame."""

    def __init__(self, dim: int, *, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(dim, dim // 2, 3, padding=1)})
        self.time_conv = CausalConv3d(dim, 2 * dim, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, C, T, H, W] -> [B, C / 2, T or 2 T, 2 H, 2 W]"""
        if self.time_conv is not None:
            if self.time_conv in state.tails:
                x = rearrange(self.time_conv(x, state), "b (two c) t h w -> b c (t two) h w", two=2)
            else:  # NOTE the second latent sees zeros before it, not the first one
                state.tails[self.time_conv] = x[:, :, :0]
        frames = F.interpolate(rearrange(x, "b c t h w -> (b t) c h w"), scale_factor=2.0, mode="nearest-exact")
        out: Tensor = rearrange(self.resample["1"](frames), "(b t) c h w -> b c t h w", b=x.shape[0])
        return out


class Encoder(nn.Module):
    """Pixels -> mean and log variance of the latents, before the last 1x1x1 convolution."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        dims = [config.base_dim * mult for mult in (1, *config.dim_mult)]
        self.conv1 = CausalConv3d(3, dims[0], (3, 3, 3))
        self.downsamples = nn.ModuleList()
        for stage, (in_dim, out_dim) in enumerate(pairwise(dims)):
            for block in range(config.res_blocks):
                self.downsamples.append(ResidualBlock(in_dim if block == 0 else out_dim, out_dim))
            if stage < len(config.temporal_downsample):
                self.downsamples.append(Downsample(out_dim, temporal=config.temporal_downsample[stage]))
        self.middle = _middle(dims[-1])
        self.head = _head(dims[-1], 2 * config.z_dim)

    def forward(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, 3, F, H, W] -> [B, 2 z_dim, T, h, w]"""
        x = self.conv1(x, state)
        for layer in (*self.downsamples, *self.middle):
            x = layer(x, state)
        out: Tensor = self.head["2"](F.silu(self.head["0"](x)), state)
        return out


class Decoder(nn.Module):
    """Latents -> pixels, after the first 1x1x1 convolution."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        dims = [config.base_dim * mult for mult in (config.dim_mult[-1], *reversed(config.dim_mult))]
        temporal_upsample = config.temporal_downsample[::-1]
        self.conv1 = CausalConv3d(config.z_dim, dims[0], (3, 3, 3))
        self.middle = _middle(dims[0])
        self.upsamples = nn.ModuleList()
        for stage, (in_dim, out_dim) in enumerate(pairwise(dims)):
            for block in range(config.res_blocks + 1):
                stage_in = in_dim if stage == 0 else in_dim // 2  # the upsampling before has halved them
                self.upsamples.append(ResidualBlock(stage_in if block == 0 else out_dim, out_dim))
            if stage < len(temporal_upsample):
                self.upsamples.append(Upsample(out_dim, temporal=temporal_upsample[stage]))
        self.head = _head(dims[-1], 3)

    def forward(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, z_dim, T, h, w] -> [B, 3, F, H, W]"""
        x = self.conv1(x, state)
        for layer in (*self.middle, *self.upsamples):
            x = layer(x, state)
        out: Tensor = self.head["2"](F.silu(self.head["0"](x)), state)
        return out


class VAE(nn.Module):
    """The whole autoencoder. It works in the dtype and memory layout of its weights; latents are float32, normalised.

    Gradients flow through everything; whoever only films calls it under torch.inference_mode().
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = CausalConv3d(2 * config.z_dim, 2 * config.z_dim, (1, 1, 1))
        self.conv2 = CausalConv3d(config.z_dim, config.z_dim, (1, 1, 1))
        self.decoder = Decoder(config)
        self._on_frames = FrameDecoder(self.decoder)

    def channels_last(self) -> "VAE":
        """This network with its convolutions' weights channels last, which is faster in bfloat16 and on CPUs."""
        for convolution in self.modules():
            if isinstance(convolution, nn.Conv3d):
                convolution.weight.data = convolution.weight.data.to(memory_format=torch.channels_last_3d)
            elif isinstance(convolution, nn.Conv2d):
                convolution.weight.data = convolution.weight.data.to(memory_format=torch.channels_last)
        return self

    def encode(self, pixels: Tensor, latents_per_call: int = 1) -> Tensor:
        """Normalised latents, the mean of the posterior. pixels: [B, 3, F, H, W] in [-1, 1] -> [B, z_dim, T, h, w]

        F is 4 k + 1; an image is F = 1 and equals latent frame 0 of any video that begins with it.
        """
        mean, _ = self.encode_distribution(pixels, latents_per_call)
        return self.normalise(mean)

    def encode_distribution(self, pixels: Tensor, latents_per_call: int = 1) -> tuple[Tensor, Tensor]:
        """Mean and log variance, neither normalised. pixels: [B, 3, F, H, W] -> twice [B, z_dim, T, h, w] float32"""
        per_latent, side = self.config.frames_per_latent, self.config.pixels_per_latent
        frames, height, width = pixels.shape[2:]
        if (frames - 1) % per_latent or height % side or width % side:
            raise ValueError(
                f"the VAE needs {per_latent} k + 1 frames and sides of {side} n, got {frames} of {width}x{height}"
            )
        state = CausalState()
        spans = _latent_chunks((frames - 1) // per_latent + 1, latents_per_call)
        starts = [self.config.frames(start) for start, _ in spans]
        chunks = [self.encode_chunk(part, state) for part in pixels.tensor_split(starts[1:], dim=2)]
        mean, logvar = torch.cat(chunks, dim=2).float().chunk(2, dim=1)
        return mean, logvar

    def encode_chunk(self, pixels: Tensor, state: CausalState) -> Tensor:
        """One chunk: the first frame alone, then 4 k frames. [B, 3, F, H, W] -> [B, 2 z_dim, T, h, w]"""
        frames, per_latent = pixels.shape[2], self.config.frames_per_latent
        if frames != 1 if state.fresh else frames % per_latent:
            raise ValueError(f"the first chunk is one frame, the others {per_latent} k frames, got {frames}")
        out: Tensor = self.conv1(self.encoder(pixels.to(self.conv1.weight.dtype), state), state)
        return out

    def decode(self, latents: Tensor, latents_per_call: int = 1) -> Iterator[Tensor]:
        """Pixels as they are made: the first frame, then 4 * latents_per_call frames at a time.

        latents: [B, z_dim, T, h, w], normalised -> chunks [B, 3, F, H, W] float32 in [-1, 1]. More latents a call are
        faster and need more memory; the video is the same.
        """
        chunks = _latent_chunks(latents.shape[2], latents_per_call)
        state = CausalState()
        return (self.decode_chunk(latents[:, :, a:b], state).clamp(-1, 1) for a, b in chunks)

    def decode_all(self, latents: Tensor, latents_per_call: int = 1) -> Tensor:
        """The whole video. latents: [B, z_dim, T, h, w], normalised -> [B, 3, F, H, W] float32 in [-1, 1]"""
        return torch.cat(list(self.decode(latents, latents_per_call)), dim=2)

    def reconstruct(self, latents: Tensor) -> Tensor:
        """As decode_all, in two calls and without the clamp, whose gradient is zero where a loss needs it."""
        state = CausalState()
        parts = [latents] if latents.shape[2] == 1 else [latents[:, :, :1], latents[:, :, 1:]]
        return torch.cat([self.decode_chunk(part, state) for part in parts], dim=2)

    def decode_chunk(self, latents: Tensor, state: CausalState) -> Tensor:
        """One chunk, unclamped: latent frame 0 alone, then any number. [B, z_dim, T, h, w] -> [B, 3, F, H, W]"""
        if state.fresh and latents.shape[2] != 1:
            raise ValueError(f"the first chunk is latent frame 0 alone, got {latents.shape[2]} latent frames")
        latents = self.denormalise(latents).to(self.conv2.weight.dtype)
        latents = self.conv2(latents, state)
        if serves(latents, self.conv2.weight):
            return self._on_frames(latents, state).float()
        pixels: Tensor = self.decoder(latents, state)
        return pixels.float()

    def normalise(self, latents: Tensor) -> Tensor:
        """Raw latents -> latents with about zero mean and unit variance, as the denoiser sees them. Float32."""
        mean, std = self._statistics(latents.device)
        return (latents.float() - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Undo `normalise`. Float32."""
        mean, std = self._statistics(latents.device)
        return latents.float() * std + mean

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and std, [z_dim, 1, 1, 1] each; no buffers, since a module cast to bfloat16 would round them."""
        rows = torch.tensor([self.config.latent_mean, self.config.latent_std], dtype=torch.float32, device=device)
        mean, std = rows[..., None, None, None].unbind()
        return mean, std


def _middle(dim: int) -> nn.ModuleList:
    return nn.ModuleList([ResidualBlock(dim, dim), AttentionBlock(dim), ResidualBlock(dim, dim)])


def _head(in_dim: int, out_dim: int) -> nn.ModuleDict:
    return nn.ModuleDict({"0": RMSNorm(in_dim, axes=3), "2": CausalConv3d(in_dim, out_dim, (3, 3, 3))})


def _latent_chunks(latent_frames: int, latents_per_call: int) -> list[tuple[int, int]]:
    """Start and stop of each chunk: latent frame 0 alone, then `latents_per_call` at a time."""
    if latents_per_call < 1:
        raise ValueError(f"latents_per_call must be at least 1, got {latents_per_call}")
    starts = range(1, latent_frames, latents_per_call)
    return [(0, 1), *((start, min(start + latents_per_call, latent_frames)) for start in starts)]
