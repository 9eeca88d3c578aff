"""Pictures: any image file as an upright RGB picture, and the one way in which pictures and frames meet a size.

NOTE: this is imported anew for every file that a person hands in (storage/sandboxed.py), so it needs little: no numpy,
and no words of the schema. Files of strangers come here in that process alone, never in ours.
"""

import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Protocol

from PIL import AvifImagePlugin, Image, ImageCms, ImageOps, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Resampling, Transpose

from storage.errors import UserError

DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # greyscale of 16 bits
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")  # few: some of the others run other programs
PLUGINS = AvifImagePlugin, TiffImagePlugin, WebPImagePlugin  # imported, or Pillow knows only the others by name
KNOWN = "PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP"
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


class Sides(Protocol):
    """A size in pixels, like the schema's."""

    @property
    def width(self) -> int:
        """From left to right."""

    @property
    def height(self) -> int:
        """From top to bottom."""


def load_picture(path: Path, most_pixels: int = MOST_PIXELS, longest_side: int | None = None) -> Image.Image:
    """The picture in `path`: RGB of 8 bits, upright, in sRGB; the first frame of an animation.

    Transparent pixels are laid over white. A colour profile is honoured, so that a wide-gamut photo keeps its colours.
    With `longest_side`, a larger picture is made that long.
    """
    with path.open("rb"):  # a missing file is our mistake, not a person's
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower, and checked next
            with Image.open(path, formats=FORMATS) as picture:
                _require_pixels(picture.size, most_pixels)
                picture.load()
                turn, small = UPRIGHT.get(_orientation(picture)), _shrunk(picture, longest_side)
                upright = small if turn is None else small.transpose(turn)
    except Image.DecompressionBombError as error:
        raise UserError(_too_many(most_pixels)) from error
    except DAMAGE as error:
        raise UserError(f"The file cannot be read as a picture: damaged, cut off, or no {KNOWN}.") from error
    return _as_rgb(upright)


def is_animated(path: Path) -> bool:
    """Whether there is more in a picture file than the picture that is shown: the frames of an animation, or pages.

    What phones keep beside a photo (its depth, a darker copy) is neither.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.format != "MPO" and bool(getattr(picture, "is_animated", False))
    except DAMAGE:  # its first frame is whole, the rest is not
        return True


def is_picture(path: Path) -> bool:
    """Whether `path` begins as a picture that `load_picture` knows, rather than as a video, say."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (*DAMAGE, Image.DecompressionBombError):
        return False


def cover(picture: Image.Image, size: Sides) -> Image.Image:
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


def _shrunk(picture: Image.Image, longest_side: int | None) -> Image.Image:
    """A copy that outlives the file. It is shrunk before it is turned and converted, which take memory by the pixel."""
    if longest_side is None or max(picture.size) <= longest_side or picture.mode == "F":
        return picture.copy()
    plain = _plain(picture)
    plain.thumbnail((longest_side, longest_side))
    return plain.copy()


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in a mode whose pixels can be mixed: a palette's numbers and 16 bits cannot."""
    if picture.mode in DEEP_MODES:
        whole = picture if picture.mode == "I" else picture.convert("I")
        return whole.point(lambda level: level * (1 / 257) + 0.5).convert("L")  # 65535 -> 255
    if picture.has_transparency_data:
        return picture if picture.mode == "RGBA" else picture.convert("RGBA")
    return picture.convert("RGB") if picture.mode in ("P", "1") else picture


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in DEEP_MODES:
        return _plain(picture).convert("RGB")
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
