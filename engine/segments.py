"""Video files, written: a segment a window, and a film that is its segments' packets in a row.

A segment has an encoder of its own and begins with a key frame, so its bytes depend on its frames alone. A film is
joined without encoding anything again: it can be cut, resumed and continued at every window, and window 3 is the same
whether it was filmed in one go or as a continuation.

# F frames, H W height and width; frames are uint8 [F, H, W, 3] in RGB.
"""

from collections.abc import Iterable, Iterator, Sequence
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
from storage.disk import whole
from storage.footage import EXACT, Frames, kept_frames, opened
from storage.schema import Size
from storage.timeline import FPS, WINDOW_SECONDS, finished_frames

B_FRAME_DELAY = 2  # frames that the decoder holds back: x264's B-frames with a pyramid

# NOTE: with AVX-512, x264 165's macroblock tree codes the same frames differently from one run to the next; with AVX2
# it codes them as with all older instructions. A name given here is not checked against the processor.
INSTRUCTIONS = "AVX2" if torch.backends.cpu.get_cpu_capability() == "AVX512" else "auto"
# What browsers and Discord play. The bytes must not depend on the machine, and x264's do on its number of threads: a
# window takes four of them 0.4 s where one takes 1.5.
# "stitchable" keeps the stream's header free of the content, so that segments can share one.
ENCODER = {
    "crf": "18",
    "preset": "medium",
    "profile": "high",
    "threads": "4",
}
X264 = f"stitchable=1:open-gop=0:bframes=3:b-pyramid=normal:asm={INSTRUCTIONS}"
# The index first: a browser plays before it has all. A clock of 16384 ticks a second, not 1000, on which a frame has a
# whole number of ticks, so that no rounding cuts into the last one. No bit rate, which would be that of the first part.
MP4 = {"movflags": "+faststart", "movie_timescale": "16384", "write_btrt": "0"}


def write_segment(frames: Iterable[Frames], size: Size, path: Path, fps: int = FPS) -> int:
    """Encode chunks of frames [F, H, W, 3] to `path` while they come. -> number of frames

    `path` appears whole or not at all; DiskFull without room. Memory does not grow with the length.
    """
    with whole(path) as partial, av.open(f"file:{partial}", "w", format="mp4", options=MP4) as output:
        return _encode(frames, size, fps, output)


def fitted(
    video: Path, size: Size, keep_frames: int | None, out: Path, fps: int = FPS, frames: Iterable[Frames] | None = None
) -> Path:
    """The kept frames of `video` as something that joins with segments of `size`. -> `video` itself, or `out`

    A film of Longtake that is kept whole fits as it is. Anything else is encoded anew into `out`, without its sound:
    `frames`, which are not asked for before, or else the kept ones at 16 a second. A stranger's is decoded in the
    sandbox, and opened here only after it was gone through there.
    """
    if not _fits(video, size, keep_frames, fps):
        kept = (frame[None] for frame in sandbox.read_frames(video, keep_frames, size)) if frames is None else frames
        write_segment(kept, size, out, fps)
        return out
    return video


def join(parts: Sequence[Path], out: Path, comment: str, fps: int = FPS) -> int:
    """Copy the packets of `parts`, segments or films of segments, in a row. -> number of frames

    Joins are plain cuts. `comment` goes into the file for `read_comment`. `out` appears whole or not at all; DiskFull
    without room.
    """
    if not parts:
        raise ValueError("a film has at least one part")
    header = _header(parts[0])
    with whole(out) as partial, av.open(f"file:{partial}", "w", format="mp4", options=MP4) as output:
        output.metadata["comment"] = comment
        with opened(parts[0]) as (_, template):
            stream = output.add_stream_from_template(template)
        frames = 0
        for part in parts:
            if _header(part) != header:
                raise ValueError(f"{part} is coded unlike {parts[0]}; see fitted()")
            frames += _copy(part, fps, frames, output, stream)
        return frames


def _encode(frames: Iterable[Frames], size: Size, fps: int, output: OutputContainer) -> int:
    options = ENCODER | {"x264-params": f"keyint={round(WINDOW_SECONDS * fps)}:{X264}"}
    stream = output.add_stream("libx264", rate=fps, options=options)
    stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
    stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
    stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    stream.codec_context.time_base = Fraction(1, fps)
    count, shape = 0, (size.height, size.width, 3)
    for chunk in frames:
        if chunk.dtype != np.uint8 or chunk.shape[1:] != shape:
            raise ValueError(f"frames must be uint8 [F, *{shape}], got {chunk.dtype} {chunk.shape}")
        for rgb in chunk:
            output.mux(stream.encode(_as_yuv(rgb, count, Fraction(1, fps))))
            count += 1
    if not count:
        raise ValueError("a segment has at least one frame")
    output.mux(stream.encode())
    return count


def _as_yuv(rgb: Frames, number: int, tick: Fraction) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=EXACT,
        threads=1,
    )
    frame.pts, frame.time_base = number, tick
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


def _segment_header(size: Size, fps: int) -> _Header:
    """The header of every segment of `size` and `fps`, by encoding a black frame."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as output:
        _encode([np.zeros((1, size.height, size.width, 3), np.uint8)], size, fps, output)
    file.seek(0)
    with av.open(file, "r") as segment:
        return _header_of(segment.streams.video[0])


def _fits(video: Path, size: Size, keep_frames: int | None, fps: int) -> bool:
    """Whether a video is a film whose parts are like segments of `size` and `fps`, and all of it is kept."""
    facts, _ = sandbox.probe(video)
    kept_whole = kept_frames(facts.frames, keep_frames) == facts.frames
    if not kept_whole or facts.rotation or _header(video) != _segment_header(size, fps):
        return False
    return _places(video, fps) == list(range(finished_frames(facts.frames, fps // FPS)))


def _packets(video: Path, fps: int) -> Iterator[tuple[Fraction, "Packet[VideoStream]"]]:
    """Packets in the order of decoding, each with its place among the frames."""
    with opened(video) as (container, stream):
        for packet in container.demux(stream):
            if packet.size:
                yield Fraction(-1) if packet.pts is None else packet.pts * packet.time_base * fps, packet


def _places(video: Path, fps: int) -> list[Fraction]:
    """The places of all packets, in order: 0, 1, 2 ... where there is one for every frame."""
    return sorted(place for place, _ in _packets(video, fps))


def _copy(part: Path, fps: int, first: int, output: OutputContainer, stream: VideoStream) -> int:
    """Add the packets of `part` as the frames from number `first` on. -> number of frames"""
    places = _places(part, fps)
    if places != list(range(len(places))):
        raise ValueError(f"{part} has no regular {fps} frames a second; see fitted()")
    for count, (place, packet) in enumerate(_packets(part, fps)):
        packet.pts, packet.dts = first + int(place), first + count - B_FRAME_DELAY
        packet.time_base, packet.duration, packet.stream = Fraction(1, fps), 1, stream
        output.mux(packet)
    return len(places)
