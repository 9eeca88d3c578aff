"""The demonstration model's data: photographs and emoji out of Debian packages, as one small folder.

One command makes it, on any Debian with a network: `python -m engine.demo.data --out .train/data`. It downloads the
packages (apt-get download), unpacks them (dpkg -x) and leaves

    photos/*.jpg       to train on, at most 800 pixels wide
    validation/*.jpg   never trained on: HELD_OUT, and scikit-image's, which the examples use
    stamps/*.webp      things without a background, which are stuck on photographs, so that there are more of them
    sprites.npz        the emoji of SPRITES, [N, 96, 96, 4] uint8, in that order
    words.txt          English words, for captions that mean nothing
"""

import argparse
import io
import logging
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.demo.words import SPRITES

PACKAGES = (
    "gnome-backgrounds",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "ukui-wallpapers",
    "gcompris-qt-data",
    "opencv-doc",
    "tuxpaint-stamps-default",
    "fonts-noto-color-emoji",
    "wamerican",
)
ARCHIVES = ("erase", "explore_farm_animals", "explore_monuments", "explore_world_animals", "clickgame", "details")
HELD_OUT = (
    "erase-10", "erase-21", "explore_farm_animals-00", "explore_monuments-02", "explore_monuments-14",
    "explore_monuments-25", "explore_monuments-36", "explore_monuments-47", "explore_world_animals-09",
)  # fmt: skip
OPENCV = "aloeL baboon board building fruits HappyFish home leuvenA messi5 stuff butterfly"
SCIKIT_IMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
LONG_SIDE = 800  # what a film's canvas holds
SPRITE_SIDE = 96
STAMP_SIDES = 150, 400  # pixels of the longer side: smaller ones are blurred, larger ones are made smaller

log = logging.getLogger(__name__)


