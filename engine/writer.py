"""Windows are written while they are decoded, and while the next one is denoised: encoding takes cores, and no GPU."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event
from types import TracebackType
from typing import Any, TypeVar

from engine.darkroom import Developing, Exposed
from engine.folder import Handover, Shown, WorkFolder
from engine.segments import write_segment
from storage.footage import Frames
from storage.schema import Size
from storage.timeline import FPS

Result = TypeVar("Result")


class Reel:
    """A window's frames on their way from who develops them to who writes them, in another thread."""

    def __init__(self) -> None:
        self._wound: SimpleQueue[Frames | Shown | BaseException] = SimpleQueue()
        self._shown: Shown | None = None

    def wind(self, developing: Developing) -> None:
        """Put on everything that comes. What goes wrong is raised here and at the other end."""
        try:
            while True:
                self._wound.put(next(developing))
        except StopIteration as end:
            self._wound.put(end.value)
        except BaseException as error:
            self._wound.put(error)
            raise

    def __iter__(self) -> Iterator[Frames]:
        """Chunks [F, H, W, 3], each when it is there."""
        while not isinstance(one := self._wound.get(), Shown):
            if isinstance(one, BaseException):
                raise one
            yield one
        self._shown = one

    @property
    def shown(self) -> Shown:
        """What the film shows with the window, once all of it was taken from the reel."""
        assert self._shown is not None
        return self._shown


@dataclass
class WindowWriter:
    """Writes one window at a time in a thread of its own, and leaves what it does there to nobody else.

    `on_written` is told of each window, in order, in the thread of whoever calls; so is what went wrong. Leaving the
    block waits for what was begun, also where an error leaves it: a window that was denoised is kept. Then
    nothing else is `wanted` any more. With `beside`, windows are developed in a thread, too; without, `write` comes
    back when that is done.
    """

    folder: WorkFolder
    size: Size
    on_written: Callable[[int], None]
    fps: int = FPS
    beside: bool = False
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "writer"), init=False)
    _developer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "developer"), init=False)
    _begun: tuple[int, Future[None]] | None = field(default=None, init=False)
    _aside: Future[Any] | None = field(default=None, init=False)
    _left: Event = field(default_factory=Event, init=False)

    def __enter__(self) -> "WindowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._left.set()
        with self._writer, self._developer:
            self._wait()

    def aside(self, work: Callable[[], Result]) -> "Future[Result]":
        """Something that is to be done in the writer's thread, before the windows that follow. What goes wrong is
        raised with the next window, or before it by `tell`; what takes long asks whether it is still `wanted`."""
        self._aside = done = self._writer.submit(work)
        return done

    def wanted(self) -> bool:
        """Whether no error has left the block, so that what is done aside serves somebody."""
        return not self._left.is_set()

    def write(self, number: int, handover: Handover, expose: Callable[[], Exposed]) -> None:
        """Begin to develop and write window `number`, which hands `handover` on, once the one before is written."""
        self._wait()
        self._look_aside()
        window, reel = expose(), Reel()
        frames = window.finish(reel)
        self._begun = number, self._writer.submit(self._write, number, handover.on_host(), frames, reel)
        if self.beside:
            self._developer.submit(reel.wind, window.develop())
        else:
            reel.wind(window.develop())

    def tell(self) -> None:
        """Tell of a window that has been written meanwhile, if there is one."""
        if self._begun is not None and self._begun[1].done():
            self._wait()
        self._look_aside()

    def _look_aside(self) -> None:
        if self._aside is not None and self._aside.done():
            self._aside.result()

    def _wait(self) -> None:
        if self._begun is not None:
            (number, written), self._begun = self._begun, None
            written.result()
            self.on_written(number)

    def _write(self, number: int, handover: Handover, frames: Iterable[Frames], reel: Reel) -> None:
        write_segment(frames, self.size, self.folder.segment(number), self.fps)
        self.folder.finish(number, handover, reel.shown)
