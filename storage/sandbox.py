"""Files of strangers, decoded in a process of their own that gets little memory and time.

Whatever a decoder does over a broken or hostile file stays in there: it may crash, hang or want all memory, and a
person reads one sentence. What comes out is raw pixels and a few numbers, checked here, so that nothing that the file's
author wrote reaches another decoder. The other end is storage/sandboxed.py.

The pictures in the media store are encoded by us from those pixels: whoever reads them there (the director's look, a
worker) needs no such process. A video is kept as it came, so whoever decodes one asks here.
"""

import errno
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Annotated

import numpy as np
from PIL import Image
from pydantic import Field, ValidationError

from storage.errors import UserError
from storage.footage import Frames, VideoFacts
from storage.pictures import MOST_PIXELS
from storage.sandboxed import Box, Question, What
from storage.schema import Size, Value

SECONDS = 8.0  # for a part of an answer, the start of the process included
CPU_SECONDS = 6
ALL_FRAMES_CPU_SECONDS = 4 * 3600  # of the longest video; each has SECONDS of its own
PICTURE_BYTES = 2**28, 24  # of memory: for the process, and for every pixel that a picture may have
VIDEO_BYTES = 2**31
LONGEST_LINE = 2**22  # bytes: a plan of hundreds of windows may be a video's comment
DAMAGED = "The file cannot be read: it is damaged, or made to do harm."
TOO_SLOW = f"The file cannot be read within {SECONDS:g} seconds, and no file may take longer."
# Not ours, in which a token and keys may be; and one thread, so that memory does not grow with the processors.
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


class Said(Value):
    """A part of an answer, as its line of JSON says it; `bytes` raw ones follow."""

    ready: bool = False
    still: bool = False
    error: str | None = None
    picture: tuple[int, int] | None = None
    animated: bool = False
    facts: VideoFacts | None = None
    comment: str | None = None
    frames: int = 0
    bytes: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Upload:
    """A picture as it is shown, and whether its file holds more of them."""

    picture: Image.Image
    animated: bool


def is_picture(path: Path) -> bool:
    """Whether a file begins as a picture, rather than as a video, say."""
    said, _ = _answer(Question("kind", _there(path), VIDEO_BYTES, CPU_SECONDS), most_bytes=0)
    return said.still


def read_picture(path: Path, most_pixels: int = MOST_PIXELS, longest_side: int = 2560) -> Upload:
    """The picture in a file as `storage.pictures.load_picture` reads it, at most `longest_side` pixels long."""
    fixed, each = PICTURE_BYTES
    memory = fixed + each * most_pixels
    question = Question("picture", _there(path), memory, CPU_SECONDS, most_pixels, longest_side)
    said, data = _answer(question, most_bytes=3 * longest_side**2)
    width, height = said.picture or (0, 0)
    _require(0 < min(width, height) <= max(width, height) <= longest_side and len(data) == 3 * width * height)
    return Upload(Image.frombytes("RGB", (width, height), data), said.animated)


def probe(path: Path) -> tuple[VideoFacts, str | None]:
    """What the video in a file is, and the comment in it."""
    said, _ = _answer(Question("facts", _there(path), VIDEO_BYTES, CPU_SECONDS), most_bytes=0)
    if said.facts is None:
        raise UserError(DAMAGED)
    return said.facts, said.comment


def read_frames(path: Path, keep_frames: int | None, size: Size) -> Iterator[Frames]:
    """The kept frames of a video at `size`, one by one: [H, W, 3]"""
    question = _of_video("frames", path, keep_frames, size)
    with closing(_answers(question, most_bytes=3 * size.width * size.height)) as parts:
        for said, data in parts:
            yield _frames(said, data, size)[0]


def read_tail(path: Path, frames: int, keep_frames: int | None, size: Size) -> Frames:
    """The last `frames` of the kept frames of a video at `size`, or all of a shorter one: [F, H, W, 3]"""
    question = _of_video("tail", path, keep_frames, size, frames)
    return _frames(*_answer(question, most_bytes=frames * 3 * size.width * size.height), size)


