"""A film as small as a channel takes it: the same frames at a bit rate that fits, encoded once and kept.

python -m bot.shrink FILM BYTES OUT     exit code 0: OUT has at most BYTES; 3: it cannot be that small
"""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from pathlib import Path

import av

from storage.footage import VideoFacts, opened, probe, read_comment
from storage.media import Media
from storage.schema import Take
from storage.timeline import FPS

log = logging.getLogger(__name__)
LEAST_BITS = 0.035  # a pixel; below it fewer pixels look better than coarser ones (docs/lab.md)
SHORTEST_SIDE = 128  # pixels; a film that does not fit with so few is not worth seeing
CONTAINER_BYTES = 4096, 24  # of an MP4 file, and for every frame of its index
AIM, TRIES = 0.97, 3  # x264 meets its bit rate within a few percent
# The first pass only learns where bits are needed: as in x264's own fast first pass.
FIRST_PASS = "pass=1:ref=1:8x8dct=0:partitions=none:me=dia:subme=2:trellis=0"
CANNOT = 3  # exit code
KEPT_SECONDS = 7 * 86400.0  # that a copy is kept after it was last sent
MP4 = {"movflags": "+faststart", "movie_timescale": "16384"}  # the index first; whole ticks, so that no frame is cut


@dataclass(frozen=True)
class Target:
    """What a film is encoded to: bits a second, and pixels."""

    rate: int
    width: int
    height: int


def target_of(facts: VideoFacts, most_bytes: float) -> Target | None:
    """The best target for so many bytes of film; None if there is none worth seeing.

    The size stays as long as every pixel gets LEAST_BITS; from there on it shrinks with the bit rate.
    """
    rate = AIM * 8 * most_bytes / facts.seconds
    if rate <= 0:
        return None
    bits = rate / (facts.width * facts.height * facts.fps)
    scale = min(1.0, sqrt(bits / LEAST_BITS))
    width, height = (max(2, round(side * scale / 2) * 2) for side in (facts.width, facts.height))
    if min(width, height) < min(SHORTEST_SIDE, facts.width, facts.height):
        return None
    return Target(round(rate), width, height)


def shrink(film: Path, most_bytes: int, out: Path) -> bool:
    """Encode a film anew so that it has at most `most_bytes`. Frames, time and plan stay. False: that cannot be."""
    facts, comment = probe(film), read_comment(film) or ""
    fixed, each = CONTAINER_BYTES
    room: float = most_bytes - fixed - each * facts.seconds * facts.fps - len(comment.encode())
    for _ in range(TRIES):
        target = target_of(facts, room)
        if target is None:
            break
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".shrink-") as folder:
            made = Path(folder) / "film.mp4"
            for told in (FIRST_PASS, "pass=2"):
                _encode(film, target, f"{told}:stats={folder}/stats", made, comment)
            size = made.stat().st_size
            if size <= most_bytes:
                made.replace(out)
                return True
        room *= 0.95 * most_bytes / size
    return False


def _encode(film: Path, target: Target, x264: str, out: Path, comment: str) -> None:
    """All frames of a film, as players want them."""
    options = {"preset": "medium", "profile": "high", "x264-params": x264}
    with opened(film) as (source, stream), av.open(f"file:{out}", "w", format="mp4", options=MP4) as output:
        output.metadata["comment"] = comment
        fps = round(stream.average_rate or FPS)
        coded = output.add_stream("libx264", rate=fps, options=options)
        coded.width, coded.height, coded.pix_fmt = target.width, target.height, "yuv420p"
        coded.bit_rate = target.rate
        coded.codec_context.time_base = Fraction(1, fps)
        for number, frame in enumerate(source.decode(stream)):
            scaled = frame.reformat(width=target.width, height=target.height, format="yuv420p")
            scaled.pts, scaled.time_base = number, Fraction(1, fps)
            output.mux(coded.encode(scaled))
        output.mux(coded.encode())


class Copies:
    """Films that were made smaller, kept for the next time. One is made at a time, by a process of low priority."""

    def __init__(self, media: Media, folder: Path) -> None:
        self._media = media
        self._folder = folder
        self._busy = asyncio.Lock()

    async def fitting(self, take: Take, most_bytes: int) -> Path | None:
        """A file of at most `most_bytes` that shows a take: the film itself if it fits. None if there is none."""
        film = self._media.path(take.film.video)
        if film.stat().st_size <= most_bytes:
            return film
        copy = self._folder / f"{take.film.video}-{most_bytes}.mp4"
        async with self._busy:
            if copy.is_file():
                os.utime(copy)
                return copy
            await asyncio.to_thread(self._sweep)
            return copy if await _shrunk(film, most_bytes, copy) else None

    def _sweep(self) -> None:
        """Remove what was not sent for a week."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(".shrink-*"):  # by a process that was killed: one is made at a time
            shutil.rmtree(left)
        for copy in self._folder.glob("*.mp4"):
            if time.time() - copy.stat().st_mtime > KEPT_SECONDS:
                copy.unlink(missing_ok=True)


async def _shrunk(film: Path, most_bytes: int, out: Path) -> bool:
    """Run this module as a process, which dies with whoever waits for it."""
    command = [sys.executable, "-m", "bot.shrink", str(film), str(most_bytes), str(out)]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code not in (0, CANNOT):
        log.error("%s could not be made smaller: exit code %d", film, code)
    return code == 0


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    sys.exit(0 if shrink(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])) else CANNOT)
