"""The main colours of a picture, in words."""

import colorsys

from PIL import Image

SHADES = 8  # to which a picture is reduced
MOST, LEAST_SHARE = 3, 0.12  # colours that are named, and how much of the picture each must cover
_HUES = (
    (15, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (195, "turquoise"),
    (255, "blue"),
    (290, "purple"),
    (335, "pink"),
    (360, "red"),
)  # degrees, up to which a hue has the name


def main_colours(picture: Image.Image) -> tuple[str, ...]:
    """Up to three colours that cover most of a picture, most of it first.

    >>> main_colours(Image.new("RGB", (8, 8), (200, 30, 30)))
    ('red',)
    """
    small = picture.convert("RGB").resize((64, 64)).quantize(SHADES)
    palette, counts = small.getpalette() or [], small.getcolors() or []
    shares: dict[str, int] = {}
    for count, index in counts:
        assert isinstance(index, int)
        red, green, blue = palette[3 * index : 3 * index + 3]
        name = colour_name(red, green, blue)
        shares[name] = shares.get(name, 0) + count
    ranked = sorted(shares, key=lambda name: -shares[name])
    return tuple(name for name in ranked[:MOST] if shares[name] >= LEAST_SHARE * 64 * 64)


def colour_name(red: int, green: int, blue: int) -> str:
    """The everyday name of a colour of 8 bits a channel."""
    hue, light, strength = colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)
    if light < 0.12:
        return "black"
    if light > 0.92:
        return "white"
    if strength < 0.12:
        return "grey" if light < 0.75 else "light grey"
    name = next(name for limit, name in _HUES if hue * 360 <= limit)
    if name in ("orange", "red", "yellow") and light < 0.4 and strength < 0.75:
        return "brown"
    if name in ("orange", "yellow") and strength < 0.5:
        return "sand"
    return f"dark {name}" if light < 0.25 else f"light {name}" if light > 0.75 else name