def read_part(path: Path, begin: int, frames: int, size: Size) -> Frames:
    """At most `frames` frames of a video from number `begin`, from 0, at `size`: [F, H, W, 3]. F is 0 behind it."""
    question = replace(_of_video("part", path, None, size, frames), begin=begin)
    return _frames(*_answer(question, most_bytes=frames * 3 * size.width * size.height), size)


# ---- inside ----

Part = tuple[Said, bytes]


def _there(path: Path) -> str:
    """The file's name for the other process; OSError if it cannot be opened, which is not the file's fault."""
    if not path.is_file():  # to open a pipe would wait for its writer
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    with path.open("rb"):
        return str(path.absolute())


def _of_video(what: What, path: Path, keep_frames: int | None, size: Size, count: int = 0) -> Question:
    return Question(
        what, _there(path), VIDEO_BYTES, ALL_FRAMES_CPU_SECONDS,
        keep_frames=keep_frames, count=count, size=Box(size.width, size.height),
    )  # fmt: skip


def _frames(said: Said, data: bytes, size: Size) -> Frames:
    _require(said.frames >= 0 and len(data) == said.frames * 3 * size.width * size.height)
    return np.frombuffer(data, np.uint8).reshape(said.frames, size.height, size.width, 3)


def _require(sound: bool) -> None:
    """UserError for an answer that cannot be: who was taken over in there may say anything."""
    if not sound:
        raise UserError(DAMAGED)


def _answer(question: Question, most_bytes: int) -> Part:
    """An answer of one part."""
    with closing(_answers(question, most_bytes)) as parts:
        part = next(parts, None)
    if part is None:
        raise UserError(DAMAGED)
    return part


def _answers(question: Question, most_bytes: int) -> Generator[Part, None, None]:
    """The parts of an answer, of at most `most_bytes` each. The process ends with the last one, or when no more are
    wanted. UserError when it says that the file is at fault, and when it dies of it."""
    with tempfile.TemporaryFile() as complaints:
        command = [sys.executable, "-P", "-m", "storage.sandboxed", json.dumps(asdict(question))]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=ENVIRONMENT
        )
        assert process.stdout is not None
        try:
            pipe = _Pipe(process.stdout)
            if pipe.part(0) is None:
                raise RuntimeError(f"the reader of files does not start: {_last_line(complaints)}")
            while (part := pipe.part(most_bytes)) is not None:
                if part[0].error is not None:
                    raise UserError(part[0].error)
                yield part
                pipe.more_time()
            if code := process.wait(SECONDS):
                raise UserError(TOO_SLOW if code == -signal.SIGXCPU else DAMAGED)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class _Pipe:
    """Reads parts from the other process, each within its time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream.fileno()
        self._read = bytearray()
        self.more_time()

    def more_time(self) -> None:
        """The next part has its time from now on."""
        self._deadline = time.monotonic() + SECONDS

    def part(self, most_bytes: int) -> Part | None:
        """The next part, with at most so many raw bytes; None where the stream ends."""
        while b"\n" not in self._read:
            _require(len(self._read) <= LONGEST_LINE)
            if not self._fill():
                return None
        line, _, self._read = self._read.partition(b"\n")
        try:
            said = Said.model_validate_json(line)
        except ValidationError as error:
            raise UserError(DAMAGED) from error
        _require(said.bytes <= most_bytes)
        while len(self._read) < said.bytes:
            _require(self._fill())
        data, self._read = bytes(self._read[: said.bytes]), self._read[said.bytes :]
        return said, data

    def _fill(self) -> bool:
        """Read what there is; False at the end of the stream."""
        ready, _, _ = select.select([self._stream], [], [], max(0.0, self._deadline - time.monotonic()))
        if not ready:
            raise UserError(TOO_SLOW)
        some = os.read(self._stream, 2**20)
        self._read += some
        return bool(some)


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    return (complaints.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
