"""The VAE's decoder on padded frames, channels last: each convolution one matrix product, its neighbours fused to it.

T frames, H W height and width, C channels. Padded frames are [T, H + 2, W + 2, C] with a border of zeros.
A convolution's weight is packed as [C out, taps * C in], taps in the order of (time, row, column).
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from engine.kernels import fused, hopper

Tails = dict[nn.Module, Tensor]  # the last two padded frames that each convolution saw


class Remembers(Protocol):
    """A CausalState; what it remembers for a FrameDecoder is of no use to a Decoder, and the other way round."""

    tails: Tails


def padded(x: Tensor) -> Tensor:
    """[1, C, T, H, W] -> padded frames"""
    return F.pad(rearrange(x, "1 c t h w -> t h w c"), (0, 0, 1, 1, 1, 1)).contiguous()


def unpadded(frames: Tensor) -> Tensor:
    """Padded frames -> [1, C, T, H, W], a view"""
    return rearrange(frames[:, 1:-1, 1:-1], "t h w c -> 1 c t h w")


def packed(weight: Tensor) -> Tensor:
    """[C out, C in, (kt,) kh, kw] -> [C out, taps * C in]; for rows of whole vectors C out is at least 16."""
    rows = rearrange(weight if weight.ndim == 5 else weight[:, :, None], "o i t h w -> o (t h w i)")
    return F.pad(rows, (0, 0, 0, max(0, 16 - len(rows)))).contiguous()


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor, kernel: tuple[int, int, int], residual: Tensor | None = None
) -> Tensor:
    """A convolution, and what stands beside it added. The output's frame t sees x's frames t to t + kernel[0] - 1.

    x: padded frames of C in, weight: packed, bias: [C out], residual: as the output -> padded frames of C out
    """
    if fused(x, weight):
        from engine.kernels import frames_triton

        return frames_triton.convolution(x, weight, bias, kernel, residual, None)
    kt, kh, kw = kernel
    taps = rearrange(weight[: len(bias)], "o (t h w i) -> o i t h w", t=kt, h=kh, w=kw)
    out = F.conv3d(unpadded(x), taps, bias, padding=(0, kh // 2, kw // 2))
    return padded(out if residual is None else out + unpadded(residual))


def norm_silu(x: Tensor, gamma: Tensor, out: Tensor) -> None:
    """RMSNorm of each pixel's channels, then SiLU, into `out`. x, out: padded frames, gamma: [C]"""
    if fused(x, gamma):
        from engine.kernels import frames_triton

        frames_triton.norm_silu(x, gamma, out)
        return
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).clamp_min(1e-12)
    out.copy_(F.silu(x / length * (gamma.float() * x.shape[-1] ** 0.5)))


def enlarged(x: Tensor, split: int) -> Tensor:
    """Every pixel as 2 x 2; a frame whose rows hold `split` frames side by side becomes as many frames.

    x: [T, H + 2, W + 2, split * C] -> [split * T, 2 H + 2, 2 W + 2, C]
    """
    if fused(x):
        from engine.kernels import frames_triton

        return frames_triton.enlarged(x, split)
    frames = rearrange(x[:, 1:-1, 1:-1], "t h w (two c) -> (t two) h w c", two=split)
    return F.pad(frames.repeat_interleave(2, 1).repeat_interleave(2, 2), (0, 0, 1, 1, 1, 1))


class FrameDecoder:
    """What a Decoder computes, on padded frames. It reads the decoder's own weights, and keeps them packed."""

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder
        self._packed: dict[nn.Module, tuple[int, Tensor]] = {}

    def __call__(self, x: Tensor, state: Remembers) -> Tensor:
        """x: [1, z_dim, T, h, w] -> [1, 3, F, H, W]"""
        tails = state.tails
        frames = padded(self._decoder.get_submodule("conv1")(x, state))
        middle, upsamples = _parts(self._decoder, "middle", "upsamples")
        for layer in (*middle.children(), *upsamples.children()):
            frames = self._layer(layer, frames, tails)
        norm, last = _parts(self._decoder, "head.0", "head.2")
        return unpadded(self._causal(frames, norm, last, tails))

    def _layer(self, layer: nn.Module, frames: Tensor, tails: Tails) -> Tensor:
        if "residual" in layer._modules:
            return self._residual(layer, frames, tails)
        if "to_qkv" in layer._modules:
            return padded(layer(unpadded(frames), None))
        return self._upsample(layer, frames, tails)

    def _residual(self, block: nn.Module, frames: Tensor, tails: Tails) -> Tensor:
        norm1, conv1, norm2, conv2 = _parts(block, "residual.0", "residual.2", "residual.3", "residual.6")
        shortcut = block._modules.get("shortcut")
        beside = frames if shortcut is None else self._convolved(shortcut, frames)
        hidden = self._causal(frames, norm1, conv1, tails)
        return self._causal(hidden, norm2, conv2, tails, beside)

    def _upsample(self, layer: nn.Module, frames: Tensor, tails: Tails) -> Tensor:
        split, time_conv = 1, layer._modules.get("time_conv")
        if time_conv is not None and time_conv in tails:
            frames = torch.cat([tails[time_conv], frames])
            tails[time_conv] = frames[-2:].clone()
            frames, split = self._convolved(time_conv, frames), 2
        elif time_conv is not None:  # the first latent stays one frame, and the second one sees zeros before it
            tails[time_conv] = frames.new_zeros(2, *frames.shape[1:])
        return self._convolved(layer.get_submodule("resample.1"), enlarged(frames, split))

    def _causal(
        self, frames: Tensor, norm: nn.Module, conv: nn.Module, tails: Tails, beside: Tensor | None = None
    ) -> Tensor:
        """Norm, SiLU, convolution over the frames and the two before them."""
        seen = frames.new_empty(len(frames) + 2, *frames.shape[1:])
        seen[:2] = tails.get(conv, torch.zeros_like(seen[:2]))
        norm_silu(frames, norm.get_parameter("gamma").flatten(), seen[2:])
        tails[conv] = seen[-2:].clone()
        return self._convolved(conv, seen, beside)

    def _convolved(self, conv: nn.Module, frames: Tensor, beside: Tensor | None = None) -> Tensor:
        assert isinstance(conv, nn.Conv2d | nn.Conv3d)
        assert conv.bias is not None
        kept = self._packed.get(conv)
        if kept is None or kept[0] != conv.weight.data_ptr():
            kept = self._packed[conv] = conv.weight.data_ptr(), packed(conv.weight.detach())
        kt, kh, kw = (1, *conv.kernel_size) if len(conv.kernel_size) == 2 else conv.kernel_size
        return convolution(frames, kept[1], conv.bias, (kt, kh, kw), beside)


def serves(latents: Tensor, parameter: Tensor) -> bool:
    """Whether a FrameDecoder decodes these latents: one video, in half precision on a Hopper GPU, no autograd.

    The kernels run on other GPUs too, but nobody has timed them there against cuDNN.
    """
    tried = hopper(parameter.device) and parameter.dtype in (torch.bfloat16, torch.float16)
    fits = len(latents) == 1 and not torch.is_grad_enabled()
    return fits and (tried or not parameter.is_cuda) and fused(latents, parameter)


def _parts(module: nn.Module, *names: str) -> tuple[nn.Module, ...]:
    return tuple(module.get_submodule(name) for name in names)
