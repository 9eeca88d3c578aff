"""Windows are written beside the denoising of the next one: encoding takes one core for seconds, and no GPU."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

from engine.folder import Handover, WorkFolder
from engine.segments import write_segment
from storage.footage import Frames
from storage.schema import Size
from storage.timeline import FPS


@dataclass
class WindowWriter:
    """Writes one window at a time in a thread of its own, and leaves what it does there to nobody else.

    `on_written` is told of each window, in order, in the thread of whoever calls; so is what went wrong. Leaving the
    block waits for what was begun, also where an error leaves it: a window that was denoised is kept.
    """

    folder: WorkFolder
    size: Size
    on_written: Callable[[int], None]
    fps: int = FPS
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "writer"), init=False)
    _begun: tuple[int, Future[None]] | None = field(default=None, init=False)

    def __enter__(self) -> "WindowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._thread:
            self._wait()

    def write(self, number: int, frames: Iterable[Frames], handover: Handover) -> None:
        """Begin to write window `number`, once the one before is written. frames: chunks of [F, H, W, 3]

        What is lazy in `frames` is done in the thread, too.
        """
        self._wait()
        self._begun = number, self._thread.submit(self._write, number, frames, handover.on_host())

    def tell(self) -> None:
        """Tell of a window that has been written meanwhile, if there is one."""
        if self._begun is not None and self._begun[1].done():
            self._wait()

    def _wait(self) -> None:
        if self._begun is not None:
            (number, written), self._begun = self._begun, None
            written.result()
            self.on_written(number)

    def _write(self, number: int, frames: Iterable[Frames], handover: Handover) -> None:
        write_segment(frames, self.size, self.folder.segment(number), self.fps)
        self.folder.finish(number, handover)
