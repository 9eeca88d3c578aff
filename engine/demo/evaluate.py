"""How well the demonstration model does what it is asked, on photographs that it was not trained on.

    python -m engine.demo.evaluate --photos .train/data/validation --out build/demo-figures.json

It films with the engine's own parts, as shipped, and measures the pixels (engine.demo.measures). A line is printed for
every figure as it comes, all of them as a table at the end; they go to a JSON file too.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.condition import condition, network_input, window_noise
from engine.demo.clips import centre, film_to, load_photos
from engine.demo.config import STEPS, noise_levels
from engine.demo.export import WEIGHTS
from engine.demo.film import Film
from engine.demo.measures import camera_move, change, happened, lab, onset, sharpness
from engine.demo.stage import RAMP_SECONDS, WINDOW
from engine.demo.training import films, no_tokens, projector, psnr
from engine.demo.words import CAMERA, EFFECTS
from engine.device import choose_dtype
from engine.dit import DiT, DiTConfig
from engine.models import load_network
from engine.settings import EngineSettings
from engine.text import TextEncoder
from engine.vae import VAE, VAEConfig
from storage.timeline import DROPPED_FRAMES

CPU = torch.device("cpu")
LATENTS_PER_CALL = 2
MEASURED = ("night", "day", "snow")
ONSETS = ("night", "warm", "cool", "grey", "white", "black")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Shot:
    """A filmed window: pixels [3, 81, H, W] in [0, 1] and its latents [1, 16, 21, h, w]."""

    pixels: Tensor
    latents: Tensor


class Camera:
    """Films windows with the shipped weights."""

    def __init__(self, weights: Path, dtype: torch.dtype, device: torch.device = CPU) -> None:
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        sizes = DiTConfig(**config["dit"])
        vae: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config["vae"].items()
        }
        self.dit = load_network(DiT, sizes, weights / config["experts"]["high_noise"]).to_precision(dtype).to(device)
        self.vae = load_network(VAE, VAEConfig(**vae), weights / config["vae_file"]).to(device, dtype).channels_last()
        self.text = TextEncoder.in_folder(weights / config["text"], sizes.text_len, device, None)
        self.device = device
        self.seed = 0

    @torch.inference_mode()
    def anchor(self, picture: Tensor) -> Tensor:
        """Latent of a picture. [3, H, W] in [-1, 1] -> [1, 16, 1, h, w]"""
        return self.vae.encode(picture[None, :, None].to(self.device))

    @torch.inference_mode()
    def film(self, anchor: Tensor, tail: Tensor | None, prompt: str, steps: int = STEPS) -> Shot:
        """One window; each has a seed of its own."""
        text = self.dit.encode_text(self.text(prompt))
        given = condition(anchor, tail)
        self.seed += 1
        latents = window_noise(self.seed, (1, 16, 21, *anchor.shape[-2:])).to(self.device)
        for level, following in pairwise(noise_levels(steps)):
            velocity = self.dit(network_input(latents, given), torch.tensor([level], device=self.device), text)
            latents = latents + (following - level) * velocity
        pixels = self.vae.decode_all(latents, LATENTS_PER_CALL).cpu()
        return Shot((pixels[0] + 1) / 2, latents)


def share(right: list[bool]) -> str:
    """`right` as a figure: 19 of 20 (95 %)."""
    return f"{sum(right)} of {len(right)} ({100 * sum(right) / max(1, len(right)):.0f} %)"


def reconstruction(camera: Camera, photos: Path, count: int) -> dict[str, str]:
    """PSNR of encoded and decoded clips of whole windows, and of their last nine frames as clips of their own."""
    film = film_to(next(films(photos.parent, no_tokens, count, 777, 0)), CPU)
    draws = projector(photos.parent, photos.name, CPU)
    quality, anew = [], []
    for index in range(count):
        one = Film(*[rows[index : index + 1] for rows in film])
        shown, _ = draws.draw(one, torch.arange(WINDOW)[None])
        quality.append(_kept(camera, shown))
        anew.append(_kept(camera, shown[:, :, -9:]))
    all_frames, alone = torch.cat(quality), torch.cat(anew).mean(1).median().item()
    first, last = all_frames[:, :9].mean(1).median().item(), all_frames[:, -9:].mean(1).median().item()
    return {
        "reconstruction, dB": f"median {all_frames.mean(1).median():.2f}, "
        f"first nine frames {first:.2f}, last nine {last:.2f}; "
        f"last nine as a clip of their own {alone:.2f}"
    }


@torch.inference_mode()
def _kept(camera: Camera, shown: Tensor) -> Tensor:
    """PSNR of a clip that is encoded and decoded. [1, 3, F, H, W] in [-1, 1] -> [1, F]"""
    latents = camera.vae.encode(shown.to(camera.device), LATENTS_PER_CALL)
    return psnr(camera.vae.decode_all(latents, LATENTS_PER_CALL).cpu(), shown)


def movements(camera: Camera, pictures: list[Tensor], rng: np.random.Generator) -> tuple[dict[str, str], list[Shot]]:
    """Camera direction for random wordings of every move; the shots serve as those where nothing else was asked."""
    figures, shots, every = {}, [], []
    for move, wordings in CAMERA.items():
        answers = []
        for picture in pictures:
            shot = camera.film(camera.anchor(picture), None, f"Camera: {wordings[int(rng.integers(len(wordings)))]}.")
            answers.append(camera_move(shot.pixels))
            shots.append(shot)
        every += [answer == move for answer in answers]
        wrong = sorted({answer for answer in answers if answer != move})
        figures[f"camera {move}"] = share([answer == move for answer in answers]) + (
            f", else {', '.join(wrong)}" if wrong else ""
        )
    return {"camera direction": share(every), **figures}, shots


def absences(quiet: list[Shot]) -> dict[str, str]:
    """Night, day and snow where only the camera was spoken of."""
    return {
        f"{effect}, not asked for and absent": share([not happened(effect, shot.pixels) for shot in quiet])
        for effect in MEASURED
    }


def effects(camera: Camera, pictures: list[Tensor], rng: np.random.Generator) -> dict[str, str]:
    """Night, day and snow where they are asked for."""
    figures = {}
    for effect in MEASURED:
        wordings = EFFECTS[effect]
        seen = []
        for picture in pictures:
            prompt = f"(at 1 second: {wordings[int(rng.integers(len(wordings)))]}). Camera: static shot."
            seen.append(happened(effect, camera.film(camera.anchor(picture), None, prompt).pixels))
        figures[f"{effect}, asked for"] = share(seen)
    return figures


def onsets(camera: Camera, pictures: list[Tensor], count: int, rng: np.random.Generator) -> dict[str, str]:
    """When the second of two timed events begins."""
    errors = []
    for index in range(count):
        effect = ONSETS[index % len(ONSETS)]
        seconds = float(rng.integers(6, 13)) / 4
        move = list(CAMERA)[int(rng.integers(len(CAMERA)))]
        first, second = (words[int(rng.integers(len(words)))] for words in (CAMERA[move], EFFECTS[effect]))
        prompt = f"A photograph. (at 0 seconds: {first}) (at {seconds:g} seconds: {second})."
        shot = camera.film(camera.anchor(pictures[index % len(pictures)]), None, prompt)
        errors.append(abs(onset(effect, shot.pixels, RAMP_SECONDS[effect]) - seconds))
    return {
        "onset within 0.6 s": share([e <= 0.6 for e in errors]),
        "onset error, s": f"median {np.median(errors):.2f}",
    }


def long_film(camera: Camera, picture: Tensor, windows: int, *, anchored: bool) -> Iterator[Shot]:
    """Windows of one film with a gentle drift. Without an anchor, each window's anchor is the last frame before it."""
    anchor, tail = camera.anchor(picture), None
    for _ in range(windows):
        shot = camera.film(anchor, tail, "The moment lasts.")
        tail = shot.latents[:, :, -1:]
        if not anchored:
            anchor = camera.anchor(shot.pixels[:, -1] * 2 - 1)
        yield shot


