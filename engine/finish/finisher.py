"""A plan's finish, ready to be used. See engine/finish."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from engine.finish.enlarging import enlarger
from engine.finish.filters import cleaner
from engine.finish.grain import Grain
from engine.finish.interpolation import interpolator
from storage.footage import Frames
from storage.schema import Finish, Plan, Size

Single = Callable[[Frames], Frames]  # one frame [H, W, 3] -> one frame
Between = Callable[[Frames, Frames], Iterable[Frames]]  # two neighbours [H, W, 3] -> what comes between them, in order


@dataclass(frozen=True)
class Finisher:
    """Finishes the frames of one film. `size` is that of what comes out."""

    finish: Finish
    size: Size
    clean: Single
    between: Between
    enlarge: Single

    @property
    def fps(self) -> int:
        """Frames a second of what comes out."""
        return self.finish.fps

    @classmethod
    def of(cls, plan: Plan, folder: Path, device: torch.device) -> "Finisher":
        """The finish of a plan; the networks that it names lie in `folder`. UserError when one does not."""
        finish, size = plan.finish, plan.finish.size_of(plan.size)
        return cls(
            finish,
            size,
            clean=cleaner(plan.size, finish.deblocking, finish.denoising),
            between=interpolator(finish.interpolation, finish.interpolator, folder, device),
            enlarge=enlarger(size, finish.upscaler, folder, device),
        )

    def finished(self, chunks: Iterable[Frames], before: Frames | None, seed: int) -> Iterator[Frames]:
        """A window's frames as they are written, while they are asked for. chunks: [F, H, W, 3] -> chunks [1, h, w, 3]

        `before` are the film's frames before, [F, H, W, 3], of which the last one counts; None at the start of a film.
        Between any two filmed frames come those of the interpolation: n frames at the start of a film become
        (n - 1) * interpolation + 1, later ones n * interpolation. `seed` is of the grain.
        """
        grain = Grain(seed, self.finish.grain, self.finish.grain_saturation)
        last = None if before is None else self.clean(before[-1])
        for frame in map(self.clean, chain.from_iterable(chunks)):
            if last is not None:
                for made in self.between(last, frame):
                    yield grain(self.enlarge(made))[None]
            yield grain(self.enlarge(frame))[None]
            last = frame
