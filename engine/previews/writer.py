"""The window under way as a picture, written now and then while it is denoised, for whoever watches."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.folder import Handover, Shown, WorkFolder
from engine.pixels import frames_to_pixels, picture_to_pixels
from engine.previews.preview import Previewer, fitted_preview, preview_strip
from storage.disk import whole
from storage.pictures import load_picture
from storage.schema import Plan, StartImage

log = logging.getLogger("longtake.preview")

PAUSE_SECONDS = 3.0  # at least, before the first picture of a window and between two
SHARE = 0.01  # at most, of the time that the window has taken so far


@dataclass
class PreviewWriter:
    """Draws what a window looks like so far, with `previewer`, or with a map that is fitted to what the film begins
    from: its `opening`, and what is `shown` before. No film needs it: where it fails, that is logged, and the render
    goes on without.

    What the next picture will cost, the last one tells; half of it in a new window, lest one slow picture be the last.
    """

    folder: WorkFolder
    plan: Plan
    opening: Handover
    shown: Shown
    previewer: Previewer | None = None
    now: Callable[[], float] = time.monotonic
    spent: float = field(default=0.0, init=False)  # seconds, in this window
    _cost: float = field(default=0.0, init=False)
    _window: "_Window | None" = field(default=None, init=False)
    _failed: bool = field(default=False, init=False)

    def begin(self, number: int, *, continues: bool) -> None:
        """Window `number` of the plan is denoised from now on. Latent frame 0 of one that `continues` is its anchor."""
        began = self.now()
        self._window = _Window(number, continues, began, last=began)
        self._cost /= 2
        self.spent = 0.0

    def see(self, step: int, video: Tensor) -> None:
        """After step number `step`, from 1: draw what it saw, if it is time. video: [B, 16, T, h, w]"""
        window = self._window
        if window is None or self._failed or step >= self.plan.sampling.steps or not self._due(window):
            return
        if video.is_cuda:  # the step's own work is not the picture's
            torch.cuda.current_stream(video.device).synchronize()
        started = self.now()
        try:
            self._draw(window, video)
        except Exception:  # the outermost place: whatever goes wrong here, the film is filmed
            log.exception("no more previews of this film")
            self._failed = True
        window.last = self.now()
        self._cost = window.last - started
        self.spent += self._cost

    def _due(self, window: "_Window") -> bool:
        now = self.now()
        return now - window.last >= PAUSE_SECONDS and self.spent + self._cost <= SHARE * (now - window.began)

    def _draw(self, window: "_Window", video: Tensor) -> None:
        if self.previewer is None:
            self.previewer = fitted_preview(*self._known())
        strip = preview_strip(video, self.previewer, continues=window.continues)
        with whole(self.folder.preview(window.number), lasting=False) as partial:
            strip.save(partial, "JPEG", quality=85)

    def _known(self) -> tuple[Tensor, Tensor]:
        """A latent frame of which the picture is known: the tail that the film goes on from, or its first anchor.

        -> [1, 16, 1, h, w] and [1, 3, 1, H, W]
        """
        if self.opening.tail is not None:
            assert self.shown.frames is not None, "a tail comes with the frames that show it"
            return self.opening.tail, frames_to_pixels(self.shown.frames[-1:])
        assert isinstance(self.plan.source, StartImage), "without a tail, a film begins from a picture"
        longest_side = max(self.plan.size.width, self.plan.size.height)
        picture = load_picture(self.folder.media(self.plan.source.image), longest_side=longest_side)
        return self.opening.anchor, picture_to_pixels(picture, self.plan.size)


@dataclass
class _Window:
    """The window that is denoised: when it began, and when its last picture was drawn."""

    number: int
    continues: bool
    began: float
    last: float
