"""What parameters do to a film of the demonstration model, and what they cost.

python benchmarks/parameters.py [--parts motion refiner magcache guide] [--pictures 2] [--size 256x144] [--write]

Each part films the same windows with and without, in one run. Evaluations are runs of the network; seconds are those of
denoising; PSNR and Lab distance are to the undisturbed film of the same part. Prints a table a part, row by row, and as
its last line one JSON object; `--write` puts the tables into benchmarks/results, too. A part is one function of PARTS.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
from rig import ROOT, commit, device_name, size_of
from torch import Tensor

from engine.demo.measures import flow, lab
from engine.demo.training import psnr
from engine.denoise import denoise
from engine.device import choose_dtype
from engine.folder import Handover
from engine.guide import WindowGuide
from engine.models import Models, ModelShelf
from engine.pixels import picture_to_pixels
from engine.settings import EngineSettings
from planner.presets import PRESETS
from planner.sigmas import linear_sigmas
from storage.pictures import load_picture
from storage.schema import (
    MagCacheSettings,
    Plan,
    RefinedSteps,
    Refiner,
    Sampling,
    Size,
    StartImage,
    Storyboard,
    StoryboardWindow,
    Window,
)

PRESET = PRESETS["demo"]
CPU = torch.device("cpu")
CORES = len(os.sched_getaffinity(0))
STILL, PAN = "The moment lasts.", "Camera: the camera pans slowly to the left."
Row = dict[str, str | float | int]


@dataclass(frozen=True)
class Shot:
    """A filmed window: pixels [3, F, H, W] in [0, 1], latents [1, 16, T, h, w], and what they cost."""

    pixels: Tensor
    latents: Tensor
    seconds: float
    evaluations: int


@dataclass
class Studio:
    """Films windows of the photographs in examples/ with the demonstration model."""

    models: Models
    anchors: list[Tensor]  # [1, 16, 1, h, w] each
    evaluations: int = 0

    @classmethod
    @torch.inference_mode()
    def open(cls, pictures: int, size: Size) -> "Studio":
        settings = EngineSettings()
        plan = Plan(
            storyboard=Storyboard(title="", windows=(StoryboardWindow(scene=""),)), size=size,
            source=StartImage(image="0" * 64), windows=(Window(prompt="", negative="", seed=0),),
            sampling=PRESET.sampling, seed=0, model=PRESET.model,
        )  # fmt: skip
        models = ModelShelf(settings, CPU, choose_dtype(settings, CPU)).load(plan)
        photos = sorted((ROOT / "examples").glob("*.jpg"))[:pictures]
        pixels = (picture_to_pixels(load_picture(photo), size) for photo in photos)
        studio = cls(models, [models.vae.encode(each) for each in pixels])
        for network in set(models.experts.values()):
            network.blocks[0].register_forward_hook(studio._count)
        return studio

    @torch.inference_mode()
    def film(self, anchor: Tensor, prompt: str, sampling: Sampling, guide: WindowGuide | None = None) -> Shot:
        """The first window of a film. The same arguments give the same shot."""
        window, self.evaluations = Window(prompt=prompt, negative="", seed=1), 0
        started = time.perf_counter()
        latents = denoise(window, Handover(anchor, None), sampling, self.models, lambda *_: None, guide=guide)
        seconds = time.perf_counter() - started
        pixels = self.models.vae.decode_all(latents, self.models.latents_per_call)
        return Shot((pixels[0].float() + 1) / 2, latents, seconds, self.evaluations)

    def _count(self, *_: object) -> None:
        self.evaluations += 1


def compared(studio: Studio, part: str, plain: Sampling, changed: dict[str, Sampling]) -> Iterable[Row]:
    """Each changed sampling against the plain one: what it costs and what it changes, over all pictures."""
    base = [studio.film(anchor, PAN, plain) for anchor in studio.anchors]
    yield cost(part, "without", base, base)
    for name, sampling in changed.items():
        yield cost(part, name, [studio.film(anchor, PAN, sampling) for anchor in studio.anchors], base)


def cost(part: str, setting: str, shots: list[Shot], base: list[Shot]) -> Row:
    row: Row = {
        "part": part,
        "setting": setting,
        "evaluations": round(mean(shot.evaluations for shot in shots), 1),
        "seconds": round(mean(shot.seconds for shot in shots), 1),
        "seconds, ratio": round(mean(shot.seconds for shot in shots) / mean(shot.seconds for shot in base), 2),
    }
    return row | likeness(shots, base)


def likeness(shots: list[Shot], base: list[Shot]) -> Row:
    if shots is base:
        return {"PSNR, dB": "", "Lab distance": 0.0}
    pairs = list(zip(shots, base, strict=True))
    distances = (float((lab(shot.pixels) - lab(other.pixels)).norm()) for shot, other in pairs)
    qualities = (float(psnr(shot.pixels[None] * 2 - 1, other.pixels[None] * 2 - 1).mean()) for shot, other in pairs)
    return {"PSNR, dB": round(mean(qualities), 2), "Lab distance": round(mean(distances), 2)}


def motion(studio: Studio) -> Iterable[Row]:
    """Motion amplitude raises the flow of a film that stands still and of one that pans."""
    for name, prompt in (("nothing asked", STILL), ("pan", PAN)):
        base: list[Shot] = []
        for amplitude in (1.0, 1.1, 1.15, 1.2):
            sampling = PRESET.sampling.model_copy(update={"motion_amplitude": amplitude})
            shots = [studio.film(anchor, prompt, sampling) for anchor in studio.anchors]
            base = base or shots
            flows = [flow(shot.pixels) for shot in shots]
            row: Row = {"part": "motion", "setting": f"{name}, {amplitude}", "flow, pixels/s": round(mean(flows), 2)}
            yield row | likeness(shots, base)


def refiner(studio: Studio) -> Iterable[Row]:
    """The self-refiner on steps 1 to 3 of eight: all repetitions, and as many as its certainty asks for."""
    steps = (RefinedSteps(first=1, last=3, evaluations=3),)
    settings = {
        "steps 1-3 three times": Refiner(steps=steps, uncertainty=0.0),
        "until 99.9 % differ by < 0.1": Refiner(steps=steps),
        "until 99.9 % differ by < 0.3": Refiner(steps=steps, uncertainty=0.3),
    }
    plain = PRESET.sampling
    return compared(
        studio, "refiner", plain,
        {name: plain.model_copy(update={"refiner": setting}) for name, setting in settings.items()},
    )  # fmt: skip


def magcache(studio: Studio) -> Iterable[Row]:
    """MagCache over twenty steps; its ratios are those of the 14 B model."""
    plain = PRESET.sampling.model_copy(update={"sigmas": linear_sigmas(20, shift=5)})
    speeds = {f"speed {speed}": MagCacheSettings(speed=speed) for speed in (1.5, 2.0, 2.5)}
    return compared(
        studio, "magcache", plain,
        {name: plain.model_copy(update={"magcache": setting}) for name, setting in speeds.items()},
    )  # fmt: skip


def guide(studio: Studio) -> Iterable[Row]:
    """A film that follows another one: nearer to it the less is denoised. PSNR and Lab distance are to the guide."""
    led_by = [studio.film(anchor, PAN, PRESET.sampling) for anchor in studio.anchors]
    for denoising in (1.0, 0.7, 0.4, 0.2):
        guides = [WindowGuide(shot.latents, None, denoising, 0.0) for shot in led_by]
        shots = [
            studio.film(anchor, STILL, PRESET.sampling, each)
            for anchor, each in zip(studio.anchors, guides, strict=True)
        ]
        yield cost("guide", f"denoising {denoising}", shots, led_by)


PARTS: dict[str, Callable[[Studio], Iterable[Row]]] = {
    "motion": motion,
    "refiner": refiner,
    "magcache": magcache,
    "guide": guide,
}


def mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def lines_of(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each row with its line of a Markdown table, which the first one opens."""
    for number, row in enumerate(rows):
        cells = {name: str(value) for name, value in row.items() if name != "part"}
        table = [list(cells), ["---"] * len(cells)] if number == 0 else []
        yield "\n".join("| " + " | ".join(line) + " |" for line in (*table, cells.values())), row