def unpack(folder: Path) -> None:
    """Download and unpack PACKAGES below `folder`."""
    debs = folder / "deb"
    debs.mkdir(parents=True, exist_ok=True)
    (folder / "unpacked").mkdir(exist_ok=True)
    missing = [name for name in PACKAGES if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", "-q", *missing], cwd=debs, check=True)
    for name in PACKAGES:
        (package,) = debs.glob(f"{name}_*.deb")
        if not (folder / "unpacked" / name).is_dir():
            subprocess.run(["dpkg", "-x", str(package), str(folder / "unpacked" / name)], check=True)


def archived_pictures(archive: Path) -> Iterator[Image.Image]:
    """Pictures inside a Qt resource file: each is stored whole behind its length, 4 bytes, big endian."""
    content = archive.read_bytes()
    for magic in (b"\xff\xd8\xff", b"RIFF"):
        start = 0
        while (start := content.find(magic, start)) >= 0:
            (length,) = struct.unpack(">I", content[start - 4 : start])
            if 8000 < length <= len(content) - start:
                try:
                    picture = Image.open(io.BytesIO(content[start : start + length]))
                    picture.load()
                except (OSError, ValueError, SyntaxError):
                    start += 4
                    continue
                yield picture.convert("RGB")
                start += length
            else:
                start += 4


def wallpapers(unpacked: Path) -> Iterator[tuple[str, Image.Image]]:
    """The pictures of the wallpaper packages, and OpenCV's samples."""
    paths = sorted(
        path for path in unpacked.rglob("*") if path.suffix in {".jpg", ".png", ".webp"} and not path.is_symlink()
    )
    for path in paths:
        package = path.relative_to(unpacked).parts[0]
        wanted = ("backgrounds" in path.parts or "wallpapers" in path.parts) and package in PACKAGES
        if wanted or (package == "opencv-doc" and "data" in path.parts and path.stem in OPENCV.split()):
            picture = Image.open(path)
            picture.draft("RGB", (2 * LONG_SIDE, 2 * LONG_SIDE))
            yield f"{package}-{path.stem}", picture.convert("RGB")


def fingerprint(picture: Image.Image) -> NDArray[np.float64]:
    """What two copies of a picture share: a direction in the space of 16x16 thumbnails."""
    thumbnail = np.asarray(picture.resize((16, 16)).convert("L"), np.float64)
    thumbnail = thumbnail - thumbnail.mean()
    direction: NDArray[np.float64] = thumbnail / (np.linalg.norm(thumbnail) + 1e-6)
    return direction


def detail(picture: Image.Image) -> float:
    """Mean difference of neighbouring pixels, of 255."""
    return float(np.abs(np.diff(np.asarray(picture.convert("L"), np.float64), axis=1)).mean())


def build_pictures(unpacked: Path, out: Path) -> tuple[int, int]:
    """Write photos/ and validation/; the number of pictures in each."""
    pictures = list(wallpapers(unpacked))
    resources = unpacked / "gcompris-qt-data/usr/share/gcompris-qt/rcc"
    for archive in ARCHIVES:
        pictures += [(f"{archive}-{n:02d}", p) for n, p in enumerate(archived_pictures(resources / f"{archive}.rcc"))]
    seen: list[NDArray[np.float64]] = []
    count = {"photos": 0, "validation": 0}
    for name, picture in pictures:
        picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        key = fingerprint(picture)
        if detail(picture) < 1.2 or min(picture.size) < 300 or any(float((key * other).sum()) > 0.96 for other in seen):
            continue
        seen.append(key)
        kind = "validation" if name in HELD_OUT else "photos"
        count[kind] += 1
        picture.save(out / kind / f"{len(seen):03d}-{name}.jpg", quality=80)
    return count["photos"], count["validation"]


def build_stamps(unpacked: Path, out: Path) -> int:
    """Write stamps/; how many. Drawings and lettering are left out: they are flat."""
    (out / "stamps").mkdir(parents=True, exist_ok=True)
    least, most = STAMP_SIDES
    count = 0
    for path in sorted((unpacked / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps").rglob("*.png")):
        stamp = Image.open(path).convert("RGBA")
        stamp = stamp.crop(stamp.getbbox())
        if "cartoon" in path.parts or max(stamp.size) < least or detail(stamp.convert("RGB")) < 2.5:
            continue
        stamp.thumbnail((most, most), Image.Resampling.LANCZOS)
        stamp.save(out / "stamps" / f"{count:03d}-{path.stem}.webp", quality=85)
        count += 1
    return count


def build_sprites(unpacked: Path, out: Path) -> int:
    """Render SPRITES; how many."""
    (font_path,) = unpacked.rglob("NotoColorEmoji.ttf")
    font = ImageFont.truetype(str(font_path), 109)
    sprites = []
    for emoji, _ in SPRITES:
        canvas = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(canvas).text((12, 12), emoji, font=font, embedded_color=True)
        sprite = canvas.crop(canvas.getbbox())
        side = max(sprite.size)
        square = Image.new("RGBA", (side, side))
        square.paste(sprite, ((side - sprite.width) // 2, side - sprite.height))
        sprites.append(np.asarray(square.resize((SPRITE_SIDE, SPRITE_SIDE), Image.Resampling.LANCZOS)))
    np.savez_compressed(out / "sprites.npz", sprites=np.stack(sprites))
    return len(sprites)


def main() -> None:
    """Make the data folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Make the demonstration model's data folder from Debian packages.")
    parser.add_argument("--out", type=Path, default=Path(".train/data"))
    parser.add_argument("--work", type=Path, help="where packages are kept; a temporary folder if not given")
    args = parser.parse_args()
    for name in ("photos", "validation"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        unpack(work)
        unpacked = work / "unpacked"
        photos, validation = build_pictures(unpacked, args.out)
        stamps, sprites = build_stamps(unpacked, args.out), build_sprites(unpacked, args.out)
        words = (unpacked / "wamerican/usr/share/dict/american-english").read_text(encoding="utf-8").split()
        plain = [word for word in words if word.isascii() and word.isalpha() and word.islower()]
        (args.out / "words.txt").write_text("\n".join(plain[::6]), encoding="utf-8")
    import skimage  # dev extra

    for name in SCIKIT_IMAGE:
        picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        picture.save(args.out / "validation" / f"scikit-image-{Path(name).stem}.jpg", quality=92)
    held_out = validation + len(SCIKIT_IMAGE)
    log.info("%d photos, %d for validation, %d stamps, %d sprites", photos, held_out, stamps, sprites)


if __name__ == "__main__":
    main()
