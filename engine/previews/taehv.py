"""A tiny decoder, taew2_1: Wan 2.1's latents -> pixels, with a twenty-fifth of the VAE's arithmetic, for previews.

Facts: madebyollin/taehv, taehv.py; the tensors keep that file's names. It reads the latents as the denoiser has them,
normalised. Frames are convolved one by one; only the memory blocks look back, each one frame of its own frame rate.

    B batch, C channels, T frames at the rate of a layer, h w latent height and width, H = 8 h, W = 8 w

    decoder.   1      3 4 5    7      8      9 10 11   13     14     15 16 17   19     20     22
               conv   memory   grow   conv   memory    grow   conv   memory     grow   conv   conv
    frames     T      T        T      T      T         2 T    2 T    2 T        4 T    4 T    4 T
    height     h      h        2 h    2 h    2 h       4 h    4 h    4 h        8 h    8 h    8 h

NOTE: the first frames are made before the network has seen enough, and are thrown away: T latents give 4 T - 3 frames.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from engine.checkpoints.files import open_tensors
from engine.previews.preview import Previewer, decoded_preview
from engine.vae import CausalState
from storage.schema import UserError

WIDTHS = (256, 128, 64, 64)  # channels of the three stages, and of what follows them
LATENT_CHANNELS = 16
STAGE_GROWTH = (1, 2, 2)  # frames that each stage makes of one
FRAMES_PER_LATENT = 4
MEMORY_BLOCKS = 3  # in a stage
STAGE_STARTS = (3, 9, 15)  # number of each stage's first layer
_SHOWN = 3  # faults in a message


class MemoryBlock(nn.Module):
    """Three convolutions of each frame with the frame before it, beside a shortcut. Before the first frame lie zeros.

    Chunk by chunk equals all at once.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ModuleDict({"0": _conv(2 * width, width), "2": _conv(width, width), "4": _conv(width, width)})

    def forward(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, T, C, H, W] -> the same shape."""
        tail = state.tails.get(self)
        before = torch.cat([torch.zeros_like(x[:, :1]) if tail is None else tail, x[:, :-1]], dim=1)
        state.tails[self] = x[:, -1:].clone()  # a view would keep the whole chunk in memory
        hidden = F.relu(_each_frame(self.conv["0"], torch.cat([x, before], dim=2)))
        hidden = F.relu(_each_frame(self.conv["2"], hidden))
        return F.relu(_each_frame(self.conv["4"], hidden) + x)


class Grow(nn.Module):
    """Make `frames` frames of each one, with a convolution of 1x1, and double height and width.

    The convolution comes first, where it costs a quarter: doubling only repeats pixels, so the order does not matter.
    """

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d(width, frames * width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, T, C, H, W] -> [B, frames T, C, 2 H, 2 W]"""
        grown = F.interpolate(self.conv(x.flatten(0, 1)), scale_factor=2.0, mode="nearest-exact")
        return rearrange(grown, "(b t) (new c) h w -> b (t new) c h w", b=x.shape[0], new=self.frames)


class TAEHV(nn.Module):
    """The decoder. It works in the dtype of its weights; pixels are float32. `widths` are smaller in tests."""

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {"1": _conv(LATENT_CHANNELS, widths[0])}
        for stage, first in enumerate(STAGE_STARTS):
            width = widths[stage]
            layers |= {str(first + block): MemoryBlock(width) for block in range(MEMORY_BLOCKS)}
            layers[str(first + MEMORY_BLOCKS + 1)] = Grow(width, STAGE_GROWTH[stage])
            layers[str(first + MEMORY_BLOCKS + 2)] = _conv(width, widths[stage + 1], bias=False)
        layers["22"] = _conv(widths[-1], 3)
        self.decoder = nn.ModuleDict(layers)

    def decode(self, latents: Tensor, latents_per_call: int = 4) -> Iterator[Tensor]:
        """Pixels as they are made, 4 * latents_per_call frames at a time, 3 fewer the first time.

        latents: [B, 16, T, h, w], normalised -> chunks [B, 3, F, H, W] float32 in [-1, 1]. More latents a call need
        more memory; the video is the same.
        """
        state = CausalState()
        return (self.decode_chunk(part, state) for part in torch.split(latents, latents_per_call, dim=2))

    def decode_all(self, latents: Tensor, latents_per_call: int = 4) -> Tensor:
        """The whole video. latents: [B, 16, T, h, w], normalised -> [B, 3, 4 T - 3, H, W] float32 in [-1, 1]"""
        return torch.cat(list(self.decode(latents, latents_per_call)), dim=2)

    def decode_chunk(self, latents: Tensor, state: CausalState) -> Tensor:
        """The next latents of one video, any number. [B, 16, T, h, w] -> [B, 3, F, H, W] float32 in [-1, 1]"""
        too_early = FRAMES_PER_LATENT - 1 if state.fresh else 0
        frames = rearrange(latents, "b c t h w -> b t c h w").to(next(self.parameters()).dtype)
        frames = self._decoded(frames, state)[:, too_early:]
        return rearrange(frames, "b t c h w -> b c t h w").float().clamp(0, 1) * 2 - 1

    def _decoded(self, x: Tensor, state: CausalState) -> Tensor:
        """x: [B, T, 16, h, w] -> [B, 4 T, 3, H, W], about in [0, 1]"""
        x = torch.tanh(x / 3) * 3
        x = F.relu(_each_frame(self.decoder["1"], x))
        for first in STAGE_STARTS:
            for block in range(MEMORY_BLOCKS):
                x = self.decoder[str(first + block)](x, state)
            x = self.decoder[str(first + MEMORY_BLOCKS + 1)](x)
            x = _each_frame(self.decoder[str(first + MEMORY_BLOCKS + 2)], x)
        return _each_frame(self.decoder["22"], F.relu(x))


def load_taehv(path: Path, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> TAEHV:
    """The decoder in a safetensors or .pth file, whose encoder is ignored; UserError when a tensor is amiss."""
    tensors = open_tensors(path)
    with torch.device("meta"):
        network = TAEHV()
    needed = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    shapes = {name: stored.shape for name, stored in tensors.stored.items() if not name.startswith("encoder.")}
    _check(path.name, shapes, needed)
    weights = {name: tensors.read(name).to(device, dtype) for name in needed}
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def taehv_preview(path: Path, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Previewer:
    """The decoder in a file as a previewer, warm: what it loads at its first call is loaded here."""
    network = load_taehv(path, device, dtype)
    previewer = decoded_preview(lambda latents: network.decode(latents, latents_per_call=1))
    previewer(torch.zeros(1, LATENT_CHANNELS, 2, 8, 8, device=device))
    return previewer


def _check(file: str, shapes: Mapping[str, tuple[int, ...]], needed: Mapping[str, tuple[int, ...]]) -> None:
    """UserError unless both have the same tensors in the same shapes."""
    faults = [f"{name} is missing" for name in needed if name not in shapes]
    faults += [f"{name} is surplus" for name in shapes if name not in needed]
    faults += [
        f"{name} is {list(shapes[name])} instead of {list(shape)}"
        for name, shape in needed.items()
        if shapes.get(name, shape) != shape
    ]
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise UserError(f"{file} does not fit the preview decoder: {', '.join(faults[:_SHOWN])}{more}.")


def _conv(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def _each_frame(layer: nn.Module, x: Tensor) -> Tensor:
    """x: [B, T, C, H, W] -> the same frames after `layer`, which knows no time."""
    frames: Tensor = layer(x.flatten(0, 1))
    return frames.view(*x.shape[:2], *frames.shape[1:])