def report(tables: dict[str, str], options: argparse.Namespace) -> str:
    """The file in benchmarks/results."""
    command = f"--parts {' '.join(options.parts)} --pictures {options.pictures} --size {options.size}"
    head = (
        f"# What parameters do, {datetime.now(UTC).date()}\n\nThe demonstration model at {options.size}, one window of "
        f"81 frames a shot, photographs: {options.pictures}; {device_name(CPU)}, {CORES} cores beside other programs, "
        f"torch {torch.__version__}. Commit {commit()}.\n\n    python benchmarks/parameters.py {command}\n"
    )
    return "\n".join([head, *(f"## {PARTS[name].__doc__}\n\n{text}\n" for name, text in tables.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--size", type=size_of, default=PRESET.budget, help="of the film")
    parser.add_argument("--write", action="store_true", help="the tables into benchmarks/results, too")
    options = parser.parse_args()
    studio = Studio.open(options.pictures, options.size)
    tables: dict[str, str] = {}
    figures: dict[str, list[Row]] = {}
    for name in options.parts:
        print(f"\n{PARTS[name].__doc__}\n", flush=True)
        lines = []
        for line, row in lines_of(PARTS[name](studio)):
            print(line, flush=True)
            lines.append(line)
            figures.setdefault(name, []).append(row)
        tables[name] = "\n".join(lines)
    if options.write:
        path = ROOT / "benchmarks" / "results" / f"parameters_{CORES}cores_{datetime.now(UTC).date()}.md"
        path.write_text(report(tables, options), encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
