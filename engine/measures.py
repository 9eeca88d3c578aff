"""A number for every seam, and for how far a film's colours have drifted. Measuring changes nothing.

# F frames, H W height and width; frames are uint8 [F, H, W, 3] in RGB, as they are shown before the film is finished
#
#   window before   ... 77 78 79 80 |            its last four frames,
#   this window         77 78 79 80 | 81 82 ...  and the same four as this window is decoded behind them
#
# The film cuts at the bar. Both sides decode the same tail, but from another past (engine.condition.in_film): what they
# differ by is the jump from 80 to 81, since this window's 80 and 81 are decoded in one go.
"""

import math

import numpy as np

from engine.colours import mean_lab
from storage.footage import Frames
from storage.schema import Measured, Seam

IDENTICAL = 100.0  # dB, of frames that do not differ
STEP = 4  # of a window's frames, and of their rows and columns half as many, enter its mean colour


def measured(number: int, shown: Frames, seam: Seam | None, before: tuple[Measured, ...]) -> Measured:
    """What there is to say of window `number` of the whole film. shown: [F, H, W, 3], `before`: the windows before"""
    colour = mean_lab(shown[::STEP, :: STEP // 2, :: STEP // 2])
    drift = math.dist(colour, before[0].colour) if before else 0.0
    return Measured(window=number, colour=colour, drift=drift, seam=seam)


def seam_between(before: Frames, repeated: Frames) -> Seam:
    """How the same moments differ across a join, and the last of them in its mean colour. [F, H, W, 3] each"""
    error = float(np.mean((before.astype(np.float32) - repeated) ** 2))
    psnr = min(IDENTICAL, 10 * math.log10(255**2 / error)) if error else IDENTICAL
    return Seam(psnr=psnr, colour=math.dist(mean_lab(before[-1:]), mean_lab(repeated[-1:])))
