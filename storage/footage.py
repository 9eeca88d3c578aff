"""Video files, read: what they are, and their frames as a film counts them, upright and 16 a second.

A foreign video has a clock of its own: film frame k is its first frame that is not before k / 16 s. As in Wan2GP, the
rates of television count as whole ones (23.976 as 24, 29.97 as 30), so that frames are picked in an even rhythm; a
variable rate is read by its timestamps.

# F frames, H W height and width; frames are uint8 [F, H, W, 3] in RGB.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import islice
from math import floor
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from storage.errors import UserError
from storage.pictures import Sides, cover
from storage.timeline import FPS

Frames = NDArray[np.uint8]

CONTAINERS = "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg"  # no playlists or scripts: those open other files
SLACK = Fraction(1, 1000)  # seconds: some containers round their timestamps to whole milliseconds
TELEVISION = Fraction(2, 1000)  # how far its rates are from whole ones, at most
MOST_SECONDS = 3600
MOST_PIXELS = 8192 * 4320  # of one frame
HD_HEIGHT = 720  # from here on an untagged video is BT.709, below BT.601: as players guess
UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
# Exact on every processor: the same frames give the same bytes.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


@dataclass(frozen=True)
class VideoFacts:
    """What a video file is.

    Width and height are as it is shown, upright; `frames` counts at 16 a second; `fps` is the file's own; `rotation`
    is how far a player turns it, in degrees counter-clockwise.
    """

    width: int
    height: int
    frames: int
    fps: float
    codec: str
    rotation: int

    @property
    def seconds(self) -> float:
        """How long its frames are shown in a film."""
        return self.frames / FPS


@dataclass(frozen=True)
class Clock:
    """Which film frames show the frame at a timestamp of a stream."""

    start: int  # timestamps of the first and the last frame
    last: int
    tick: Fraction  # seconds of the film, for one of the timestamps

    @property
    def frames(self) -> int:
        """Film frames of the whole stream."""
        return self.shown(self.last)

    def shown(self, timestamp: int) -> int:
        """Film frames that show the frame at `timestamp` or an earlier one."""
        return floor(((timestamp - self.start) * self.tick + SLACK) * FPS) + 1

    def before(self, frame: int) -> int:
        """A timestamp before that of the stream's frame which film frame `frame` shows."""
        return max(self.start, self.start + floor((Fraction(frame, FPS) - SLACK) / self.tick) - 1)


def probe(path: Path) -> VideoFacts:
    """What the video in `path` is. Reads the file once; UserError if it is no whole video."""
    clock = _clock(path)
    first = next(_film_frames(path, clock))
    height, width = _upright(first, None).shape[:2]
    with opened(path) as (_, stream):
        fps = float(stream.average_rate or FPS)
        return VideoFacts(width, height, clock.frames, fps, stream.codec_context.name, first.rotation)


def read_comment(path: Path) -> str | None:
    """The comment of the file, where `join` leaves the film's plan."""
    with opened(path) as (container, _):
        return container.metadata.get("comment")


def kept_frames(frames: int, keep_frames: int | None) -> int:
    """How many of `frames` are kept: all for None, the first n for n, all but the last n for -n."""
    if keep_frames is None:
        return frames
    if keep_frames == 0:
        raise ValueError("keep_frames must not be 0; None keeps all")
    if frames + keep_frames < 1:
        raise UserError(f"Without its last {-keep_frames} frames, nothing is left of a video of {frames} frames.")
    return min(frames, keep_frames) if keep_frames > 0 else frames + keep_frames


def read_frames(path: Path, keep_frames: int | None = None, size: Sides | None = None) -> Iterator[Frames]:
    """The kept frames as the film shows them, one by one: [H, W, 3], at `size` if one is given."""
    clock = _clock(path)
    for frame in islice(_film_frames(path, clock), kept_frames(clock.frames, keep_frames)):
        yield _upright(frame, size)


def read_tail(path: Path, frames: int = 9, keep_frames: int | None = None, size: Sides | None = None) -> Frames:
    """The last `frames` of the kept frames, or all of a shorter video: [F, H, W, 3].

    Only the end of the file is decoded, from the key frame before it; in a file that cannot be sought, all of it.
    Either way no more than `frames` frames are held.
    """
    clock = _clock(path)
    kept = kept_frames(clock.frames, keep_frames)
    begin = max(0, kept - frames)
    tail = deque(islice(_film_frames(path, clock, begin), kept - begin), maxlen=frames)
    shown = [_upright(frame, size) for frame in tail]
    if len({frame.shape for frame in shown}) > 1:
        raise UserError("The video changes its size on the way.")
    return np.stack(shown)


