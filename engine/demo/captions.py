"""Captions: what happens in a window, in one of very many wordings."""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.condition import WINDOW_LATENT_FRAMES
from engine.demo.words import CAMERA, EFFECTS, ENDS, MOVES, NOTHING, SCENES, SPRITES
from engine.relay import relay_bias, segments
from storage.schema import BeatSpan

TEXT_TOKENS = 160  # of a caption, at most
VOWELS = "aeiou"
Places = Callable[[str, list[tuple[int, int]]], list[range]]  # a text's stretches of characters -> of tokens
MARKS = "\ue000\ue001"  # before and after a timed beat, while a caption is being written
STRANGERS = 0.3  # share of the beats without effect in which somebody moves whom the model cannot draw
ENDINGS = (
    "cinematic", "natural light", "smooth motion", "high quality", "realistic", "one continuous shot", "soft light",
    "film grain", "detailed", "shallow depth of field", "the motion is slow and calm",
)  # fmt: skip


class Beat(NamedTuple):
    """Something that happens in a window, `seconds` after its start."""

    seconds: float
    kind: str  # camera, effect, end, sprite, nothing
    name: str
    sprite: int = 0
    known: bool = False  # the sprite is already there


class Encoder(Protocol):
    """What turns a caption into token ids."""

    def __call__(self, text: str, /) -> list[int]:
        """Token ids."""
        ...


class Page(NamedTuple):
    """A caption as numbers: token ids, padded with 0, and what holds its beats to their times (engine.relay)."""

    tokens: NDArray[np.int64]  # [L]
    relay: Tensor  # [T, L] float32; [1, 1] of zeros where nobody asks for it


class Told(NamedTuple):
    """A caption, and where its timed beats stand."""

    text: str
    beats: list[BeatSpan]


