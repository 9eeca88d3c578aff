"""Windows are written beside the denoising of the next one: encoding takes cores, and no GPU."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

from engine.darkroom import Developed
from engine.folder import Handover, WorkFolder
from engine.segments import write_segment
from storage.schema import Size
from storage.timeline import FPS


@dataclass
class WindowWriter:
    """Writes one window at a time in a thread of its own, and leaves what it does there to nobody else.

    `on_written` is told of each window, in order, in the thread of whoever calls; so is what went wrong. Leaving the
    block waits for what was begun, also where an error leaves it: a window that was denoised is kept. With `beside`,
    windows are developed in that thread, too.
    """

    folder: WorkFolder
    size: Size
    on_written: Callable[[int], None]
    fps: int = FPS
    beside: bool = False
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "writer"), init=False)
    _begun: tuple[int, Future[None]] | None = field(default=None, init=False)

    def __enter__(self) -> "WindowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._thread:
            self._wait()

    def write(self, number: int, handover: Handover, develop: Callable[[], Developed]) -> None:
        """Begin to write window `number`, which hands `handover` on, once the one before is written."""
        self._wait()
        developed = None if self.beside else develop()
        self._begun = (
            number,
            self._thread.submit(self._write, number, handover.on_host(), lambda: developed or develop()),
        )

    def tell(self) -> None:
        """Tell of a window that has been written meanwhile, if there is one."""
        if self._begun is not None and self._begun[1].done():
            self._wait()

    def _wait(self) -> None:
        if self._begun is not None:
            (number, written), self._begun = self._begun, None
            written.result()
            self.on_written(number)

    def _write(self, number: int, handover: Handover, develop: Callable[[], Developed]) -> None:
        developed = develop()
        write_segment(developed.frames, self.size, self.folder.segment(number), self.fps)
        self.folder.finish(number, handover, developed.shown)
