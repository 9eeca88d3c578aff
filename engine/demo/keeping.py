"""What films keep of their photograph, where the camera has come near and where a night is over."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.demo.camera import LATENTS_PER_CALL, Camera, Shot
from engine.demo.captions import timed_prompt
from engine.demo.measures import (
    camera_path,
    contrast,
    lab,
    likeness,
    luminance,
    movement,
    recoloured,
    seen_after,
    sharpness,
)
from engine.demo.training import psnr
from engine.demo.words import CAMERA, EFFECTS

DAWN_FRAMES = range(4, 81, 4)  # of the second window, which are looked at
CAMERAS = {"the camera still": " Camera: static shot.", "the camera adrift": ""}


@torch.inference_mode()
def nearness(camera: Camera, pictures: list[Tensor], rng: np.random.Generator) -> dict[str, str]:
    """What pushing in for a window leaves of a picture: its last frame beside the picture itself, seen from there."""
    filmed, kept, detail = [], [], []
    for picture in pictures:
        wording = CAMERA["in"][int(rng.integers(len(CAMERA["in"])))]
        pixels = camera.film(camera.anchor(picture), None, f"Camera: {wording}.").pixels
        photo = (picture + 1) / 2
        first, last = luminance(torch.stack([photo, pixels[:, -1]], dim=1))
        target = seen_after(photo, movement(first, last, camera_path(pixels)))
        filmed.append(_psnr(pixels[:, -1], target))
        kept.append(_psnr(_coded(camera, target), target))
        detail.append(sharpness(pixels[:, -1:]) / sharpness(target[:, None]))
    return {
        "pushed in, last frame against the photo": f"median {np.median(filmed):.2f} dB, least {min(filmed):.2f}; "
        f"the VAE alone {np.median(kept):.2f}; sharpness {100 * np.median(detail):.0f} %"
    }


class Dawn(NamedTuple):
    """A window in which day breaks, beside its photograph as the camera would see it."""

    plain: float  # PSNR of the last frame, dB
    matched: float  # the same, with the photograph's means and spreads of colour: what is left is drawing
    distance: float  # between their mean Lab colours
    sharp: float  # sharpness of the last frame, as a share of the coded photograph's
    dullest: float  # the least share in the whole window, with matched colours
    unlike: float  # the least likeness in the whole window, over that of the coded photograph


def dawns(camera: Camera, pictures: list[Tensor], rng: np.random.Generator) -> dict[str, str]:
    """Day after night: a window in which night falls, and one behind it in which day breaks, as the engine films them.

    Paleness shows in the plain figures alone; shreds, where the drawing itself falls apart, in all others.
    """
    figures: dict[str, str] = {}
    for name, words in CAMERAS.items():
        looks = [dawn(camera, picture, words, rng) for picture in pictures]
        plain, matched, distance, sharp, dullest, unlike = (list(column) for column in zip(*looks, strict=True))
        figures |= {
            f"day after night, {name}": f"median {np.median(plain):.2f} dB, least {min(plain):.2f}; in the photo's "
            f"colours {np.median(matched):.2f}, least {min(matched):.2f}; Lab distance {np.median(distance):.1f}",
            f"day after night, {name}, sharpness": f"last frame: median {100 * np.median(sharp):.0f} %; the least of "
            f"each window: median {100 * np.median(dullest):.0f} %, least {100 * min(dullest):.0f} %",
            f"day after night, {name}, likeness": f"the least of each window: median {np.median(unlike):.2f}, "
            f"least {min(unlike):.2f}",
        }
    return figures


@torch.inference_mode()
def dawn(camera: Camera, picture: Tensor, words: str, rng: np.random.Generator) -> Dawn:
    """Film a night and the day after it at once, and look at the day. picture: [3, H, W] in [-1, 1]"""
    *_, shot = _night_and_day(camera, picture, words, rng)
    return compared(shot.pixels, (picture + 1) / 2, _coded(camera, (picture + 1) / 2))


def _night_and_day(camera: Camera, picture: Tensor, words: str, rng: np.random.Generator) -> Iterator[Shot]:
    anchor, shot = camera.anchor(picture), None
    for effect in ("night", "day"):
        wording = EFFECTS[effect][int(rng.integers(len(EFFECTS[effect])))]
        prompt, beats = timed_prompt(f"A photograph.{words}", [(1.0, wording)])
        shot = camera.film(anchor, shot, prompt, beats=beats)
        yield shot


def compared(pixels: Tensor, photo: Tensor, coded: Tensor) -> Dawn:
    """pixels: [3, F, H, W], photo and what the VAE alone makes of it: [3, H, W]; all in [0, 1]"""
    wanted, best = sharpness(coded[:, None]), likeness(coded, photo)
    sharp, alike = [], []
    for index in DAWN_FRAMES:
        matched = recoloured(pixels[:, index], photo)
        sharp.append(sharpness(matched[:, None]) / wanted)
        alike.append(likeness(matched, _seen(photo, matched)) / best)
    last = pixels[:, -1]
    target = _seen(photo, recoloured(last, photo))
    return Dawn(
        plain=_psnr(last, target),
        matched=_psnr(recoloured(last, target), target),
        distance=float((lab(last[:, None]) - lab(target[:, None])).norm()),
        sharp=sharpness(last[:, None]) / wanted,
        dullest=min(sharp),
        unlike=min(alike),
    )


def _seen(photo: Tensor, frame: Tensor) -> Tensor:
    """The photograph from where the camera has drifted to, for a frame of its colours. [3, H, W] each"""
    return seen_after(photo, movement(*contrast(torch.stack([photo, frame], dim=1))))


def _coded(camera: Camera, picture: Tensor) -> Tensor:
    """What the VAE alone makes of a picture. [3, H, W] in [0, 1] -> the same"""
    return (camera.vae.decode_all(camera.anchor(picture * 2 - 1), LATENTS_PER_CALL)[0, :, 0].float().cpu() + 1) / 2


def _psnr(ours: Tensor, theirs: Tensor) -> float:
    """Of two pictures [3, H, W] in [0, 1], in dB."""
    return psnr(ours[None, :, None] * 2 - 1, theirs[None, :, None] * 2 - 1).item()
