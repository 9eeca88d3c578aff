"""What colour correction and a finish do to films of the demonstration model, and what they cost.

python benchmarks/finish.py [--parts colours costs previews] [--windows 5] [--pictures 1] [--strengths 0 1] [--write]

Colours: films of several windows, without and with correction. A jump is the distance of the mean Lab colours of the
two frames at a join; beside it is that of neighbours within a window. Costs: a film's first window of 81 frames through
each finish, in seconds and as a share of those of its decoding. Previews: what a window gives to the pictures that show
it while it is denoised, and what one would cost if the VAE drew it. Prints its tables; `--write` puts them into
benchmarks/results, too.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rig import ROOT, commit, device_name, size_of

from engine.colours import mean_lab
from engine.denoise import denoise
from engine.device import choose_dtype
from engine.finish.finisher import Finisher
from engine.folder import WorkFolder
from engine.models import Models, ModelShelf
from engine.pipeline import Rendering, opening, render
from engine.previews.preview import Previewer, decoded_preview, fitted_preview, preview_strip
from engine.previews.writer import PreviewWriter
from engine.settings import EngineSettings
from planner.compiler import window_seed
from planner.presets import PRESETS
from storage.footage import Frames, read_frames
from storage.schema import Finish, Plan, Size, StartImage, Storyboard, StoryboardWindow, Window
from storage.timeline import NEW_FRAMES, WINDOW_FRAMES, finished_frames, latent_frames

PRESET = PRESETS["demo"]
CPU = torch.device("cpu")
CORES = len(os.sched_getaffinity(0))
PHOTO = "a" * 64
SCENES = ("A quiet scene. Camera: the camera pans slowly to the left.", "The moment lasts. Camera: static.")
FINISHES = {
    "nothing": Finish(),
    "interpolation 2": Finish(interpolation=2),
    "interpolation 4": Finish(interpolation=4),
    "upscaling 2": Finish(upscaling=2),
    "deblocking 0.5": Finish(deblocking=0.5),
    "denoising 0.5": Finish(denoising=0.5),
    "grain 0.05": Finish(grain=0.05),
    "all of them, interpolation and upscaling 2": Finish(
        interpolation=2, upscaling=2, deblocking=0.5, denoising=0.5, grain=0.05
    ),
}
Row = dict[str, str | float]


def plan_of(windows: int, size: Size, strength: float) -> Plan:
    scenes = [SCENES[number % len(SCENES)] for number in range(windows)]
    return Plan(
        storyboard=Storyboard(title="benchmark", windows=tuple(StoryboardWindow(scene=scene) for scene in scenes)),
        size=size,
        source=StartImage(image=PHOTO),
        windows=tuple(
            Window(prompt=scene, negative="", seed=window_seed(1, number)) for number, scene in enumerate(scenes, 1)
        ),
        sampling=PRESET.sampling,
        seed=1,
        model=PRESET.model,
        color_correction=strength,
    )


def film(plan: Plan, photo: Path, models: Models, out: Path) -> Rendering:
    (out / "media").mkdir(parents=True)
    shutil.copy(photo, out / "media" / PHOTO)
    return render(plan, models, out)


def colours(setting: str, rendering: Rendering, windows: int) -> Row:
    """One row of a film: its jumps, its seams, and where its colours end."""
    frames = [mean_lab(frame[None]) for frame in read_frames(rendering.video)]
    steps = [float(np.linalg.norm(np.subtract(*pair))) for pair in zip(frames[1:], frames, strict=False)]
    joins = [WINDOW_FRAMES - 1 + NEW_FRAMES * number for number in range(windows - 1)]
    seams = [row.seam for row in rendering.measured if row.seam]
    return {
        "color_correction": setting,
        "jump at joins, median": round(median(steps[join] for join in joins), 3),
        "largest": round(max(steps[join] for join in joins), 3),
        "between neighbours, median": round(median(steps), 3),
        "seam, colour": round(median(seam.colour for seam in seams), 2),
        "seam, PSNR in dB": round(median(seam.psnr for seam in seams), 1),
        "drift, last": round(rendering.measured[-1].drift, 2),
        "largest drift": round(max(row.drift for row in rendering.measured), 2),
    }


def seams_of(rendering: Rendering) -> Iterable[Row]:
    """What `longtake show` prints of a take."""
    for row in rendering.measured:
        seam = (round(row.seam.psnr, 1), round(row.seam.colour, 2)) if row.seam else ("", "")
        yield {
            "window": row.window,
            "seam, PSNR in dB": seam[0],
            "seam, colour": seam[1],
            "drift": round(row.drift, 2),
        }


def costs(frames: Frames, plan: Plan, models: Models) -> Iterable[Row]:
    """Each finish of one window, and whether the filmed frames are still in it, bit for bit."""
    shape = 1, 16, latent_frames(len(frames)), plan.size.height // 8, plan.size.width // 8
    with torch.inference_mode():
        decoding = seconds(lambda: models.vae.decode_all(torch.randn(shape), models.latents_per_call))
    yield {"finish": "(decoding)", "seconds": round(decoding, 2), "share of decoding": 1.0}
    for name, finish in FINISHES.items():
        made: list[Frames] = []
        finisher = Finisher.of(plan.model_copy(update={"finish": finish}), models.finish_dir, CPU)
        taken = seconds(lambda f=finisher, m=made: m.extend(f.finished([frames], None, seed=1)))
        row: Row = {"finish": name, "seconds": round(taken, 2), "share of decoding": round(taken / decoding, 2)}
        assert len(made) == finished_frames(len(frames), finish.interpolation)
        if finish == Finish(interpolation=finish.interpolation):
            filmed = np.concatenate(made[:: finish.interpolation])
            row["filmed frames"] = "bit for bit" if np.array_equal(filmed, frames) else "CHANGED"
        yield row


def seconds(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def table_of(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    listed = list(rows)
    names = list(dict.fromkeys(name for row in listed for name in row))
    lines = [names, ["---"] * len(names), *([str(row.get(name, "")) for name in names] for row in listed)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def films(options: argparse.Namespace, models: Models, folder: Path) -> dict[str, str]:
    """The tables of what colour correction does: one of all films, and one of each film's windows."""
    rows: list[Row] = []
    tables: dict[str, str] = {}
    for photo in photos()[: options.pictures]:
        for strength in options.strengths:
            plan = plan_of(options.windows, options.size, strength)
            rendering = film(plan, photo, models, folder / f"{photo.stem}-{strength}")
            rows.append({"picture": photo.stem} | colours(f"{strength:g}", rendering, options.windows))
            heading = f"Seams of {photo.stem}, color_correction {strength:g}"
            tables[heading] = table_of(seams_of(rendering))
            print(f"\n{heading}\n\n{tables[heading]}\n\n{table_of(rows)}", flush=True)
    return {"Colour correction": table_of(rows), **tables}


