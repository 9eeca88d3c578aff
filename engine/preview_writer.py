"""The window under way as a picture, written now and then while it is denoised, for whoever watches."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.folder import Handover, WorkFolder
from engine.pixels import frames_to_pixels, picture_to_pixels
from engine.preview import Previewer, fitted_preview, preview_strip
from storage.disk import whole
from storage.pictures import load_picture
from storage.schema import Plan, StartImage

log = logging.getLogger("longtake.preview")

PAUSE_SECONDS = 3.0  # at least, before the first picture of a window and between two
SHARE = 0.01  # at most, of the time that the window has taken so far


@dataclass
class PreviewWriter:
    """Draws what a window looks like so far, with `previewer`, or with a map that is fitted to what the window begins
    from. No film needs it: where it fails, that is logged, and the render goes on without.

    What the next picture will cost, the last one tells; half of it in a new window, lest one slow picture be the last.
    """

    folder: WorkFolder
    plan: Plan
    previewer: Previewer | None = None
    now: Callable[[], float] = time.monotonic
    spent: float = field(default=0.0, init=False)  # seconds, in this window
    _cost: float = field(default=0.0, init=False)
    _window: "_Window | None" = field(default=None, init=False)
    _failed: bool = field(default=False, init=False)

    def begin(self, number: int, handover: Handover) -> None:
        """Window `number` of the plan, which begins from `handover`, is denoised from now on."""
        began = self.now()
        self._window = _Window(number, handover, began, last=began, previewer=self.previewer)
        self._cost /= 2
        self.spent = 0.0

    def see(self, step: int, video: Tensor) -> None:
        """After step number `step`, from 1: draw what it saw, if it is time. video: [B, 16, T, h, w]"""
        window = self._window
        if window is None or self._failed or step >= self.plan.sampling.steps or not self._due(window):
            return
        if video.is_cuda:  # the step's own work is not the picture's
            torch.cuda.synchronize(video.device)
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
        if window.previewer is None:
            window.previewer = fitted_preview(*self._known(window))
        strip = preview_strip(video, window.previewer, continues=window.handover.tail is not None)
        with whole(self.folder.preview(window.number), lasting=False) as partial:
            strip.save(partial, "JPEG", quality=85)

    def _known(self, window: "_Window") -> tuple[Tensor, Tensor]:
        """A latent frame of which the picture is known: the tail, or the anchor of a film's first window.

        -> [1, 16, 1, h, w] and [1, 3, 1, H, W]
        """
        handover = window.handover
        if handover.tail is not None:
            assert handover.shown is not None, "a tail comes with the frames that show it"
            return handover.tail, frames_to_pixels(handover.shown[-1:])
        assert isinstance(self.plan.source, StartImage), "without a tail, a film begins from a picture"
        picture = self.folder.media(self.plan.windows[window.number - 1].anchor or self.plan.source.image)
        longest_side = max(self.plan.size.width, self.plan.size.height)
        return handover.anchor, picture_to_pixels(load_picture(picture, longest_side=longest_side), self.plan.size)


@dataclass
class _Window:
    """The window that is denoised: when it began, and when its last picture was drawn."""

    number: int
    handover: Handover
    began: float
    last: float
    previewer: Previewer | None
