"""Frames between two frames: by FFmpeg's motion compensation, or by RIFE where a checkpoint is named."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch

from engine.finish.filters import motion_compensated
from engine.finish.networks import network_file
from engine.finish.rife import load_rife, moments
from storage.footage import Frames


def interpolator(
    times: int, name: str, folder: Path, device: torch.device
) -> Callable[[Frames, Frames], Iterable[Frames]]:
    """Makes `times` as many frames: what comes between two neighbours [H, W, 3], `times` - 1 frames."""
    if times == 1:
        return lambda *_: ()
    if not name:
        return partial(motion_compensated, times=times)
    return partial(moments, load_rife(network_file(folder, name)).to(device), times=times)
