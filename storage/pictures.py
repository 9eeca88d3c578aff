"""Pictures: any image file as an upright RGB picture, and the one way in which pictures and frames meet a size."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.Image import Resampling, Transpose

from storage.schema import Size, UserError

DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # greyscale of 16 bits
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")  # few: some of the others run other programs
KNOWN = "PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP"
Image.init()  # or Pillow knows only some of them by name
DAMAGE = (OSError, SyntaxError, RuntimeError, ValueError, struct.error)  # what Pillow raises over broken files
ORIENTATION = 0x0112  # EXIF's, and what undoes each of its values
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
MOST_PIXELS = 64_000_000
PAPER = (255, 255, 255)  # stands behind transparent pixels


def load_picture(path: Path, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """The picture in `path`: RGB of 8 bits, upright, in sRGB; the first frame of an animation.

    Transparent pixels are laid over white. A colour profile is honoured, so that a wide-gamut photo keeps its colours.
    """
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower, and checked next
            with Image.open(BytesIO(data), formats=FORMATS) as picture:
                _require_pixels(picture.size, most_pixels)
                picture.load()
                turn = UPRIGHT.get(_orientation(picture))
                upright = picture.copy() if turn is None else picture.transpose(turn)
    except Image.DecompressionBombError as error:
        raise UserError(_too_many(most_pixels)) from error
    except DAMAGE as error:
        raise UserError(f"The file cannot be read as a picture: damaged, cut off, or no {KNOWN}.") from error
    return _as_rgb(upright)


def is_picture(path: Path) -> bool:
    """Whether `path` begins as a picture that `load_picture` knows, rather than as a video, say."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (*DAMAGE, Image.DecompressionBombError):
        return False


def cover(picture: Image.Image, size: Size) -> Image.Image:
    """`picture` at exactly `size`, with LANCZOS. Nothing is stretched: what the aspect leaves over is cut off.

    A plan's size normally has the picture's aspect, up to the rounding to 16; other anchors lose their margins.
    """
    return ImageOps.fit(picture, (size.width, size.height), Resampling.LANCZOS)


def _require_pixels(size: tuple[int, int], most_pixels: int) -> None:
    if size[0] * size[1] > most_pixels:
        raise UserError(f"A picture of {size[0]}x{size[1]} is too large. {_too_many(most_pixels)}")


def _too_many(most_pixels: int) -> str:
    return f"A picture may have at most {most_pixels / 10**6:g} million pixels."


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except DAMAGE:  # a whole picture with broken notes
        return 1
    return value if isinstance(value, int) else 1


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in DEEP_MODES:
        levels = np.asarray(picture).astype(np.float64) / 257  # 65535 -> 255
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise UserError("A picture of floating-point numbers has no known white; save it as PNG or JPEG, please.")
    if picture.has_transparency_data:
        solid = Image.new("RGBA", picture.size, (*PAPER, 255))
        return Image.alpha_composite(solid, _in_srgb(picture.convert("RGBA"))).convert("RGB")
    return _in_srgb(picture if picture.mode in ("RGB", "CMYK", "L") else picture.convert("RGB")).convert("RGB")


def _in_srgb(picture: Image.Image) -> Image.Image:
    """`picture` by its own colour profile; without one, or with one that does not fit its mode, as it is."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(picture, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return picture
    assert converted is not None, "not in place, so there is a new picture"
    return converted