def endurance(camera: Camera, pictures: list[Tensor], windows: int) -> dict[str, str]:
    """Colour, sharpness and joins of long films, with and without anchors."""
    figures = {}
    for anchored in (True, False):
        drifts, kept, joins, jumps = [], [], [], []
        for picture in pictures:
            shots = list(long_film(camera, picture, windows, anchored=anchored))
            colours = [lab(shot.pixels) for shot in shots]
            drifts.append(float((colours[-1] - colours[0]).norm()))
            kept.append(sharpness(shots[-1].pixels) / sharpness(shots[0].pixels))
            for before, after in pairwise(shots):
                film = torch.cat([before.pixels[:, -12:], after.pixels[:, DROPPED_FRAMES : DROPPED_FRAMES + 12]], dim=1)
                steps = change(film)
                joins.append(float(steps[11] / steps[[*range(4, 11), *range(12, 19)]].mean()))
                jumps.append(float(steps[11]) * 255)
        name = f"{windows} windows, {'anchored' if anchored else 'not anchored'}"
        figures[name] = (
            f"Lab distance of the last window from the first: median {np.median(drifts):.1f}, most {max(drifts):.1f}; "
            f"sharpness kept: median {100 * np.median(kept):.0f} %, least {100 * min(kept):.0f} %; "
            f"difference across a join / beside it: median {np.median(joins):.2f}, "
            f"9 of 10 below {np.quantile(joins, 0.9):.2f}; the difference itself: median {np.median(jumps):.1f} of 255"
        )
    return figures