class Wording:
    """Writes captions. `words` are any English words, for scenes that have nothing to do with the picture."""

    def __init__(self, words: list[str], encode: Encoder, places: Places | None = None) -> None:
        self.words = words
        self.encode = encode
        self.places = places

    def tell(self, move: str | None, beats: list[Beat], rng: np.random.Generator) -> Page:
        """A caption of a window with this camera and these beats, as numbers."""
        told = self.caption(move, beats, rng)
        ids = self.encode(told.text)[:TEXT_TOKENS]
        tokens = np.asarray(ids + [0] * (TEXT_TOKENS - len(ids)), np.int64)
        if self.places is None:
            return Page(tokens, torch.zeros(1, 1))
        tokens_of = self.places(told.text, [(beat.start, beat.stop) for beat in told.beats])
        held = segments(told.beats, tokens_of, WINDOW_LATENT_FRAMES)
        return Page(tokens, relay_bias(held, WINDOW_LATENT_FRAMES, TEXT_TOKENS))

    def caption(self, move: str | None, beats: list[Beat], rng: np.random.Generator) -> Told:
        """A caption of a window with this camera and these beats."""
        scene = self.scene(rng) if rng.random() < 0.8 else ""
        actions = self.actions(beats, rng)
        camera = self.camera(move, rng)
        parts = [scene, actions, camera] if rng.random() < 0.8 else [camera, scene, actions]
        if rng.random() < 0.15:
            parts.append(_sentence(_pick(ENDINGS, rng), rng))
        text = " ".join(part for part in parts if part)
        if rng.random() < 0.1:
            text = text.lower()
        if rng.random() < 0.08:
            text = re.sub(r"\.(?!\d)", "", text)
        return unmarked(text or self.scene(rng), beats)

    def scene(self, rng: np.random.Generator) -> str:
        """One to three sentences about a picture that nobody sees."""
        return " ".join(_sentence(self._scene(rng), rng) for _ in range(int(rng.choice([1, 1, 2, 3]))))

    def _scene(self, rng: np.random.Generator) -> str:
        if rng.random() < 0.15:
            return " ".join(self._word(rng) for _ in range(int(rng.integers(2, 9))))
        phrases = [" ".join(self._word(rng) for _ in range(int(rng.integers(1, 3)))) for _ in range(2)]
        return _pick(SCENES, rng).format(x=phrases[0], y=phrases[1])

    def _word(self, rng: np.random.Generator) -> str:
        if rng.random() < 0.06:
            return _pick(SPRITES[int(rng.integers(len(SPRITES)))][1], rng)
        return self.words[int(rng.integers(len(self.words)))]

    def camera(self, move: str | None, rng: np.random.Generator) -> str:
        """A sentence about the camera; empty if nobody speaks of it."""
        if move is None:
            return ""
        text = _pick(CAMERA[move], rng)
        style = rng.random()
        if style < 0.6:
            return _sentence(f"Camera: {text}", rng)
        if style < 0.75 and "camera" not in text:
            return _sentence(f"the camera: {text}", rng)
        return _sentence(text, rng)

    def actions(self, beats: list[Beat], rng: np.random.Generator) -> str:
        """The beats as timed sentences between MARKS. Times may be left out where they are what anybody would guess."""
        style = rng.random()
        phrases = [self.phrase(beat, rng) for beat in beats]
        alone = len(beats) == 1 and beats[0].seconds <= 0.5
        if alone and rng.random() < 0.6:
            return _sentence(phrases[0], rng)
        texts = []
        for beat, phrase in zip(beats, phrases, strict=True):
            seconds = f"{beat.seconds:g}" if rng.random() < 0.85 else f"{beat.seconds:.1f}"
            if f"{float(seconds):g}" != f"{beat.seconds:g}":
                seconds = f"{beat.seconds:g}"
            unit = "second" if seconds == "1" else "seconds"
            if style < 0.7:
                text = f"(at {seconds} {unit}: {phrase})"
            elif style < 0.8:
                text = _sentence(f"at {seconds} {unit}, {phrase}", rng)
            elif style < 0.88:
                text = _sentence(f"after {seconds} {unit} {phrase}", rng)
            elif style < 0.94:
                text = _sentence(f"{phrase} at {seconds} {unit}", rng)
            else:
                text = _sentence(f"at {seconds} s {phrase}", rng)
            texts.append(f"{MARKS[0]}{text}{MARKS[1]}")
        end = "." if texts and style < 0.7 and rng.random() < 0.8 else ""
        return " ".join(texts) + end

    def phrase(self, beat: Beat, rng: np.random.Generator) -> str:
        """What happens in a beat, without its time."""
        match beat.kind:
            case "camera":
                return _pick(CAMERA[beat.name], rng)
            case "effect":
                return _pick(EFFECTS[beat.name], rng)
            case "end":
                return _pick(ENDS[beat.name], rng)
            case "sprite":
                noun = _pick(SPRITES[beat.sprite][1], rng)
                article = (
                    "the" if beat.known or rng.random() < 0.2 else "an" if noun[0] in VOWELS and noun != "ufo" else "a"
                )
                return _pick(MOVES[beat.name], rng).format(s=f"{article} {noun}")
            case _ if rng.random() < STRANGERS:
                return _pick(MOVES[_pick(tuple(MOVES), rng)], rng).format(
                    s=f"a {self.words[int(rng.integers(len(self.words)))]}"
                )
            case _:
                return _pick(NOTHING, rng)


def unmarked(text: str, beats: list[Beat]) -> Told:
    """A caption without its MARKS, and where the beats between them stand.

    >>> unmarked("A cat. \ue000(at 2 seconds: it snows)\ue001.", [Beat(2.0, "effect", "snow")]).beats
    [BeatSpan(start=7, stop=30, seconds=2.0)]
    """
    pieces = re.split(f"[{MARKS}]", text)
    ends = list(accumulate(map(len, pieces)))
    spans = [
        BeatSpan(start=start, stop=stop, seconds=beat.seconds)
        for start, stop, beat in zip(ends[:-1:2], ends[1::2], beats if len(pieces) > 1 else (), strict=True)
    ]
    return Told("".join(pieces), spans)


def _pick(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]


def _sentence(text: str, rng: np.random.Generator) -> str:
    text = text[:1].upper() + text[1:] if rng.random() < 0.8 else text
    return text + "."


def timed_prompt(scene: str, told: Sequence[tuple[float, str]]) -> tuple[str, list[BeatSpan]]:
    """A prompt as the compiler writes it, and where its beats stand."""
    prompt, beats = scene, []
    for seconds, action in told:
        start = len(prompt) + 1
        prompt += f" (at {seconds:g} seconds: {action})"
        beats.append(BeatSpan(start=start, stop=len(prompt), seconds=seconds))
    return prompt + ".", beats
