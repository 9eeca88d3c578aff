"""How well the demonstration model does what it is asked, on photographs that it was not trained on.

    python -m engine.demo.evaluate --photos .train/data/validation --out build/demo-figures.json

It films with the engine's own parts, as shipped, and measures the pixels (engine.demo.measures). A line is printed for
every figure as it comes, all of them as a table at the end; they go to a JSON file too.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.demo.camera import CPU, LATENTS_PER_CALL, Camera, Shot
from engine.demo.captions import timed_prompt
from engine.demo.clips import centre, film_to, load_photos
from engine.demo.config import STEPS
from engine.demo.export import WEIGHTS
from engine.demo.film import Film
from engine.demo.keeping import dawns, nearness
from engine.demo.measures import (
    camera_move,
    change,
    happened,
    lab,
    onset,
    sharpness,
)
from engine.demo.stage import RAMP_SECONDS, WINDOW
from engine.demo.training import films, no_tokens, projector, psnr
from engine.demo.words import CAMERA, EFFECTS
from engine.device import choose_dtype
from engine.settings import EngineSettings
from storage.schema import Timing
from storage.timeline import DROPPED_FRAMES, FPS

MEASURED = ("night", "day", "snow")
ONSETS = ("night", "warm", "cool", "grey", "white", "black")
PARTS = ("steps", "vae", "camera", "near", "effects", "dawn", "onset", "long")
Say = Callable[[str], None]


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
    """When the second of two timed events begins, and whether the first, a camera move, is seen until then.

    Every trial is filmed twice from the same noise: with the times as text alone, and held.
    """
    errors: dict[Timing, list[float]] = {timing: [] for timing in Timing}
    moved: dict[Timing, list[bool]] = {timing: [] for timing in Timing}
    for index in range(count):
        effect = ONSETS[index % len(ONSETS)]
        seconds = float(rng.integers(6, 13)) / 4
        move = list(CAMERA)[int(rng.integers(len(CAMERA)))]
        words = [words[int(rng.integers(len(words)))] for words in (CAMERA[move], EFFECTS[effect])]
        prompt, beats = timed_prompt("A photograph.", list(zip((0.0, seconds), words, strict=True)))
        anchor, seed = camera.anchor(pictures[index % len(pictures)]), camera.seed
        for timing in Timing:
            camera.seed = seed
            shot = camera.film(anchor, None, prompt, beats=beats if timing is Timing.RELAY else ())
            errors[timing].append(abs(onset(effect, shot.pixels, RAMP_SECONDS[effect]) - seconds))
            moved[timing].append(camera_move(shot.pixels[:, : int(seconds * FPS)]) == move)
    figures = {}
    for timing in Timing:
        figures[f"onset within 0.6 s, {timing}"] = share([e <= 0.6 for e in errors[timing]])
        figures[f"onset error, s, {timing}"] = f"median {np.median(errors[timing]):.2f}, most {max(errors[timing]):.2f}"
        figures[f"camera before it, {timing}"] = share(moved[timing])
    return figures


def long_film(camera: Camera, picture: Tensor, windows: int, *, anchored: bool) -> Iterator[Shot]:
    """Windows of one film with a gentle drift. Without an anchor, each window's anchor is the last frame before it."""
    anchor, shot = camera.anchor(picture), None
    for _ in range(windows):
        shot = camera.film(anchor, shot, "The moment lasts.")
        if not anchored:
            anchor = camera.anchor(shot.pixels[:, -1] * 2 - 1)
        yield shot


def endurance(camera: Camera, pictures: list[Tensor], windows: int) -> dict[str, str]:
    """Colour, sharpness and joins of long films, with and without anchors."""
    figures: dict[str, str] = {}
    for anchored in (True, False):
        kept = [_endured(list(long_film(camera, picture, windows, anchored=anchored))) for picture in pictures]
        drifts, shares, sharp = (np.asarray([film[i] for film in kept]) for i in range(3))
        joins, jumps = (np.concatenate([film[i] for film in kept]) for i in (3, 4))
        name = f"{windows} windows, {'anchored' if anchored else 'not anchored'}"
        figures |= {
            f"{name}: Lab distance from window 1": f"last window: median {np.median(drifts[:, -1]):.1f}, "
            f"farthest of all windows {drifts.max():.1f}, which is {100 * shares.max():.0f} % of its Lab colour",
            f"{name}: sharpness of window 1 kept": f"last window: median {100 * np.median(sharp[:, -1]):.0f} %, "
            f"all windows {100 * sharp.min():.0f} to {100 * sharp.max():.0f} %",
            f"{name}: difference across a join / beside it": f"median {np.median(joins):.2f}, 9 of 10 below "
            f"{np.quantile(joins, 0.9):.2f}; the difference itself: median {np.median(jumps):.1f} of 255",
        }
    return figures


def _endured(shots: list[Shot]) -> tuple[list[float], list[float], list[float], list[float], list[float]]:
    """Of each window but the first: Lab distance from it, the same as a share of its Lab colour, sharpness kept.

    Then of each join: the difference across it over those beside it, and the difference itself, of 255.
    """
    colours, sharp = [lab(shot.pixels) for shot in shots], [sharpness(shot.pixels) for shot in shots]
    drifts = [float((colour - colours[0]).norm()) for colour in colours[1:]]
    joins, jumps = [], []
    for before, after in pairwise(shots):
        film = torch.cat([before.pixels[:, -12:], after.pixels[:, DROPPED_FRAMES : DROPPED_FRAMES + 12]], dim=1)
        steps = change(film)
        joins.append(float(steps[11] / steps[[*range(4, 11), *range(12, 19)]].mean()))
        jumps.append(float(steps[11]) * 255)
    length = float(colours[0].norm())
    return drifts, [drift / length for drift in drifts], [each / sharp[0] for each in sharp[1:]], joins, jumps


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


def arguments() -> argparse.Namespace:
    """What the command is told."""
    parser = argparse.ArgumentParser(description="Measure the demonstration model.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--photos", type=Path, default=Path(".train/data/validation"))
    parser.add_argument("--out", type=Path, default=Path("build/demo-figures.json"))
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--windows", type=int, default=10, help="of a long film")
    parser.add_argument("--films", type=int, default=2, help="long films, each with and without anchors")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--only", nargs="*", default=["steps", "vae", "camera", "near", "effects", "dawn", "onset", "long"]
    )
    parser.add_argument("--device", type=torch.device, default=CPU)
    return parser.parse_args()


def main() -> None:
    """Measure everything that the model card states."""
    args = arguments()
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
    if "near" in args.only:
        add(nearness(camera, pictures, rng))
    if "effects" in args.only:
        add(effects(camera, pictures, rng))
    if "dawn" in args.only:
        add(dawns(camera, pictures, np.random.default_rng(1)))
    if "onset" in args.only:
        add(onsets(camera, pictures, 3 * args.pictures, rng))
    if "long" in args.only:
        add(endurance(camera, pictures[:: len(pictures) // args.films or 1][: args.films], args.windows))
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
