"""Frames through FFmpeg's filters.

Of its filters those are taken that read a single frame: what remembers the frames before (hqdn3d, atadenoise) would
give other frames after a join, a kill or a continuation than in one go. fftdnoiz gives others from run to run.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace

from storage.footage import EXACT, Frames
from storage.schema import Size
from storage.timeline import FPS

TICK = Fraction(1, FPS)
# What strength 1 stands for; a half is what FFmpeg does by default when it deblocks.
DEBLOCK = {"alpha": 0.196, "beta": 0.1, "gamma": 0.1, "delta": 0.1}
BLOCK = 8  # pixels: what one latent stands for
DENOISE = 15.0  # in levels of 255; nlmeans takes no less than 1


def cleaner(size: Size, deblocking: float, denoising: float) -> Callable[[Frames], Frames]:
    """Takes the edges of blocks, and noise, from one frame [H, W, 3] after the other; strengths in [0, 1]."""
    filters = []
    if deblocking:
        thresholds = ":".join(f"{name}={deblocking * most:.6f}" for name, most in DEBLOCK.items())
        filters.append(("deblock", f"filter=strong:block={BLOCK}:{thresholds}"))
    if denoising:
        filters.append(("nlmeans", f"s={max(1.0, denoising * DENOISE):.6f}:p=5:r=7"))
    if not filters:
        return lambda frame: frame
    graph = _graph(size, "gbrp", filters)

    def clean(frame: Frames) -> Frames:
        graph.push(_planes(frame, "gbrp"))
        return _rgb(_pulled(graph))

    return clean


def motion_compensated(first: Frames, second: Frames, times: int) -> Iterator[Frames]:
    """What FFmpeg puts between two frames to have `times` as many. [H, W, 3] each -> `times` - 1 frames, in order

    NOTE: a graph for every pair. In a stream, minterpolate reads two frames on both sides and starts its search from
    the movement before, so that what comes before a join would depend on whether the film goes on there.
    """
    height, width, _ = first.shape
    quality = "mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    graph = _graph(Size(width=width, height=height), "yuv444p", [("minterpolate", f"fps={FPS * times}:{quality}")])
    for number, frame in enumerate((first, first, second, second)):  # it wants a neighbour on either side
        moment = _planes(frame, "yuv444p")
        moment.pts, moment.time_base = number, TICK
        graph.push(moment)
    graph.push(None)
    for made in _all_of(graph):
        if made.pts is not None and 1 < made.pts / times < 2:  # between the second and the third of the four
            yield _rgb(made)


def _graph(size: Size, pixels: str, filters: Iterable[tuple[str, str]]) -> Graph:
    """A chain of filters for frames of one size, in a pixel format that all of them take."""
    graph = Graph()
    last = graph.add_buffer(width=size.width, height=size.height, format=VideoFormat(pixels), time_base=TICK)
    for name, arguments in (*filters, ("buffersink", "")):
        filter_ = graph.add(name, arguments)
        last.link_to(filter_)
        last = filter_
    graph.configure()
    return graph


def _all_of(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield _pulled(graph)
        except (av.BlockingIOError, av.EOFError):
            return


def _pulled(graph: Graph) -> VideoFrame:
    frame = graph.pull()
    assert isinstance(frame, VideoFrame)
    return frame


def _planes(frame: Frames, pixels: str) -> VideoFrame:
    """One frame in the pixel format of a graph."""
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
    return rgb.reformat(format=pixels, dst_colorspace=Colorspace.ITU709, interpolation=EXACT, threads=1)


def _rgb(frame: VideoFrame) -> Frames:
    rgb = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709, interpolation=EXACT, threads=1)
    return np.asarray(rgb.to_ndarray(), np.uint8)
