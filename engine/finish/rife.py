"""RIFE 4.25 and 4.26: the movement between two frames, from coarse to fine, and the frame at a time between them.

The key names are those of the published checkpoints (flownet.pkl of Practical-RIFE, MIT licence), widths are read from
the tensors, so that the "heavy" ones load too. Earlier versions have other blocks and are refused.

# B batch (1), C features, H W height and width, multiples of 64; pictures are [B, 3, H, W] in [0, 1]
# flow: [B, 4, H, W], in pixels, from the wanted moment to the first picture (x, y) and to the second (x, y)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.finish.networks import tensors_of, to_frame, to_rgb
from storage.footage import Frames
from storage.schema import UserError

SCALES = (16, 8, 4, 2, 1)  # of the blocks: the first one sees the pictures at a sixteenth of their size
MULTIPLE = 64
CONTEXT = 8  # features that a block hands to the next one
UNUSED = ("teacher.", "caltime.")  # parts of a checkpoint that served its training


@dataclass(frozen=True)
class Widths:
    """What the published networks differ in: channels of a picture's features, and of each block."""

    features: int = 4
    blocks: tuple[int, ...] = (192, 128, 96, 64, 32)


class Encoder(nn.Module):
    """What is in a picture. [B, 3, H, W] -> [B, C, H, W]"""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, 16, 3, 2, 1)
        self.cnn1 = nn.Conv2d(16, 16, 3, 1, 1)
        self.cnn2 = nn.Conv2d(16, 16, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(16, features, 4, 2, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        x = picture
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            x = F.leaky_relu(layer(x), 0.2)
        found: Tensor = self.cnn3(x)
        return found


class Residual(nn.Module):
    """A convolution beside its input, with a learnt weight. [B, C, H, W] -> the same shape"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.leaky_relu(self.conv(x) * self.beta + x, 0.2)


class Block(nn.Module):
    """Corrects the flow at one scale, and hands what it saw to the next block."""

    def __init__(self, channels_in: int, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv0 = nn.Sequential(_halving(channels_in, channels // 2), _halving(channels // 2, channels))
        self.convblock = nn.Sequential(*(Residual(channels) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(channels, 4 * (5 + CONTEXT), 4, 2, 1), nn.PixelShuffle(2))

    def forward(self, seen: Tensor, flow: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """seen: [B, C, H, W] -> what to add to the flow [B, 4, H, W], mask [B, 1, H, W], context [B, 8, H, W]"""
        x = _scaled(seen, 1 / self.scale)
        if flow is not None:
            x = torch.cat([x, _scaled(flow, 1 / self.scale) / self.scale], dim=1)
        out = _scaled(self.lastconv(self.convblock(self.conv0(x))), self.scale)
        return out[:, :4] * self.scale, out[:, 4:5], out[:, 5:]


class Rife(nn.Module):
    """The frame between two frames."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.encode = Encoder(widths.features)
        both = 2 * widths.features
        first, *later = widths.blocks
        self.block0 = Block(2 * 3 + 1 + both, first, SCALES[0])
        for number, channels in enumerate(later, start=1):  # further: mask and context of the block before, and flow
            block = Block(2 * 3 + 1 + both + 1 + CONTEXT + 4, channels, SCALES[number])
            setattr(self, f"block{number}", block)

    def forward(self, first: Tensor, second: Tensor, moment: float) -> Tensor:
        """The picture at `moment`, in (0, 1), from `first` to `second`. [B, 3, H, W] each -> [B, 3, H, W]"""
        pictures = first, second
        features = self.encode(first), self.encode(second)
        time = torch.full_like(first[:, :1], moment)
        flow, mask, context = self.block0(torch.cat([*pictures, *features, time], dim=1), None)
        for number in range(1, len(SCALES)):
            seen = [*_warped(pictures, flow), *_warped(features, flow), time, mask, context]
            change, mask, context = self.get_submodule(f"block{number}")(torch.cat(seen, dim=1), flow)
            flow = flow + change
        from_first, from_second = _warped(pictures, flow)
        share = torch.sigmoid(mask)
        return from_first * share + from_second * (1 - share)


@torch.inference_mode()
def moments(network: Rife, first: Frames, second: Frames, times: int) -> Iterator[Frames]:
    """The frames between two frames [H, W, 3], `times` - 1 of them, evenly spaced."""
    height, width, _ = first.shape
    padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    device = next(network.parameters()).device
    pictures = [F.pad(to_rgb(frame, device), padding) for frame in (first, second)]
    for number in range(1, times):
        yield to_frame(network(*pictures, number / times)[..., :height, :width])


def load_rife(file: Path) -> Rife:
    """The network in a checkpoint, on the CPU. Every tensor is placed, or ignored by its name, or it is a UserError."""
    stored = {name.removeprefix("module."): tensor.float() for name, tensor in tensors_of(file).items()}
    tensors = {name: tensor for name, tensor in stored.items() if not name.startswith(UNUSED)}
    try:
        with torch.device("meta"):
            network = Rife(_widths(tensors))
        network.load_state_dict(tensors, strict=True, assign=True)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{file.name} is no RIFE of version 4.25 or 4.26, which can be used.") from error
    return network.eval().requires_grad_(False)


def _widths(tensors: Mapping[str, Tensor]) -> Widths:
    blocks = tuple(len(tensors[f"block{number}.conv0.1.0.bias"]) for number in range(len(SCALES)))
    return Widths(len(tensors["encode.cnn3.bias"]), blocks)


def _halving(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels, 3, 2, 1), nn.LeakyReLU(0.2))


def _scaled(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear")


def _warped(pair: tuple[Tensor, Tensor], flow: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures, or their features, as seen from the wanted moment. [B, C, H, W] each, flow: [B, 4, H, W]"""
    return _warp(pair[0], flow[:, :2]), _warp(pair[1], flow[:, 2:])


def _warp(x: Tensor, flow: Tensor) -> Tensor:
    """x where the flow points to, its border going on outside. x: [B, C, H, W], flow: [B, 2, H, W] in pixels"""
    height, width = x.shape[2:]
    rows, columns = (torch.linspace(-1, 1, size, device=x.device) for size in (height, width))
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    half = x.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return F.grid_sample(x, grid + flow.permute(0, 2, 3, 1) / half, padding_mode="border", align_corners=True)
