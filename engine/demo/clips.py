"""Draws films on the device: a photograph under a moving camera, weather, colours and sprites.

B films, F frames, S sprite slots, H W pixels (144, 256)
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from engine.demo.film import Film
from engine.demo.stage import HEIGHT, WIDTH

CANVAS = 800  # side of the square that holds any photograph at the scale of its film
DENSITY = 1.25  # canvas pixels per frame pixel where the camera starts
SPRITE_SIZE = 64.0
SNOWFALL = (1.0, 0.25), (2.0, -0.5)  # pixels a frame down and aside: whole and half latents in a latent frame
STAMPED = 0.5  # share of films whose photograph has a stamp or more on it
MOST_STAMPS = 3
TILE = 512  # side of the repeating flake and fog textures


def load_photos(folder: Path, device: torch.device) -> list[Tensor]:
    """The photographs of a folder as [3, H, W] uint8."""
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))]
    return [torch.from_numpy(photo.copy()).permute(2, 0, 1).to(device) for photo in photos]


def load_stamps(folder: Path, device: torch.device) -> list[Tensor]:
    """The things of a folder as [4, H, W] uint8, RGB and how far they cover; none without the folder."""
    stamps = [np.asarray(Image.open(path).convert("RGBA")) for path in sorted(folder.glob("*.webp"))]
    return [torch.from_numpy(stamp.copy()).permute(2, 0, 1).to(device) for stamp in stamps]


def centre(photo: Tensor) -> Tensor:
    """The middle of a picture as a frame, as the engine crops. [3, H, W] uint8 -> [3, HEIGHT, WIDTH] in [-1, 1]"""
    height, width = photo.shape[1:]
    scale = max(HEIGHT / height, WIDTH / width)
    size = (max(HEIGHT, round(height * scale)), max(WIDTH, round(width * scale)))
    small = F.interpolate(photo[None].float() / 127.5 - 1, size=size, mode="bicubic", antialias=True)[0].clamp(-1, 1)
    top, left = (size[0] - HEIGHT) // 2, (size[1] - WIDTH) // 2
    return small[:, top : top + HEIGHT, left : left + WIDTH]


class Projector:
    """Draws batches of films."""

    def __init__(
        self, photos: list[Tensor], sprites: Tensor, device: torch.device, stamps: Sequence[Tensor] = ()
    ) -> None:
        """sprites: [N, 96, 96, 4] uint8; stamps: [4, H, W] uint8 each."""
        self.photos = photos
        self.stamps = stamps
        self.device = device
        rgba = rearrange(sprites.to(device).float() / 255, "n h w c -> n c h w")
        rgba[:, :3] *= rgba[:, 3:]  # premultiplied, so that the edges stay clean
        self.sprites = F.interpolate(rgba, size=(72, 72), mode="bilinear", antialias=True)
        generator = torch.Generator().manual_seed(0)
        self.snow = torch.stack([_flakes(n, size, generator) for n, size in ((460, 2.0), (200, 3.2))]).to(device)
        self.rain = _streaks(500, generator).to(device)
        self.fog = _clouds(generator).to(device)

    def draw(self, film: Film, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The film's `frames` ([B, n] frame numbers; None: all) and its anchor, in [-1, 1].

        -> [B, 3, n, H, W] and [B, 3, 1, H, W].
        film holds tensors on the device, with a batch dimension.
        """
        batch, total = film.camera.shape[:2]
        if frames is None:
            frames = torch.arange(total, device=self.device).expand(batch, total)
        canvases, extents, crops = zip(*[self._canvas(int(seed)) for seed in film.seed.tolist()], strict=True)
        canvas, extent, crop = torch.stack(canvases), torch.stack(extents), torch.stack(crops)
        camera = _at(film.camera, frames)
        home = torch.zeros_like(camera[:, :1])
        view = self._view(canvas, extent, crop, torch.cat([home, camera], dim=1))
        anchor = _recolour(view[:, :, :1], film.anchor_colour[:, None])
        shown = _recolour(view[:, :, 1:], _at(film.colour, frames))
        shown = self._weather(shown, _at(film.weather, frames), film.seed, frames)
        shown = self._sprites(shown, film.sprite, _at(film.place, frames))
        dark = _at(film.colour, frames)  # fades to black or white cover weather and sprites too
        fade = _fade(dark)
        shown = shown * fade[0] + fade[1]
        return shown.clamp(0, 1) * 2 - 1, anchor.clamp(0, 1) * 2 - 1

    def _canvas(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """A photograph at its film's scale [3, CANVAS, CANVAS], its extent [2], its first frame [3] (x, y, width)."""
        rng = np.random.default_rng(seed)
        photo = self.photos[int(rng.integers(len(self.photos)))].float() / 255
        if rng.random() < 0.5:
            photo = photo.flip(2)
        if self.stamps and rng.random() < STAMPED:
            photo = self._stamped(photo, rng)
        photo = self._jitter(photo, rng)
        height, width = photo.shape[1:]
        widest = min(1.0, height / width * WIDTH / HEIGHT)
        share = widest * float(rng.uniform(0.5, 1.0))  # of the photograph's width that the first frame shows
        scale = min(WIDTH * DENSITY / (share * width), CANVAS / max(height, width))
        size = (max(8, round(height * scale)), max(8, round(width * scale)))
        small = F.interpolate(photo[None], size=size, mode="bicubic", antialias=True)[0].clamp(0, 1)
        frame_width = share * size[1]
        frame_height = frame_width * HEIGHT / WIDTH
        x = float(rng.uniform(0, 1)) * (size[1] - frame_width) + frame_width / 2
        y = float(rng.uniform(0, 1)) * (size[0] - frame_height) + frame_height / 2
        canvas = F.pad(small, (0, CANVAS - size[1], 0, CANVAS - size[0]))
        extent = torch.tensor([size[1], size[0]], device=self.device, dtype=torch.float32)
        return canvas, extent, torch.tensor([x, y, frame_width], device=self.device)

    def _stamped(self, photo: Tensor, rng: np.random.Generator) -> Tensor:
        """A photograph with things stuck on it, of a fifth to four fifths of its height. [3, H, W] in [0, 1]"""
        photo = photo.clone()
        height, width = photo.shape[1:]
        for _ in range(int(rng.integers(1, MOST_STAMPS + 1))):
            stamp = self.stamps[int(rng.integers(len(self.stamps)))].float() / 255
            if rng.random() < 0.5:
                stamp = stamp.flip(2)
            scale = float(rng.uniform(0.2, 0.8)) * height / stamp.shape[1]
            scale = min(scale, height / stamp.shape[1], width / stamp.shape[2])
            rows, columns = (max(8, int(side * scale)) for side in stamp.shape[1:])
            small = F.interpolate(stamp[None], size=(rows, columns), mode="bilinear", antialias=True)[0]
            top, left = (int(rng.integers(room + 1)) for room in (height - rows, width - columns))
            place = photo[:, top : top + rows, left : left + columns]
            place.copy_(torch.lerp(place, small[:3], small[3:]).clamp(0, 1))
        return photo

    def _jitter(self, photo: Tensor, rng: np.random.Generator) -> Tensor:
        if rng.random() < 0.3:
            return photo
        gains = torch.as_tensor(np.exp(rng.normal(0, 0.08, 3)) * np.exp(rng.normal(0, 0.12)), dtype=torch.float32)
        photo = photo ** float(np.exp(rng.normal(0, 0.2))) * gains.to(self.device)[:, None, None]
        grey = photo.mean(0, keepdim=True)
        photo = grey + (photo - grey) * float(rng.uniform(0.6, 1.3))
        if rng.random() < 0.12:
            photo = photo[torch.as_tensor(rng.permutation(3), device=self.device)]
        return photo.clamp(0, 1)

    def _view(self, canvas: Tensor, extent: Tensor, crop: Tensor, camera: Tensor) -> Tensor:
        """What the camera sees; past the photograph's edge it sees its mirror image. -> [B, 3, n, H, W] in [0, 1]"""
        width = crop[:, 2, None]
        height = width * HEIGHT / WIDTH
        centre_x = crop[:, 0, None] + camera[:, :, 0] * width
        centre_y = crop[:, 1, None] + camera[:, :, 1] * height
        zoom = torch.exp(-camera[:, :, 2])
        across = (torch.arange(WIDTH, device=self.device) + 0.5) / WIDTH - 0.5
        down = (torch.arange(HEIGHT, device=self.device) + 0.5) / HEIGHT - 0.5
        x = centre_x[..., None] + across * (width * zoom)[..., None]  # [B, n, W]
        y = centre_y[..., None] + down * (height * zoom)[..., None]
        x = _mirror(x, extent[:, 0, None, None]) / CANVAS * 2 - 1
        y = _mirror(y, extent[:, 1, None, None]) / CANVAS * 2 - 1
        return _sample(canvas, x, y, padding_mode="border")

    def _weather(self, shown: Tensor, weather: Tensor, seed: Tensor, frames: Tensor) -> Tensor:
        time = frames.float()
        base = (seed % 509).float()[:, None]
        snow, rain, fog = (weather[:, :, i] for i in range(3))
        if bool((fog > 0).any()):
            cloud = self._scroll(self.fog, base * 3 + time * 0.7, base * 7)
            shown = torch.lerp(
                shown, torch.full_like(shown, 0.84), (fog[..., None, None] * (0.3 + 0.5 * cloud))[:, None]
            )
        if bool((rain > 0).any()):
            streaks = self._scroll(self.rain, base * 5 + time * 1.0, base * 3 - time * 8.0)
            shown = shown + (0.9 - shown) * (rain[..., None, None] * streaks * 0.7)[:, None]
        if bool((snow > 0).any()):
            for layer, (speed, sway) in enumerate(SNOWFALL):
                flakes = self._scroll(self.snow[layer], base * (3 + layer) + time * sway, base * 5 - time * speed)
                shown = shown + (1 - shown) * (snow[..., None, None] * flakes)[:, None]
        return shown

    def _scroll(self, tile: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Windows of a repeating tile, at [B, n] offsets -> [B, n, H, W]"""
        doubled = torch.cat([tile, tile[: HEIGHT + 2]], dim=0)
        doubled = torch.cat([doubled, doubled[:, : WIDTH + 2]], dim=1)
        full_h, full_w = doubled.shape
        across = torch.arange(WIDTH, device=self.device) + 0.5 + torch.remainder(x, TILE)[..., None]
        down = torch.arange(HEIGHT, device=self.device) + 0.5 + torch.remainder(y, TILE)[..., None]
        tiles = doubled[None, None].expand(len(x), -1, -1, -1)
        return _sample(tiles, across / full_w * 2 - 1, down / full_h * 2 - 1)[:, 0]

    def _sprites(self, shown: Tensor, sprite: Tensor, place: Tensor) -> Tensor:
        across = torch.arange(WIDTH, device=self.device) + 0.5
        down = torch.arange(HEIGHT, device=self.device) + 0.5
        for slot in range(place.shape[2]):
            x, y, present, mirrored = (place[:, :, slot, i] for i in range(4))
            if not bool((present > 0).any()):
                continue
            direction = 1 - 2 * mirrored  # emoji look to the left
            u = (across - x[..., None]) / (SPRITE_SIZE / 2) * direction[..., None]
            v = (down - y[..., None]) / (SPRITE_SIZE / 2)
            drawn = _sample(self.sprites[sprite[:, slot]], u, v)
            drawn = drawn * present[:, None, :, None, None]
            shown = shown * (1 - drawn[:, 3:]) + drawn[:, :3]
        return shown


def _sample(pictures: Tensor, x: Tensor, y: Tensor, padding_mode: str = "zeros") -> Tensor:
    """Pictures seen at columns x and rows y, from -1 to 1. [B, C, h, w], [B, n, W], [B, n, H] -> [B, C, n, H, W]"""
    shape = (len(x), max(x.shape[1], y.shape[1]), y.shape[2], x.shape[2])
    grid = torch.stack([x[:, :, None].expand(shape), y[..., None].expand(shape)], dim=-1)
    tall = rearrange(grid, "b n h w two -> b (n h) w two")
    seen = F.grid_sample(pictures, tall, align_corners=False, padding_mode=padding_mode)
    return rearrange(seen, "b c (n h) w -> b c n h w", n=shape[1])


def film_to(film: Film, device: torch.device) -> Film:
    """The film on the device."""
    return Film(*(rows.to(device, non_blocking=True) for rows in film))


def _at(track: Tensor, frames: Tensor) -> Tensor:
    """Rows `frames` of a track. [B, F, ...], [B, n] -> [B, n, ...]"""
    return track[torch.arange(track.shape[0], device=track.device)[:, None], frames]


def _mirror(x: Tensor, length: Tensor) -> Tensor:
    inner = length - 2
    x = torch.remainder(x - 1, 2 * inner)
    return torch.where(x > inner, 2 * inner - x, x) + 1


def _recolour(pixels: Tensor, matrix: Tensor) -> Tensor:
    """pixels: [B, 3, n, H, W], matrix: [B, n, 3, 4]"""
    return (
        torch.einsum("bnij,bjnhw->binhw", matrix[..., :3], pixels) + rearrange(matrix[..., 3], "b n i -> b i n 1 1")
    ).clamp(0, 1)


def _fade(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of weather and sprites when the picture itself has faded, and the white that takes its place."""
    left = (matrix[..., :3].abs().sum((-1, -2)) / 0.25).clamp(0, 1)
    white = matrix[..., 3].mean(-1) * (1 - left)
    return left[:, None, :, None, None], white[:, None, :, None, None]


def _flakes(count: int, size: float, generator: torch.Generator) -> Tensor:
    """Soft white dots on a repeating tile. [TILE, TILE]"""
    tile = torch.zeros(TILE, TILE)
    reach = math.ceil(size * 3)
    offsets = torch.arange(-reach, reach + 1)
    for x, y, scale in torch.rand(count, 3, generator=generator).tolist():
        cx, cy, radius = x * TILE, y * TILE, size * (0.7 + 0.6 * scale)
        rows, columns = (offsets + int(cy)) % TILE, (offsets + int(cx)) % TILE
        dy, dx = offsets + int(cy) - cy, offsets + int(cx) - cx
        dot = torch.exp(-(((dx[None] ** 2 + dy[:, None] ** 2) / (2 * radius**2)) ** 1.5))
        patch = tile[rows[:, None], columns[None]]
        tile[rows[:, None], columns[None]] = torch.maximum(patch, dot)
    return tile


def _streaks(count: int, generator: torch.Generator) -> Tensor:
    """Slanted strokes on a repeating tile. [TILE, TILE]"""
    tile = torch.zeros(TILE, TILE)
    for x, y, length in torch.rand(count, 3, generator=generator).tolist():
        steps = torch.linspace(0, 10 + 10 * length, 40)
        rows = (y * TILE + steps).long() % TILE
        columns = (x * TILE - steps / 8).long() % TILE
        tile[rows, columns] = 1.0
    soft = F.avg_pool2d(F.pad(tile[None, None], (2, 2, 0, 0), mode="circular"), (1, 5), stride=1)[0, 0]
    return (0.4 * tile + 1.4 * soft).clamp(0, 1)


def _clouds(generator: torch.Generator) -> Tensor:
    """Smooth noise on a repeating tile, in [0, 1]. [TILE, TILE]"""
    total = torch.zeros(1, 1, TILE, TILE)
    for cells in (4, 8, 16):
        grid = torch.rand(1, 1, cells, cells, generator=generator)
        grid = F.pad(grid, (1, 1, 1, 1), mode="circular")
        side = TILE // cells
        total += F.interpolate(grid, scale_factor=side, mode="bicubic")[:, :, side:-side, side:-side] / cells**0.5
    total = total - total.min()
    return (total / total.max())[0, 0]
