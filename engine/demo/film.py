"""Films that never were: what happens in two windows, as numbers for every frame and as captions.

A film is 157 frames: window A shows frames 0 to 80, window B frames 76 to 156, as the engine's windows overlap. A fresh
film begins at its anchor; the others begin somewhere else, as a later window does.

    F frames (157), S sprite slots (2)
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.demo.captions import Beat, Wording
from engine.demo.stage import FILM, FPS, SLOTS, STRIDE, TINTS, WIDTH, Floats, Stage, colours, ground
from engine.demo.words import CAMERA, SPRITES

PAN, TILT = 0.045, 0.058  # of the frame's width and height, a second
ZOOM_IN, ZOOM_OUT = 0.058, 0.042  # of the logarithm of size, a second
VELOCITY = {
    "left": (-PAN, 0.0, 0.0),
    "right": (PAN, 0.0, 0.0),
    "up": (0.0, -TILT, 0.0),
    "down": (0.0, TILT, 0.0),
    "in": (0.0, 0.0, ZOOM_IN),
    "out": (0.0, 0.0, -ZOOM_OUT),
    "still": (0.0, 0.0, 0.0),
}
CAMERA_ODDS = (0.13, 0.13, 0.12, 0.12, 0.22, 0.16, 0.12)
CALM = 0.19  # share of the other films in which nothing is asked for
ARCS = 0.25  # share of films, of photographs by day, in which day breaks after a night
ARC_ODDS = {
    ((), ("night",), ("day",)): 0.48,
    ((), ("night", "day"), ()): 0.14,
    ((), (), ("night", "day")): 0.12,
    (("night",), ("day",), ()): 0.14,
    (("night",), (), ("day",)): 0.12,
}  # what happens before window A, in it, and in window B
ZOOMED = 0.3  # share of continuing films that begin near
WORDINGS = 4  # captions of every window
PASSING = ("cross_left", "cross_right", "hop", "rise")
COMING = ("enter_left", "enter_right", "fall", "jump", "enter_left", "enter_right")
GOING = ("jump", "leave_left", "leave_right", "rise")


class Film(NamedTuple):
    """Everything that is drawn: one row a frame. Batches of films are stacked field by field."""

    seed: Tensor  # [] for what is drawn at random: the photograph, its crop and colours, where flakes are
    fresh: Tensor  # []
    camera: Tensor  # [F, 3] right, down, zoom
    colour: Tensor  # [F, 3, 4] RGB in [0, 1] -> RGB
    anchor_colour: Tensor  # [3, 4]
    weather: Tensor  # [F, 3] snow, rain, fog
    sprite: Tensor  # [S]
    place: Tensor  # [F, S, 4] x, y in pixels, presence, mirrored
    tokens: Tensor  # [2, WORDINGS, L] of window A and window B
    relay: Tensor  # [2, WORDINGS, T, L] what holds their beats to their times, float16


def stack(films: list[Film]) -> Film:
    """Films -> a batch of them."""
    return Film(*(torch.stack(rows) for rows in zip(*films, strict=True)))


class Director:
    """Makes films up, one after the other."""

    def __init__(self, wording: Wording, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.wording = wording

    def film(self) -> Film:
        """A film with what happens in it."""
        rng = self.rng
        stage = Stage.empty(rng.integers(len(SPRITES), size=SLOTS))
        stage.levels["night"][:] = 1.0 if rng.random() < 0.07 else 0.0  # a photograph taken at night
        anchor_colour = colours(stage.levels)[0]
        arc = not stage.levels["night"].any() and rng.random() < ARCS
        arcs = list(ARC_ODDS)
        before, *script = arcs[int(rng.choice(len(arcs), p=list(ARC_ODDS.values())))] if arc else ((), (), ())
        fresh = not before and bool(rng.random() < 0.6)
        start = moving = np.zeros(3)
        if not fresh:
            start = np.clip(rng.normal(0, (0.28, 0.15, 0.2)), -0.7, 0.7)
            start[2] = rng.uniform(0.1, 0.8) if rng.random() < ZOOMED else start[2]
            self._history(stage, before)
            moving = np.asarray(VELOCITY[self._one_of(list(VELOCITY))])
        calm = not arc and bool(rng.random() < CALM)
        pages = []
        for first, effects in zip((0, STRIDE), script, strict=True):
            move, beats = self._quiet(stage, first) if calm else self._window(stage, first, effects, arc=arc)
            pages.append([self.wording.tell(move, beats, rng) for _ in range(WORDINGS)])
        return Film(
            seed=torch.tensor(int(rng.integers(1 << 40))),
            fresh=torch.tensor(fresh),
            camera=_tensor(travel(stage.velocity, start, moving)),
            colour=_tensor(colours(stage.levels)),
            anchor_colour=_tensor(anchor_colour),
            weather=_tensor(np.stack([stage.levels[name] for name in ("snow", "rain", "fog")], axis=1)),
            sprite=torch.from_numpy(stage.sprite),
            place=_tensor(stage.place),
            tokens=torch.from_numpy(np.asarray([[page.tokens for page in window] for window in pages])),
            relay=torch.stack([torch.stack([page.relay for page in window]) for window in pages]).half(),
        )

    def _one_of(self, names: list[str]) -> str:
        return names[int(self.rng.integers(len(names)))]

    def _history(self, stage: Stage, before: tuple[str, ...]) -> None:
        """What the windows before have left behind: `before`, and what comes by chance."""
        for name in ("night", *(() if before else ("day",)), *TINTS, "snow", "rain", "fog"):
            if name in before or self.rng.random() < (0.16 if name == "snow" else 0.08):
                stage.begin(name, 0)
        for level in stage.levels.values():
            level[:] = level[-1]
        if self.rng.random() < 0.35:
            stage.place[:, 0] = (WIDTH / 2, ground(int(stage.sprite[0])), 1.0, float(self.rng.random() < 0.5))

    def _quiet(self, stage: Stage, first: int) -> tuple[str | None, list[Beat]]:
        """Let nothing be asked of a window: its end is its beginning, as in long films."""
        move = "still" if self.rng.random() < 0.25 else None
        stage.velocity[first:] = VELOCITY["still"] if move else drift(np.arange(FILM - first) / FPS)
        return move, [Beat(0.0, "nothing", "")] if self.rng.random() < 0.5 else []

    def _window(self, stage: Stage, first: int, script: tuple[str, ...], *, arc: bool) -> tuple[str | None, list[Beat]]:
        """Let a window happen, from frame `first` on, with `script` among its effects; its camera and its beats."""
        rng = self.rng
        move = str(rng.choice(list(CAMERA), p=CAMERA_ODDS)) if rng.random() < 0.7 else None
        count = max(len(script), int(rng.choice(4, p=(0.2, 0.42, 0.28, 0.1))))
        scripted = dict(zip(sorted(rng.choice(count, len(script), replace=False)), script, strict=True))
        beats: list[Beat] = []
        for index, seconds in enumerate(self._times(count)):
            frame = min(first + round(seconds * FPS), FILM - 1)
            if index in scripted:
                stage.begin(scripted[index], frame)
                beats.append(Beat(seconds, "effect", scripted[index]))
            else:
                beats.append(self._beat(stage, frame, seconds, last=index == count - 1, arc=arc))
        turns = [beat for beat in beats if beat.kind == "camera"]
        if move is not None:
            stage.velocity[first:] = VELOCITY[move]
        else:
            stage.velocity[first:] = 0 if turns else drift(np.arange(FILM - first) / FPS)
        for turn in turns:
            stage.velocity[first + round(turn.seconds * FPS) :] = VELOCITY[turn.name]
        return move, beats

    def _times(self, count: int) -> list[float]:
        """Times of `count` beats, 1.25 s apart or more, early enough that a window shows them; the first is often 0."""
        grid = float(self.rng.choice([1.0, 0.5, 0.25, 0.1, 0.0625]))
        while True:
            times = np.sort(self.rng.uniform(0, 4.1, count))
            if count and self.rng.random() < 0.3:
                times[0] = 0
            times = np.round(np.round(times / grid) * grid, 2)
            if (np.diff(times) >= 1.25).all():
                return [float(time) for time in times]

    def _beat(self, stage: Stage, frame: int, seconds: float, *, last: bool, arc: bool) -> Beat:
        choice = self.rng.random()
        if choice < 0.17:
            return Beat(seconds, "camera", self._one_of(list(VELOCITY)))
        if choice < 0.6:
            return self._effect(stage, frame, seconds, last=last, arc=arc)
        if choice < 0.93:
            return self._sprite(stage, frame, seconds)
        return Beat(seconds, "nothing", "")

    def _effect(self, stage: Stage, frame: int, seconds: float, *, last: bool, arc: bool) -> Beat:
        """Let light or weather change; in an arc, night and day come by the script alone, and nothing hides them."""
        on = {name for name, level in stage.levels.items() if level[frame] > 0.5}
        if on & {"black", "white"}:
            stage.begin("day", frame)
            return Beat(seconds, "effect", "day")
        ends = [name for name in ("snow", "rain", "fog") if name in on] + (["tint"] if on & set(TINTS) else [])
        if ends and self.rng.random() < 0.35:
            name = self._one_of(ends)
            stage.end(name, frame)
            return Beat(seconds, "end", name)
        names = ["snow", "rain", "fog", *TINTS]
        if not arc:
            names += ["night", "day", *(("black", "white") if last else ())]
        names = [name for name in names if ("glow" if name == "day" else name) not in on]
        name = self._one_of(
            names + [name for name in names for often in ("night", "day", "day", "snow", "snow") if name == often]
        )  # night twice as often as others, day and snow three times
        stage.begin(name, frame)
        return Beat(seconds, "effect", name)

    def _sprite(self, stage: Stage, frame: int, seconds: float) -> Beat:
        free = [slot for slot in range(SLOTS) if stage.busy[slot] <= frame]
        present = [slot for slot in free if stage.here(slot, frame)]
        absent = [slot for slot in free if slot not in present]
        if present and (self.rng.random() < 0.7 or not absent):
            slot, moves = present[0], list(GOING)
        elif absent:
            slot = absent[0]
            if not (stage.place[: frame + 1, slot, 2] > 0).any():  # nobody has seen it yet: it may be any
                stage.sprite[slot] = self.rng.integers(len(SPRITES))
            someone = any(stage.here(other, frame) for other in range(SLOTS))
            moves = [*PASSING, *(() if someone else COMING)]
        else:
            return Beat(seconds, "nothing", "")
        known, move = stage.here(slot, frame), self._one_of(moves)
        stage.move(slot, move, frame)
        return Beat(seconds, "sprite", move, int(stage.sprite[slot]), known)


def drift(seconds: Floats) -> Floats:
    """The gentle movement of a picture of which nothing is asked: one ellipse a window, aside and near. [n, 3]

    It never stands still, also where one window hands over to the next.
    """
    pace = 2 * np.pi * FPS / STRIDE
    turn = pace * seconds
    return np.stack([0.02 * np.cos(turn), 0 * turn, 0.03 * np.sin(turn)], axis=1) * pace


def travel(velocity: Floats, start: Floats, moving: Floats) -> Floats:
    """Where the camera is in every frame, with soft starts and stops. velocity: [F, 3] -> [F, 3]"""
    camera = np.empty(velocity.shape)
    position, speed = start, moving
    for frame in range(len(velocity)):
        camera[frame] = position
        speed = speed + (velocity[frame] - speed) * 0.2
        scale = np.exp(-position[2])
        position = position + speed / FPS * np.asarray([scale, scale, 1.0])
    return camera


def _tensor(track: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(track, np.float32))
