"""How long a render still takes, from how long its own steps and decodes took."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from storage.schema import Progress, Stage


@dataclass
class Pace:
    """Learns from the progress that it is shown; one a worker, so that the second job knows what the first one cost.

    Only differences between two reports of the same render are measured; `now` is a clock in seconds.
    """

    now: Callable[[], float] = time.monotonic
    step_seconds: float | None = None
    decode_seconds: float = 0.0
    _last: tuple[Progress, float] | None = field(default=None, init=False)

    def start(self) -> None:
        """Forget the render before: the time between two jobs is nobody's step."""
        self._last = None

    def timed(self, progress: Progress) -> Progress:
        """The same progress with the seconds that are left, once a step was measured."""
        if progress.stage is Stage.RESTORING:  # another film, whose steps may cost something else
            self._last = None
            return progress
        now = self.now()
        if self._last is not None:
            self._learn(*self._last, progress, now)
        self._last = progress, now
        if self.step_seconds is None:
            return progress
        return progress.model_copy(update={"seconds_left": round(self._left(progress, self.step_seconds), 1)})

    def _learn(self, before: Progress, then: float, after: Progress, now: float) -> None:
        if before.stage is Stage.DECODING:
            self.decode_seconds = now - then
        elif before.stage is Stage.DENOISING and before.window == after.window and after.step > before.step:
            self.step_seconds = (now - then) / (after.step - before.step)

    def _left(self, progress: Progress, step_seconds: float) -> float:
        if progress.stage is Stage.JOINING:
            return 0.0
        windows_after = progress.windows - progress.window
        steps = windows_after * progress.steps + progress.steps - progress.step
        decodes = windows_after + (progress.stage is not Stage.FILMED)
        return steps * step_seconds + decodes * self.decode_seconds