def faithfulness(camera: Camera, photos: Path, count: int, say: Say) -> dict[str, str]:
    """PSNR of filmed windows against what the camera would have seen, for several numbers of steps."""
    rng = np.random.default_rng(5)
    draws = projector(photos.parent, photos.name, CPU)
    source = films(photos.parent, no_tokens, 1, 31, 0)
    pairs: list[tuple[Tensor, Tensor, str]] = []
    while len(pairs) < count:
        film = film_to(next(source), CPU)
        calm = bool(film.fresh) and not film.weather[:, :WINDOW].any() and not film.place[:, :WINDOW, :, 2].any()
        steady = (film.camera[0, WINDOW - 1] - film.camera[0, WINDOW // 2]).abs()
        if calm and bool((film.colour[0, :WINDOW] == film.colour[0, :1]).all()) and steady.max() > 0.05:
            move = _move_of(film)
            shown, anchor = draws.draw(film, torch.arange(WINDOW)[None])
            pairs += [(shown, anchor, move)] if move else []
    figures = {}
    for steps in (2, 4, 6, 8):
        quality = []
        for shown, anchor, move in pairs:
            wording = CAMERA[move][int(rng.integers(8))]
            shot = camera.film(camera.anchor(anchor[0, :, 0]), None, f"Camera: {wording}.", steps)
            quality.append(psnr(shot.pixels[None] * 2 - 1, shown).mean().item())
        figures[f"against the true clip, {steps} steps, dB"] = f"{np.mean(quality):.2f}"
        say(f"{steps} steps: {np.mean(quality):.2f} dB")
    return figures


def _move_of(film: Film) -> str | None:
    """The one move of a film's first window, if it has just one."""
    path = film.camera[0, :WINDOW]
    half, whole = path[WINDOW // 2] - path[0], path[-1] - path[0]
    axis = int(whole.abs().argmax())
    others = [other for other in range(3) if other != axis]
    if whole[others].abs().max() > 1e-3 or not 1.7 < float(whole[axis] / (half[axis] + 1e-9)) < 2.6:
        return None
    return (("left", "right"), ("up", "down"), ("out", "in"))[axis][int(whole[axis] > 0)]


def main() -> None:
    """Measure everything that the model card states."""
    parser = argparse.ArgumentParser(description="Measure the demonstration model.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--photos", type=Path, default=Path(".train/data/validation"))
    parser.add_argument("--out", type=Path, default=Path("build/demo-figures.json"))
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--windows", type=int, default=10, help="of a long film")
    parser.add_argument("--films", type=int, default=2, help="long films, each with and without anchors")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="*", default=["steps", "vae", "camera", "effects", "onset", "long"])
    parser.add_argument("--device", type=torch.device, default=CPU)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {text}", flush=True)  # noqa: T201  (an evaluation's output)

    dtype = choose_dtype(EngineSettings(), args.device)
    pictures = [centre(photo) for photo in load_photos(args.photos, CPU)][: args.pictures]
    camera, rng = Camera(args.weights, dtype, args.device), np.random.default_rng(0)
    figures: dict[str, str] = {"steps": str(STEPS)}

    def add(more: dict[str, str]) -> None:
        figures.update(more)
        for name, value in more.items():
            say(f"{name}: {value}")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")

    if "steps" in args.only:
        add(faithfulness(camera, args.photos, args.pictures, say))
    if "vae" in args.only:
        add(reconstruction(camera, args.photos, 2 * args.pictures))
    if "camera" in args.only:
        moved, quiet = movements(camera, pictures, rng)
        add(moved)
        add(absences(quiet))
    if "effects" in args.only:
        add(effects(camera, pictures, rng))
    if "onset" in args.only:
        add(onsets(camera, pictures, 3 * args.pictures, rng))
    if "long" in args.only:
        add(endurance(camera, pictures[:: len(pictures) // args.films or 1][: args.films], args.windows))
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
