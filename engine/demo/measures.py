"""What happens in a clip, measured in its pixels.

F frames; pixels are [3, F, H, W] in [0, 1]
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.colours import to_lab
from engine.demo.film import PAN, TILT, ZOOM_IN, ZOOM_OUT
from engine.demo.stage import FPS, HEIGHT, WIDTH

LUMA = (0.299, 0.587, 0.114)
GAP = 8  # frames between two pictures whose movement is measured


def luminance(pixels: Tensor) -> Tensor:
    """[3, F, H, W] -> [F, H, W]"""
    return torch.einsum("c,cfhw->fhw", torch.tensor(LUMA), pixels)


def movement(first: Tensor, second: Tensor, guess: Tensor | None = None) -> Tensor:
    """How the camera moved between two pictures: right and down in pixels, and the logarithm of its zoom. [H, W] each

    The best similarity of the middle parts by Gauss and Newton, from coarse to fine, beginning with `guess`.
    """
    height, width = first.shape
    found = torch.zeros(3) if guess is None else guess
    for scale in (8, 4, 2):
        a, b = (F.avg_pool2d(image[None, None], scale) for image in (first, second))
        rows, columns = a.shape[-2:]
        y, x = torch.meshgrid(
            torch.arange(rows) + 0.5 - rows / 2, torch.arange(columns) + 0.5 - columns / 2, indexing="ij"
        )
        for _ in range(12):
            zoom = math.exp(-float(found[2]))  # a point of `second` is seen at x * zoom + shift in `first`
            u = x * zoom + float(found[0]) / scale
            v = y * zoom + float(found[1]) / scale
            grid = torch.stack([u / columns * 2, v / rows * 2], dim=-1)[None]
            seen = F.grid_sample(a, grid, align_corners=False, padding_mode="border")[0, 0]
            inside = ((u.abs() < columns / 2 - 1) & (v.abs() < rows / 2 - 1)).float()
            dx = torch.zeros_like(seen)
            dy = torch.zeros_like(seen)
            dx[:, 1:-1] = (seen[:, 2:] - seen[:, :-2]) / 2
            dy[1:-1] = (seen[2:] - seen[:-2]) / 2
            slopes = torch.stack([dx, dy, -(dx * x + dy * y)], dim=-1).flatten(0, 1)
            error = (b[0, 0] - seen).flatten()
            weight = inside.flatten() / (error.abs() + 0.05)
            normal = slopes.T @ (slopes * weight[:, None]) + 1e-6 * torch.eye(3)
            change = torch.linalg.solve(normal, slopes.T @ (weight * error))
            found = found + change * torch.tensor([scale, scale, 1.0]) * torch.tensor([zoom, zoom, 1.0])
    return found if found.isfinite().all() and found.abs().max() < max(height, width) else torch.zeros(3)


def contrast(pixels: Tensor) -> Tensor:
    """Luminance less that of the surroundings, so that a change of light is no movement. [3, F, H, W] -> [F, H, W]"""
    grey = luminance(pixels)
    return grey - F.avg_pool2d(grey[:, None], 31, 1, 15)[:, 0]


def flow(pixels: Tensor) -> float:
    """How fast a clip moves, in pixels a second: the median of the picture's quarters, on average over time.

    A quarter without detail may be taken for anything, hence the median.
    """
    grey = contrast(pixels)
    quarters = [part for half in grey.chunk(2, dim=1) for part in half.chunk(2, dim=2)]
    starts = range(0, len(grey) - GAP, GAP)
    moved = torch.stack(
        [torch.stack([movement(part[i], part[i + GAP])[:2].norm() for part in quarters]) for i in starts]
    )
    return float(moved.quantile(0.5, dim=1).mean()) / GAP * FPS


def seen_after(picture: Tensor, path: Tensor) -> Tensor:
    """What a camera sees of a picture [3, H, W] when it has moved along `path`, as `movement` counts it. -> the same"""
    zoom = math.exp(-float(path[2]))
    height, width = picture.shape[1:]
    aside, down = 2 * float(path[0]) / width, 2 * float(path[1]) / height
    grid = F.affine_grid(
        torch.tensor([[[zoom, 0, aside], [0, zoom, down]]]), [1, 3, height, width], align_corners=False
    )
    return F.grid_sample(picture[None], grid, mode="bicubic", align_corners=False, padding_mode="border")[0].clamp(0, 1)


def camera_path(pixels: Tensor) -> Tensor:
    """Movement of the whole clip, as `movement` counts it. [3]"""
    grey = contrast(pixels)
    return torch.stack([movement(grey[i], grey[i + GAP]) for i in range(0, len(grey) - GAP, GAP)]).sum(0)


def camera_move(pixels: Tensor) -> str:
    """Which of the seven moves a clip shows."""
    right, down, zoom = camera_path(pixels).tolist()
    seconds = (pixels.shape[1] - 1) / FPS
    shares = {
        "right": right / (PAN * WIDTH * seconds), "left": -right / (PAN * WIDTH * seconds),
        "down": down / (TILT * HEIGHT * seconds), "up": -down / (TILT * HEIGHT * seconds),
        "in": zoom / (ZOOM_IN * seconds), "out": -zoom / (ZOOM_OUT * seconds),
    }  # fmt: skip
    best = max(shares, key=lambda move: shares[move])
    return best if shares[best] > 0.35 else "still"


def signal(effect: str, pixels: Tensor) -> Tensor:
    """What an effect changes, in every frame. [F]"""
    if effect in ("warm", "cool"):
        return (pixels[0] - pixels[2]).mean((1, 2))
    if effect == "grey":
        return (pixels.amax(0) - pixels.amin(0)).mean((1, 2))
    if effect == "snow":
        return specks(pixels)
    return luminance(pixels).mean((1, 2))


def specks(pixels: Tensor) -> Tensor:
    """Share of the picture, at half its size, that is much brighter than its surroundings. [F]"""
    grey = luminance(pixels)[:, None]
    grey = F.avg_pool2d(grey, 2)
    patches = F.unfold(F.pad(grey, (4, 4, 4, 4), mode="reflect"), 9)
    middle = patches.median(1).values.view_as(grey)
    bright: Tensor = (grey - middle > 0.12).float().mean((1, 2, 3))
    return bright


def happened(effect: str, pixels: Tensor) -> bool:
    """Whether night, day or snow came between the start and the end of a clip."""
    if effect == "snow":
        first, last = pixels[:, :6], pixels[:, -12:]
    else:
        first, last = seen_by_both(pixels[:, :6], pixels[:, -12:], camera_path(pixels))
    before, after = signal(effect, first).mean().item(), signal(effect, last).mean().item()
    if effect == "night":
        return after < 0.72 * before
    if effect == "day":
        return after > 1.12 * before or (after - before) > 0.06
    if effect == "snow":
        return after - before > 0.015
    raise ValueError(f"no measure for {effect!r}")


def seen_by_both(first: Tensor, last: Tensor, path: Tensor) -> tuple[Tensor, Tensor]:
    """The parts of two clips that show the same place, after a camera's `path` from one to the other.

    What a camera brings into view changes the mean brightness too, and nobody called for that.
    """
    zoom = math.exp(-float(path[2]))  # a point of `last` is seen at x * zoom + shift in `first`, from the middle
    parts = []
    for clip, scale, sign in ((first, zoom, 1), (last, 1 / zoom, -1)):
        for axis, shift in ((2, float(path[1])), (3, float(path[0]))):
            half = clip.shape[axis] / 2
            middle = shift if sign > 0 else -shift / zoom
            low, high = max(-half, middle - half * scale), min(half, middle + half * scale)
            if high - low > half / 2:
                clip = clip.narrow(axis, round(low + half), max(1, round(high - low)))  # noqa: PLW2901
        parts.append(clip)
    return parts[0], parts[1]


def onset(effect: str, pixels: Tensor, ramp_seconds: float) -> float:
    """When an effect begins, in seconds: half of it is reached half a ramp later."""
    values = signal(effect, pixels)
    before, after = values[4:10].mean(), values[-4:].mean()
    share = (values - before) / (after - before + 1e-9)
    reached = (share > 0.5).nonzero()
    frame = int(reached[0]) if len(reached) else len(values)
    return frame / FPS - ramp_seconds / 2


def lab(pixels: Tensor) -> Tensor:
    """Mean CIE Lab colour of a clip, D65. [3]"""
    return to_lab(pixels).mean((1, 2, 3))


def sharpness(pixels: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels' luminance."""
    grey = luminance(pixels)
    return float(grey.diff(dim=1).abs().mean() + grey.diff(dim=2).abs().mean())


def likeness(first: Tensor, second: Tensor) -> float:
    """How alike two pictures of the same colours are drawn: the correlation of their contrasts. [3, H, W] each"""
    a, b = contrast(torch.stack([first, second], dim=1)).flatten(1)
    return float(F.cosine_similarity(a - a.mean(), b - b.mean(), dim=0))


def recoloured(picture: Tensor, like: Tensor) -> Tensor:
    """A picture whose channels have the means and spreads of another's. [3, H, W] each -> the same"""
    gain = like.std((1, 2), keepdim=True) / picture.std((1, 2), keepdim=True).clamp_min(1e-3)
    return (like.mean((1, 2), keepdim=True) + gain * (picture - picture.mean((1, 2), keepdim=True))).clamp(0, 1)


def change(pixels: Tensor) -> Tensor:
    """Mean absolute difference of each frame to the one before. [F - 1]"""
    return pixels.diff(dim=1).abs().mean((0, 2, 3))