def read_part(path: Path, begin: int, frames: int, size: Sides) -> Frames:
    """At most `frames` film frames from number `begin`, from 0, at `size`: [F, H, W, 3]. F is 0 behind the end."""
    clock = _clock(path)
    count = min(frames, clock.frames - begin)
    if count < 1:
        return np.empty((0, size.height, size.width, 3), np.uint8)
    return np.stack([_upright(frame, size) for frame in islice(_film_frames(path, clock, begin), count)])


def first_frame(video: Path, longest_side: int = 1280) -> bytes:
    """The first frame as a JPEG, no larger than `longest_side` pixels."""
    return _jpeg(next(read_frames(video)), longest_side)


def last_frame(video: Path, longest_side: int = 640) -> bytes:
    """The last frame as a JPEG, no larger than `longest_side` pixels."""
    return _jpeg(read_tail(video, 1)[0], longest_side)


def _jpeg(frame: Frames, longest_side: int) -> bytes:
    picture = Image.fromarray(frame)
    picture.thumbnail((longest_side, longest_side))
    jpeg = BytesIO()
    picture.save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its video stream; whatever FFmpeg finds wrong while it is open is the file's fault.

    NOTE: so write to nothing inside, or a full disk reads as a broken video.
    """
    with path.open("rb"):  # a missing file is our mistake, not a person's
        pass
    try:
        options = {"format_whitelist": CONTAINERS}
        with av.open(f"file:{path}", "r", container_options=options, metadata_errors="replace") as container:
            streams = container.streams.video
            stream = next((each for each in streams if Disposition.attached_pic not in each.disposition), None)
            if stream is None or not getattr(stream, "width", 0):  # an unknown codec's stream has no such attribute
                raise UserError("There is no moving picture in this file: it is not a video, or it is cut off.")
            if stream.width * stream.height > MOST_PIXELS:
                raise UserError(f"The video is too large: {stream.width}x{stream.height}.")
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        raise UserError("The file cannot be read as a video: it is damaged, cut off, or something else.") from error


def _clock(path: Path) -> Clock:
    """Read the timestamps of all packets; nothing is decoded."""
    with opened(path) as (container, stream):
        if any(entry.pos + entry.size > container.size for entry in stream.index_entries):
            raise UserError("The video is cut off: its last frames are missing.")
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        times = [packet.dts if packet.pts is None else packet.pts for packet in packets]
        known = [time for time in times if time is not None]
        if not known or stream.time_base is None:
            raise UserError("There are no frames in this video.")
        clock = Clock(min(known), max(known), stream.time_base * _pace(stream))
    if clock.frames > MOST_SECONDS * FPS:
        raise UserError(f"The video is too long: at most {MOST_SECONDS // 60} minutes, please.")
    return clock


def _pace(stream: VideoStream) -> Fraction:
    """What turns the stream's seconds into the film's: 1, but for a rate like 24000/1001, which counts as 24."""
    rate = stream.base_rate or stream.average_rate or Fraction(FPS)
    whole = max(1, round(rate))
    return rate / whole if abs(rate / whole - 1) < TELEVISION else Fraction(1)


def _film_frames(path: Path, clock: Clock, begin: int = 0, seek: bool = True) -> Iterator[VideoFrame]:
    """What film frames `begin`, `begin` + 1 ... show, up to the end of the video."""
    done = None if begin and seek else 0  # film frames behind us; unknown after a seek, until a frame comes
    for frame in _decoded(path, clock.before(begin) if begin and seek else None):
        timestamp = frame.dts if frame.pts is None else frame.pts
        if timestamp is None:
            raise UserError("The video's frames have no timestamps.")
        shown = clock.shown(timestamp)
        if done is None and shown > begin:  # landed too late: begin at the beginning
            yield from _film_frames(path, clock, begin, seek=False)
            return
        for _ in range(max(begin, done or 0), shown):
            yield frame
        done = max(shown, done or 0)
    if done is None:  # landed behind the last frame
        yield from _film_frames(path, clock, begin, seek=False)
    elif done <= begin:
        raise UserError("The video's last frames cannot be decoded.")


def _decoded(path: Path, timestamp: int | None) -> Iterator[VideoFrame]:
    """The frames in the order in which they are shown, from a key frame before `timestamp` if there is one."""
    with opened(path) as (container, stream):
        if timestamp is not None:
            with suppress(av.FFmpegError):  # a damaged index: the file stays at its beginning
                container.seek(timestamp, stream=stream)
        yield from container.decode(stream)


def _upright(frame: VideoFrame, size: Sides | None) -> Frames:
    """The frame as it is to be seen: RGB, turned as its file says; at `size` if one is given."""
    untagged = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb
    matrix = (Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601) if untagged else None
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=EXACT, threads=1).to_ndarray()
    turned = np.rot90(rgb, round(frame.rotation / 90))
    if size is None or turned.shape[:2] == (size.height, size.width):
        return np.ascontiguousarray(turned, np.uint8)
    return np.asarray(cover(Image.fromarray(np.ascontiguousarray(turned, np.uint8)), size))
