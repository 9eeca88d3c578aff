"""What a render leaves, for tests: its frames, and what is needed to film on from it."""

from pathlib import Path

import numpy as np

from engine.pipeline import Rendering
from storage.footage import read_frames
from storage.schema import ContinueTake


def frames_of(rendering: Rendering) -> np.ndarray:
    """[F, H, W, 3] uint8"""
    return np.stack(list(read_frames(rendering.video)))


def continued(rendering: Rendering, windows: int) -> tuple[ContinueTake, dict[str, Path]]:
    """The source of a plan that goes on from a film of so many windows, and its files by their hashes."""
    source = ContinueTake(video="c" * 64, tail="d" * 64, head_windows=windows, head_frames=rendering.frames)
    return source, {"c" * 64: rendering.video, "d" * 64: rendering.tail}