def finishes(options: argparse.Namespace, models: Models, folder: Path) -> dict[str, str]:
    """The table of what each finish costs."""
    plan = plan_of(1, options.size, 0)
    rendering = film(plan, photos()[0], models, folder / "costs")
    frames = np.stack(list(read_frames(rendering.video)))
    return {f"What a finish costs, a window of {len(frames)} frames": table_of(costs(frames, plan, models))}


def previews(options: argparse.Namespace, models: Models, folder: Path) -> dict[str, str]:
    """The table of what previews cost a window, and of what one strip costs, drawn in either way."""
    plan, out = plan_of(1, options.size, 0), folder / "previews"
    (out / "media").mkdir(parents=True)
    shutil.copy(photos()[0], out / "media" / PHOTO)
    work = WorkFolder(out, plan)
    with torch.inference_mode():
        handover, shown = opening(plan, work, models)
        writer = PreviewWriter(work, plan, handover, shown, models.previewer)
        started = time.perf_counter()
        writer.begin(1, continues=False)
        latents = denoise(plan.windows[0], handover, plan.sampling, models, writer.see)
        pixels = models.vae.decode_all(latents, models.latents_per_call)
        window = time.perf_counter() - started
        drawn = {
            "a window's previews": writer.spent,
            "a strip by the fitted map": strip_seconds(latents, fitted_preview(latents[:, :, :1], pixels[:, :, :1])),
            "a strip by the VAE": strip_seconds(latents, decoded_preview(lambda x: models.vae.decode(x, 1))),
        }
    rows: list[Row] = [
        {"": name, "seconds": round(taken, 3), "share of the window": f"{taken / window:.2%}"}
        for name, taken in drawn.items()
    ]
    return {f"What previews cost, a window of {window:.1f} s": table_of(rows)}


def strip_seconds(latents: torch.Tensor, previewer: Previewer) -> float:
    """What a strip costs, the median of five."""
    return median(seconds(lambda: preview_strip(latents, previewer, continues=False)) for _ in range(5))


PARTS = {"colours": films, "costs": finishes, "previews": previews}


def photos() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.jpg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=1)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--size", type=size_of, default=PRESET.budget, help="of the film")
    parser.add_argument("--write", action="store_true", help="the tables into benchmarks/results, too")
    options = parser.parse_args()
    settings = EngineSettings()
    models = ModelShelf(settings, CPU, choose_dtype(settings, CPU)).load(plan_of(1, options.size, 0))
    tables: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            tables |= PARTS[part](options, models, Path(folder))
    text = "\n".join(f"## {heading}\n\n{table}\n" for heading, table in tables.items())
    print(f"\n{text}")
    if options.write:
        today = datetime.now(UTC).date()
        (ROOT / "benchmarks" / "results" / f"finish_{CORES}cores_{today}.md").write_text(head(options) + text)


def head(options: argparse.Namespace) -> str:
    """What stands above the tables in a file of results."""
    strengths = " ".join(f"{strength:g}" for strength in options.strengths)
    return (
        f"# Colour correction and finishes, {datetime.now(UTC).date()}\n\nThe demonstration model at {options.size}; "
        f"{device_name(CPU)}, {CORES} cores beside other programs, torch {torch.__version__}. Commit {commit()}.\n\n"
        f"    python benchmarks/finish.py --parts {' '.join(options.parts)} --windows {options.windows} "
        f"--pictures {options.pictures} --strengths {strengths} --size {options.size}\n\n"
    )


if __name__ == "__main__":
    main()
