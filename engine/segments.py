"""Video files, written: a segment a window, and a film that is its segments' packets in a row.

A segment has an encoder of its own and begins with a key frame, so its bytes depend on its frames alone. A film is
joined without encoding anything again: it can be cut, resumed and continued at every window, and window 3 is the same
whether it was filmed in one go or as a continuation.

# F frames, H W height and width; frames are uint8 [F, H, W, 3] in RGB.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import torch
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from storage import sandbox
from storage.footage import EXACT, Frames, kept_frames, opened
from storage.schema import Size
from storage.timeline import FPS, WINDOW_FRAMES

TICK = Fraction(1, FPS)
B_FRAME_DELAY = 2  # frames that the decoder holds back: x264's B-frames with a pyramid

# NOTE: with AVX-512, x264 165's macroblock tree codes the same frames differently from one run to the next; with AVX2
# it codes them as with all older instructions. A name given here is not checked against the processor.
INSTRUCTIONS = "AVX2" if torch.backends.cpu.get_cpu_capability() == "AVX512" else "auto"
# What browsers and Discord play. The bytes must not depend on the machine, and x264's do on its number of threads.
# "stitchable" keeps the stream's header free of the content, so that segments can share one.
ENCODER = {
    "crf": "18",
    "preset": "medium",
    "profile": "high",
    "threads": "1",
    "x264-params": f"stitchable=1:keyint={WINDOW_FRAMES}:open-gop=0:bframes=3:b-pyramid=normal:asm={INSTRUCTIONS}",
}
# The index first: a browser plays before it has all. A clock of 16384 ticks a second, not 1000, on which a frame has a
# whole number of ticks, so that no rounding cuts into the last one. No bit rate, which would be that of the first part.
MP4 = {"movflags": "+faststart", "movie_timescale": "16384", "write_btrt": "0"}


def write_segment(frames: Iterable[Frames], size: Size, path: Path) -> int:
    """Encode chunks of frames [F, H, W, 3] to `path` while they come. -> number of frames

    `path` appears whole or not at all. Memory does not grow with the length.
    """
    with _whole(path) as partial, av.open(f"file:{partial}", "w", format="mp4", options=MP4) as output:
        return _encode(frames, size, output)


def fitted(video: Path, size: Size, keep_frames: int | None, out: Path) -> Path:
    """The kept frames of `video` as something that joins with segments of `size`. -> `video` itself, or `out`

    A film of Longtake that is kept whole fits as it is. Anything else is encoded anew into `out`, at 16 frames a second
    and without its sound. It may be a stranger's: it is decoded in the sandbox, and opened here only after it was gone
    through there.
    """
    facts, _ = sandbox.probe(video)
    kept_whole = kept_frames(facts.frames, keep_frames) == facts.frames
    if kept_whole and not facts.rotation and _header(video) == _segment_header(size) and _is_film(video):
        return video
    write_segment((frame[None] for frame in sandbox.read_frames(video, keep_frames, size)), size, out)
    return out


def join(parts: Sequence[Path], out: Path, comment: str) -> int:
    """Copy the packets of `parts`, segments or films of segments, in a row. -> number of frames

    Joins are plain cuts. `comment` goes into the file for `read_comment`. `out` appears whole or not at all.
    """
    if not parts:
        raise ValueError("a film has at least one part")
    header = _header(parts[0])
    with _whole(out) as partial, av.open(f"file:{partial}", "w", format="mp4", options=MP4) as output:
        output.metadata["comment"] = comment
        with opened(parts[0]) as (_, template):
            stream = output.add_stream_from_template(template)
        frames = 0
        for part in parts:
            if _header(part) != header:
                raise ValueError(f"{part} is coded unlike {parts[0]}; see fitted()")
            frames += _copy(part, frames, output, stream)
        return frames


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when all is written and on the disk."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _encode(frames: Iterable[Frames], size: Size, output: OutputContainer) -> int:
    stream = output.add_stream("libx264", rate=FPS, options=ENCODER)
    stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
    stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
    stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    stream.codec_context.time_base = TICK
    count, shape = 0, (size.height, size.width, 3)
    for chunk in frames:
        if chunk.dtype != np.uint8 or chunk.shape[1:] != shape:
            raise ValueError(f"frames must be uint8 [F, *{shape}], got {chunk.dtype} {chunk.shape}")
        for rgb in chunk:
            output.mux(stream.encode(_as_yuv(rgb, count)))
            count += 1
    if not count:
        raise ValueError("a segment has at least one frame")
    output.mux(stream.encode())
    return count


def _as_yuv(rgb: Frames, number: int) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=EXACT,
        threads=1,
    )
    frame.pts, frame.time_base = number, TICK
    return frame


@dataclass(frozen=True)
class _Header:
    """What parts of a film must share: one decoder set up by it plays them all."""

    codec: str
    width: int
    height: int
    extradata: bytes | None


def _header(video: Path) -> _Header:
    with opened(video) as (_, stream):
        return _header_of(stream)


def _header_of(stream: VideoStream) -> _Header:
    context = stream.codec_context
    return _Header(context.name, context.width, context.height, context.extradata)


def _segment_header(size: Size) -> _Header:
    """The header of every segment of `size`, by encoding a black frame."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as output:
        _encode([np.zeros((1, size.height, size.width, 3), np.uint8)], size, output)
    file.seek(0)
    with av.open(file, "r") as segment:
        return _header_of(segment.streams.video[0])


def _packets(video: Path) -> Iterator[tuple[Fraction, "Packet[VideoStream]"]]:
    """Packets in the order of decoding, each with its place among the frames at 16 a second."""
    with opened(video) as (container, stream):
        for packet in container.demux(stream):
            if packet.size:
                yield Fraction(-1) if packet.pts is None else packet.pts * packet.time_base * FPS, packet


def _is_film(video: Path) -> bool:
    """Whether there is one packet for every frame at 16 a second, from 0 on."""
    places = sorted(place for place, _ in _packets(video))
    return places == list(range(len(places)))


def _copy(part: Path, first: int, output: OutputContainer, stream: VideoStream) -> int:
    """Add the packets of `part` as the frames from number `first` on. -> number of frames"""
    if not _is_film(part):
        raise ValueError(f"{part} has no regular {FPS} frames a second; see fitted()")
    count = 0
    for place, packet in _packets(part):
        packet.pts, packet.dts = first + int(place), first + count - B_FRAME_DELAY
        packet.time_base, packet.duration, packet.stream = TICK, 1, stream
        output.mux(packet)
        count += 1
    return count
