"""Output sizes: a budget gives the area, the picture gives the aspect."""

import math

from storage.schema import Size, UserError

GRID = 16  # pixels: 8 of the VAE times 2 of the network's patches
LONGEST_ASPECT = 8  # a narrower strip would leave too few pixels across to film anything


def fit_area(width: int, height: int, budget: Size) -> Size:
    """The size with the aspect of `width` x `height` and about the area of `budget`, in multiples of 16.

    s = sqrt(W H / (w h)), each side round(side s / 16) 16: as Wan2.2 reads its size, which sets the area only.

    >>> str(fit_area(1920, 1080, Size(width=832, height=480)))
    '848x480'
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture has at least one pixel a side, got {width}x{height}")
    if max(width, height) > LONGEST_ASPECT * min(width, height):
        raise UserError(f"A picture of {width}x{height} is too narrow to film: at most {LONGEST_ASPECT} : 1, please.")
    scale = math.sqrt(budget.width * budget.height / (width * height))
    return Size(width=_on_grid(width * scale), height=_on_grid(height * scale))


def _on_grid(side: float) -> int:
    return max(1, round(side / GRID)) * GRID
