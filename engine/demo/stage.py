"""What is on at every frame of a film: light and weather as levels, sprites as places.

Everything that a caption can ask for happens the same way every time, so that a small network can learn it.

    F frames, S sprite slots (2)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.demo.words import SPRITES

Floats = NDArray[np.floating]

FPS = 16
WINDOW = 81
STRIDE = 76
FILM = WINDOW + STRIDE
WIDTH, HEIGHT = 256, 144
SLOTS = 2
FLIERS = {"balloon", "butterfly", "rocket", "ufo", "ghost"}
LEVELS = ("night", "glow", "warm", "cool", "grey", "black", "white", "snow", "rain", "fog")
TINTS = ("warm", "cool", "grey")
HIDING = ("night", "black", "white")  # what day ends and leaves the picture as it was, rather than bright
RAMP_SECONDS = dict.fromkeys(LEVELS, 1.0) | {"rain": 0.8, "fog": 1.2, "black": 1.2, "white": 1.2}
EXCLUDES = {
    "night": ("glow",),
    "warm": ("cool", "grey"),
    "cool": ("warm", "grey"),
    "grey": ("warm", "cool"),
    "snow": ("rain",),
    "rain": ("snow",),
}
MOVE_SECONDS = {"enter": 2.0, "cross": 4.0, "hop": 4.0, "rise": 3.0, "fall": 1.4, "jump": 1.6, "leave": 2.0}
LEFT, RIGHT, ABOVE, BELOW = -36.0, WIDTH + 36.0, -36.0, HEIGHT + 36.0  # where sprites are out of the picture


@dataclass
class Stage:
    """Levels [F] and places [F, S, 4] (x, y, presence, mirrored) of a film while it is being made up."""

    levels: dict[str, Floats]
    velocity: Floats  # [F, 3], of the camera
    place: Floats
    sprite: NDArray[np.int64]  # [S]
    busy: list[int]  # frame up to which each sprite slot moves

    @classmethod
    def empty(cls, sprite: NDArray[np.int64]) -> "Stage":
        """Nothing is on yet."""
        place = np.zeros((FILM, SLOTS, 4), np.float32)
        levels: dict[str, Floats] = {name: np.zeros(FILM, np.float32) for name in LEVELS}
        return cls(levels, np.zeros((FILM, 3), np.float32), place, sprite, [0] * SLOTS)

    def here(self, slot: int, frame: int) -> bool:
        """Whether the slot's sprite is to be seen."""
        return bool(self.place[frame, slot, 2] > 0.5)

    def begin(self, effect: str, frame: int) -> None:
        """Let an effect begin. Day ends whatever hides the picture, and makes it glow where nothing did."""
        if effect == "day":
            hidden = any(self.levels[level][frame] > 0.5 for level in HIDING)
            for level in (*HIDING, "grey"):
                self._ramp(level, frame, 0.0)
            self._ramp("glow", frame, 0.0 if hidden else 1.0)
            return
        for level in EXCLUDES.get(effect, ()):
            self._ramp(level, frame, 0.0)
        self._ramp(effect, frame, 1.0)

    def end(self, effect: str, frame: int) -> None:
        """Let an effect end; "tint" ends those of colour."""
        for level in TINTS if effect == "tint" else (effect,):
            self._ramp(level, frame, 0.0)

    def _ramp(self, name: str, frame: int, target: float) -> None:
        level = self.levels[name]
        frames = RAMP_SECONDS[name] * FPS
        part = np.clip((np.arange(len(level) - frame) + 1) / frames, 0, 1)
        part = part * part * (3 - 2 * part)
        level[frame:] = level[frame] * (1 - part) + target * part

    def move(self, slot: int, move: str, frame: int) -> None:
        """Write the path of a sprite's move, and rest where it ends."""
        kind, _, side = move.partition("_")
        length = int(MOVE_SECONDS[kind] * FPS)
        place, present = self.place[frame:, slot], self.here(slot, frame)
        u = np.clip((np.arange(len(place)) + 1) / length, 0, 1)
        at = (float(place[0, 0]), float(place[0, 1])) if present else None
        x, y = path(kind, side, u, ground(int(self.sprite[slot])), at)
        mirrored = {"enter": side == "left", "cross": side != "left", "hop": True, "leave": side == "right"}
        place[:, 3] = float(mirrored.get(kind, present and bool(place[0, 3])))
        place[:, 0], place[:, 1] = x, y
        place[:, 2] = 1.0 if kind in ("enter", "fall", "jump") else u < 1
        self.busy[slot] = frame + length


def ground(sprite: int) -> float:
    """Height at which a sprite stands or flies, in pixels from the top."""
    return 52.0 if SPRITES[sprite][1][0] in FLIERS else 104.0


def path(kind: str, side: str, u: Floats, base: float, at: tuple[float, float] | None) -> tuple[Floats, Floats]:
    """Where a sprite is while u goes from 0 to 1. `at`: where it was; None: nowhere. [n] -> [n], [n]"""
    here_x, here_y = at or (WIDTH / 2, base)
    x, y = np.full(len(u), here_x), np.full(len(u), here_y)
    match kind:
        case "enter":
            start = LEFT if side == "left" else RIGHT
            x = start + (WIDTH / 2 - start) * (1 - (1 - u) ** 2)
        case "cross" | "hop":
            x = RIGHT + (LEFT - RIGHT) * u if side == "left" else LEFT + (RIGHT - LEFT) * u
            y = base - (30 * np.abs(np.sin(u * np.pi * 4)) if kind == "hop" else 4 * np.sin(u * np.pi * 3))
        case "rise":
            start = here_y if at else BELOW
            y = start + (ABOVE - start) * u**1.3
        case "fall":
            y = ABOVE + (base - ABOVE) * u**2
        case "jump" if at:
            y = here_y - 40 * np.abs(np.sin(u * np.pi * 2))
        case "jump":
            leap = BELOW + (base - 30 - BELOW) * np.sin(u / 0.7 * np.pi / 2)
            y = np.where(u < 0.7, leap, base - 30 * (1 - ((u - 0.7) / 0.3) ** 2))
        case "leave":
            x = here_x + ((LEFT if side == "left" else RIGHT) - here_x) * u**1.5
    return x, y


LUMA = np.tile(np.asarray([0.299, 0.587, 0.114]), (3, 1))
EYE = np.eye(3)


def colours(levels: dict[str, Floats]) -> Floats:
    """Colour matrices with offset, RGB in [0, 1] -> RGB, of every frame. [F, 3, 4]"""
    pale = 0.6 * EYE + 0.4 * LUMA
    steps = (
        ("grey", LUMA, 0.0),
        ("warm", np.diag([1.2, 1.0, 0.68]), 0.0),
        ("cool", np.diag([0.7, 0.97, 1.22]), 0.0),
        ("night", np.diag([0.3, 0.36, 0.58]) @ pale, 0.0),
        ("glow", np.diag([1.25, 1.18, 1.0]), 0.05),
        ("rain", 0.85 * pale, 0.0),
        ("snow", 0.82 * pale, 0.0),
        ("black", 0 * EYE, 0.0),
        ("white", 0 * EYE, 1.0),
    )
    total: Floats = np.concatenate([EYE, np.zeros((3, 1))], axis=1)[None].repeat(len(levels["grey"]), 0)
    for name, full, offset in steps:
        level = levels[name][:, None, None]
        matrix = EYE + (full - EYE) * level
        total = matrix @ total
        total[:, :, 3:] += offset * level
    return total
