"""Colours as the eye tells them apart: CIE Lab under D65, and a picture brought to the colours of another.

# F frames, H W height and width. Pixels are [1, 3, F, H, W] in [-1, 1]; RGB in [0, 1] and Lab are [3, ...].
# The constants are scikit-image's rgb2lab, which Wan2GP's colour correction uses.
"""

import torch
from einops import rearrange
from torch import Tensor

from storage.footage import Frames

XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)  # D65, seen by the observer of 1931
DARK = 0.008856, 7.787, 16 / 116  # below it Lab is linear, with this slope and intercept
FLAT = 1e-4  # a spread that is nothing but rounding


def to_lab(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1] as CIE Lab. [3, ...] -> the same shape"""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.tensordot(rgb.new_tensor(XYZ_OF_RGB), linear, dims=1)
    scaled = xyz / _channels(WHITE, rgb)
    edge, slope, intercept = DARK
    f = torch.where(scaled > edge, scaled.clamp_min(edge) ** (1 / 3), slope * scaled + intercept)
    return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def to_rgb(lab: Tensor) -> Tensor:
    """CIE Lab as sRGB, what is out of its gamut clamped to [0, 1]. [3, ...] -> the same shape"""
    y = (lab[0] + 16) / 116
    f = torch.stack([y + lab[1] / 500, y, (y - lab[2] / 200).clamp_min(0)])
    _, slope, intercept = DARK
    xyz = torch.where(f > 0.2068966, f**3, (f - intercept) / slope) * _channels(WHITE, lab)
    inverse = torch.linalg.inv(torch.tensor(XYZ_OF_RGB, dtype=torch.float64)).to(lab)
    linear = torch.tensordot(inverse, xyz, dims=1)
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)
    return rgb.clamp(0, 1)


def corrected(pixels: Tensor, reference: Tensor, strength: float) -> Tensor:
    """Every frame with the colours of `reference`, by the share `strength`. reference: [1, 3, 1, H, W] -> as `pixels`

    Each Lab channel of a frame gets the mean and the spread that it has in the reference; then original and result are
    blended in RGB. A channel without any spread becomes the reference's mean. As in Wan2GP (spec 2.12).
    """
    wanted = to_lab(_rgb(reference[0, :, 0]))
    frames = [blended(_rgb(frame), wanted, strength) for frame in pixels[0].unbind(1)]  # Lab of all at once is large
    return torch.stack(frames, dim=1)[None] * 2 - 1


def blended(rgb: Tensor, wanted: Tensor, strength: float) -> Tensor:
    """One frame [3, H, W], by the share `strength` with the mean and the spread of `wanted`, which is Lab [3, H, W]."""
    lab = to_lab(rgb)
    spread = _spread(lab)
    scale = torch.where(spread > FLAT, _spread(wanted) / spread.clamp_min(FLAT), 0)
    matched = to_rgb((lab - _mean(lab)) * scale + _mean(wanted))
    return (1 - strength) * rgb + strength * matched


def mean_lab(frames: Frames) -> tuple[float, float, float]:
    """Mean colour of frames [F, H, W, 3]."""
    lightness, red, yellow = to_lab(frames_as_rgb(frames)).flatten(1).mean(1).tolist()
    return lightness, red, yellow


def frames_as_rgb(frames: Frames) -> Tensor:
    """Frames of bytes [F, H, W, 3] as RGB in [0, 1], [3, F, H, W]."""
    return rearrange(torch.tensor(frames), "f h w c -> c f h w").float() / 255


def _rgb(pixels: Tensor) -> Tensor:
    return (pixels.float().clamp(-1, 1) + 1) / 2


def _mean(lab: Tensor) -> Tensor:
    return lab.mean((1, 2), keepdim=True)


def _spread(lab: Tensor) -> Tensor:
    return lab.std((1, 2), correction=0, keepdim=True)


def _channels(values: tuple[float, float, float], like: Tensor) -> Tensor:
    """One number a channel, in the shape that multiplies `like`, [3, ...]."""
    return like.new_tensor(values).view(3, *[1] * (like.ndim - 1))
