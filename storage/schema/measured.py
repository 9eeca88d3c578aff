"""What was measured of a film's windows while they were filmed."""

from storage.schema.value import Value


class Seam(Value):
    """How well a window repeats what the film showed last before it: the four frames that both of them have.

    `psnr` is in dB, at most 100; `colour` is how far the last one's mean colour is off, in CIE Lab (1976).
    """

    psnr: float
    colour: float


class Measured(Value):
    """A window of a film, by its number in the whole film, from 1.

    `colour` is the mean CIE Lab of the frames that it shows, before the film's finish; `drift` is its distance from
    that of window 1, or of the first window that was measured where the film goes on from something else.
    """

    window: int
    colour: tuple[float, float, float]
    drift: float
    seam: Seam | None = None  # None in a window that continues nothing
