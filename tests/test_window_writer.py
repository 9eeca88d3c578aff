"""Laws of the thread that writes windows: it waits for nobody, and nobody's work is lost."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filming import SIZE, film_plan, window

from engine.darkroom import Developing, Exposed
from engine.folder import Handover, Shown, WorkFolder
from engine.segments import write_segment
from engine.writer import WindowWriter
from storage.footage import Frames, probe

HANDOVER = Handover(torch.ones(1, 16, 1, 6, 8), torch.zeros(1, 16, 1, 6, 8))


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "work", film_plan([window(1), window(2)]))


def frames(seed: int) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (9, SIZE.height, SIZE.width, 3), dtype=np.uint8)


def later(go: threading.Event, seed: int) -> Iterator[Frames]:
    """Frames that come when they may; the test would hang, not pass, if `write` waited for them."""
    assert go.wait(60)
    yield frames(seed)


def exposed(chunks: Iterable[Frames]) -> Callable[[], Exposed]:
    def develop() -> Developing:
        yield from chunks
        return Shown()

    return lambda: Exposed(develop, lambda frames: frames)


def test_a_window_is_written_while_other_work_goes_on(folder: WorkFolder, tmp_path: Path):
    told: list[int] = []
    go = threading.Event()
    with WindowWriter(folder, SIZE, told.append, beside=True) as writer:
        writer.write(1, HANDOVER, exposed(later(go, seed=1)))
        writer.tell()
        assert (told, folder.has(1)) == ([], False)
        go.set()
        writer.write(2, HANDOVER, exposed([frames(2)]))
        assert (told, folder.has(1)) == ([1], True), "one at a time, each told of when it is kept"
    assert (told, folder.has(2)) == ([1, 2], True)
    for number in (1, 2):
        write_segment([frames(number)], SIZE, tmp_path / "alone.mp4")
        assert folder.segment(number).read_bytes() == (tmp_path / "alone.mp4").read_bytes()


def test_what_was_written_meanwhile_is_told_of_when_asked_and_once(folder: WorkFolder):
    told: list[int] = []
    with WindowWriter(folder, SIZE, told.append) as writer:
        writer.write(1, HANDOVER, exposed([frames(1)]))
        while not told:
            writer.tell()
        writer.tell()
    assert told == [1]


def test_a_window_that_was_begun_is_kept_whatever_ends_the_render(folder: WorkFolder):
    told: list[int] = []
    go = threading.Event()

    def stopped() -> None:
        with WindowWriter(folder, SIZE, told.append, beside=True) as writer:
            writer.write(1, HANDOVER, exposed(later(go, seed=1)))
            go.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (told, folder.has(1)) == ([1], True)
    kept = folder.handover(1, torch.device("cpu"))
    assert torch.equal(kept.anchor, HANDOVER.anchor)


def test_what_goes_wrong_in_the_thread_is_raised_outside_and_nothing_is_told(folder: WorkFolder):
    told: list[int] = []
    with pytest.raises(ValueError, match="frames must be uint8"), WindowWriter(folder, SIZE, told.append) as writer:
        writer.write(1, HANDOVER, exposed([frames(1)[:, 1:]]))
    assert (told, folder.has(1), folder.segment(1).exists()) == ([], False, False)


@pytest.mark.parametrize("beside", [True, False])
def test_a_window_is_developed_beside_other_work_where_there_is_room_for_it(folder: WorkFolder, beside: bool):
    go, threads = threading.Event(), []

    def chunks() -> Iterator[Frames]:
        assert not beside or go.wait(60)
        threads.append(threading.current_thread())
        yield frames(1)

    with WindowWriter(folder, SIZE, lambda _: None, beside=beside) as writer:
        writer.write(1, HANDOVER, exposed(chunks()))
        assert threads == ([] if beside else [threading.main_thread()])
        go.set()
    assert len(threads) == 1
    assert (threads[0] is threading.main_thread()) != beside
    assert folder.has(1)


@pytest.mark.parametrize("beside", [True, False])
def test_frames_are_written_while_others_are_still_developed(folder: WorkFolder, beside: bool):
    taken = threading.Event()

    def chunks() -> Iterator[Frames]:
        yield frames(1)[:4]
        assert taken.wait(60), "nobody took the first chunk while the window was being developed"
        yield frames(1)[4:]

    def finish(chunks: Iterable[Frames]) -> Iterator[Frames]:
        for chunk in chunks:
            yield chunk
            taken.set()

    with WindowWriter(folder, SIZE, lambda _: None, beside=beside) as writer:
        writer.write(1, HANDOVER, lambda: replace(exposed(chunks())(), finish=finish))
    assert probe(folder.segment(1)).frames == 9


@pytest.mark.parametrize("beside", [True, False])
def test_a_window_that_cannot_be_developed_is_not_kept_and_said_outside(folder: WorkFolder, beside: bool):
    def chunks() -> Iterator[Frames]:
        yield frames(1)
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError), WindowWriter(folder, SIZE, print, beside=beside) as writer:
        writer.write(1, HANDOVER, exposed(chunks()))
    assert not folder.has(1)
    assert not folder.segment(1).exists()


def test_what_is_done_aside_is_done_before_the_windows_that_follow(folder: WorkFolder):
    told: list[int] = []
    go = threading.Event()
    with WindowWriter(folder, SIZE, told.append) as writer:
        done = writer.aside(lambda: go.wait(60) and list(told))
        writer.write(1, HANDOVER, exposed([frames(1)]))
        assert (done.done(), folder.has(1)) == (False, False)
        go.set()
        assert done.result() == []
    assert told == [1]
