"""Plans and pictures for tests that render with the toy model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from storage.schema import (
    Expert,
    MediaId,
    Phase,
    Plan,
    Sampling,
    Size,
    Solver,
    Source,
    StartImage,
    Storyboard,
    StoryboardWindow,
    Window,
)

SIZE = Size(width=64, height=48)
SAMPLING = Sampling(
    solver=Solver.UNIPC,
    sigmas=(1.0, 0.9, 0.5, 0.0),
    phases=(Phase(expert=Expert.HIGH_NOISE, above=0.9, guidance=2.0), Phase(expert=Expert.LOW_NOISE, above=0.0)),
)
PHOTO: MediaId = "a" * 64
OTHER_PHOTO: MediaId = "b" * 64


def draw(path: Path, seed: int, size: tuple[int, int] = (80, 60)) -> Path:
    """Save a picture of random blocks: no two seeds alike, and nothing that compresses to one colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size).save(path, "PNG")
    return path


def window(number: int, anchor: MediaId | None = None) -> Window:
    return Window(prompt=f"prompt {number}", negative="ugly", seed=100 + number, anchor=anchor)


def film_plan(windows: Sequence[Window], source: Source | None = None, sampling: Sampling = SAMPLING) -> Plan:
    return Plan(
        storyboard=Storyboard(title="test", windows=tuple(StoryboardWindow(scene=w.prompt) for w in windows)),
        size=SIZE,
        source=source or StartImage(image=PHOTO),
        windows=tuple(windows),
        sampling=sampling,
        seed=7,
        model="demo",
    )
