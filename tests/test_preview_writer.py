"""Laws of the pictures of a window under way: they cost next to nothing, change no film, and may fail."""

import errno
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from clock import Clock
from faults import FaultyShelf
from filming import OTHER_PHOTO, PHOTO, SIZE, draw, film_plan, window
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from bot.cli import display
from engine.folder import Handover, Shown, WorkFolder
from engine.models import ModelShelf
from engine.pipeline import Rendering, render
from engine.previews import writer as preview_writer
from engine.previews.preview import STRIP_HEIGHT, Pictures, Previewer
from engine.previews.writer import PAUSE_SECONDS, SHARE, PreviewWriter
from engine.worker import Worker
from storage.database import Database
from storage.jobs import Jobs
from storage.renders import preview_file
from storage.schema import Errand, JobState, Plan, Progress, Sampling, Solver, Stage, StartImage

STEPS = 40
LONG = film_plan([window(1), window(2)], sampling=Sampling(
    solver=Solver.EULER,
    sigmas=tuple(1 - step / STEPS for step in range(STEPS + 1)), phases=film_plan([window(1)]).sampling.phases,
))  # fmt: skip
VIDEO = torch.zeros(1, 16, 3, 6, 8)


def slow(clock: Clock, costs: float) -> Previewer:
    """A previewer of grey pictures for whose four moments `clock` goes on so many seconds together."""

    def pictures(latents: Tensor) -> Pictures:
        clock.advance(costs / 3)  # VIDEO has three moments
        return np.full((latents.shape[2], 6, 8, 3), 128, np.uint8)

    return pictures


def begin(folder: Path, clock: Clock, costs: float) -> PreviewWriter:
    writer = PreviewWriter(
        WorkFolder(folder, LONG), LONG, Handover(VIDEO[:, :, :1]), Shown(), slow(clock, costs), clock
    )
    writer.begin(1, continues=False)
    return writer


def drawn_at(writer: PreviewWriter, clock: Clock, step_seconds: float) -> list[float]:
    """The times at which a window's steps were followed by a picture."""
    times = []
    for step in range(1, STEPS + 1):
        clock.advance(step_seconds)
        before, asked = writer.spent, clock.seconds
        writer.see(step, VIDEO)
        if writer.spent > before:
            times.append(asked)
    return times


def test_pictures_come_with_a_pause_between_them_and_none_after_the_last_step(tmp_path: Path) -> None:
    clock = Clock()
    writer = begin(tmp_path, clock, costs=0.001)
    times = drawn_at(writer, clock, PAUSE_SECONDS / 2)
    assert len(times) >= STEPS / 3 - 1
    assert min(np.diff([0.0, *times])) >= PAUSE_SECONDS
    assert times[-1] < clock.seconds - PAUSE_SECONDS / 4
    short = begin(tmp_path, clock, costs=0.001)
    clock.advance(10 * PAUSE_SECONDS)
    short.see(STEPS, VIDEO)
    assert short.spent == 0


@pytest.mark.parametrize("costs", [0.05, 0.1, 0.3, 2.0])
def test_whatever_a_picture_costs_a_window_gives_it_a_hundredth_of_its_time(tmp_path: Path, costs: float) -> None:
    """But for the first one of a film, of which nobody knows what it costs."""
    clock = Clock()
    writer = begin(tmp_path, clock, costs)
    drawn_at(writer, clock, 3.0)
    for number in (2, 1, 2, 1, 2):
        began = clock.seconds
        writer.begin(number, continues=True)
        drawn_at(writer, clock, 3.0)
        if costs <= 0.3:
            assert 0 < writer.spent <= SHARE * (clock.seconds - began)


def test_a_slow_picture_is_not_the_last_of_a_film(tmp_path: Path) -> None:
    """The first one loads what it needs."""
    clock = Clock()
    writer = begin(tmp_path, clock, costs=5.0)
    assert len(drawn_at(writer, clock, 3.0)) == 1
    writer.previewer = slow(clock, costs=0.05)
    seen = []
    for _ in range(8):
        writer.begin(2, continues=True)
        seen += drawn_at(writer, clock, 3.0)
    assert seen


# ---- in a film ------------------------------------------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture after every step but the last."""
    monkeypatch.setattr(preview_writer, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(preview_writer, "SHARE", 1e9)


def film(shelf: ModelShelf, plan: Plan, out: Path, previewer: Previewer | None = None) -> tuple[Rendering, list[str]]:
    """A film, and what pictures of windows under way lay there after each step."""
    draw(out / "media" / PHOTO, seed=1)
    draw(out / "media" / OTHER_PHOTO, seed=2)
    seen: list[str] = []

    def look(progress: object) -> None:
        if getattr(progress, "stage", None) is Stage.DENOISING:
            seen.append(" ".join(sorted(path.name for path in out.glob("*.jpg"))))

    models = replace(shelf.load(plan), previewer=previewer)
    return render(plan, models, out, look), seen


def two_windows() -> Plan:
    return film_plan([window(1), window(2, anchor=OTHER_PHOTO)])


def test_a_film_is_the_same_with_and_without_previews(
    shelf: ModelShelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_writer, "PAUSE_SECONDS", math.inf)
    plain, none = film(shelf, two_windows(), tmp_path / "plain")
    assert not any(none)
    monkeypatch.setattr(preview_writer, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(preview_writer, "SHARE", 1e9)
    watched, seen = film(shelf, two_windows(), tmp_path / "watched")
    assert seen == ["", *["window-001.jpg"] * 4, *["window-001.jpg window-002.jpg"] * 3]
    assert watched.video.read_bytes() == plain.video.read_bytes()
    tails = [load_file(rendering.tail) for rendering in (watched, plain)]
    assert all(torch.equal(tails[0][name], tails[1][name]) for name in tails[1])


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("number", [1, 2])
def test_a_preview_shows_four_moments_of_its_window(shelf: ModelShelf, tmp_path: Path, number: int) -> None:
    """Without a map of its own a model gets one from the picture that the film begins from."""
    film(shelf, two_windows(), tmp_path)
    with Image.open(tmp_path / f"window-00{number}.jpg") as strip:
        assert strip.size == (4 * round(STRIP_HEIGHT * SIZE.width / SIZE.height), STRIP_HEIGHT)
        assert np.asarray(strip).std() > 5


@pytest.mark.usefixtures("eager")
def test_what_goes_on_from_a_video_is_shown_in_the_colours_of_its_last_frame(tmp_path: Path) -> None:
    """The tail is what that frame looks like: a film whose latents stay there has its colour."""
    frames = np.full((5, SIZE.height, SIZE.width, 3), (200, 100, 50), np.uint8)
    tail = torch.full((1, 16, 1, 6, 8), 0.5)
    writer = PreviewWriter(WorkFolder(tmp_path, LONG), LONG, Handover(tail, tail), Shown(frames))
    writer.begin(1, continues=True)
    writer.see(1, tail.expand(-1, -1, 3, -1, -1))
    with Image.open(tmp_path / "window-001.jpg") as strip:
        assert abs(np.asarray(strip).mean(axis=(0, 1)) - (200, 100, 50)).max() < 4


@pytest.mark.usefixtures("eager")
def test_a_preview_that_fails_is_the_last_and_the_film_is_filmed(
    shelf: ModelShelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def broken(latents: Tensor) -> Pictures:
        calls.append(latents)
        raise RuntimeError("out of memory")

    plain, _ = film(shelf, film_plan([window(1)]), tmp_path / "plain")
    watched, seen = film(shelf, film_plan([window(1)]), tmp_path / "watched", broken)
    assert watched.video.read_bytes() == plain.video.read_bytes()
    assert not any(seen)
    assert len(calls) == 1
    assert "no more previews" in caplog.text


@pytest.mark.usefixtures("eager")
def test_where_a_preview_finds_no_room_the_film_goes_on(
    shelf: ModelShelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in the place of the picture, and a disk that is full for pictures alone."""
    (tmp_path / "taken" / "window-001.jpg").mkdir(parents=True)
    rendering, _ = film(shelf, film_plan([window(1)]), tmp_path / "taken")
    assert rendering.frames == 81
    assert "no more previews" in caplog.text
    caplog.clear()

    save = Image.Image.save

    def full(picture: Image.Image, path: Path, kind: str, **more: int) -> None:
        save(picture, path, kind, **more)
        if kind == "JPEG":
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Image.Image, "save", full)
    rendering, seen = film(shelf, film_plan([window(1)]), tmp_path / "full")
    assert rendering.frames == 81
    assert not any(seen)
    assert "no more previews" in caplog.text
    assert not list((tmp_path / "full").glob(".*")), "nothing half written stays"


@pytest.mark.usefixtures("eager")
def test_when_a_job_is_finished_its_pictures_are_gone_with_its_folder(shelf: ModelShelf, tmp_path: Path) -> None:
    settings = shelf._settings.model_copy(update={"data_dir": tmp_path, "lease_seconds": 60.0})
    seen: set[str] = set()

    def look(*_: object) -> None:
        seen.update(str(path.relative_to(settings.renders)) for path in settings.renders.rglob("*.jpg"))

    worker = Worker(settings, Database.open(settings.database), FaultyShelf(shelf, look))  # type: ignore[arg-type]
    photo = worker.media.add_file(draw(tmp_path / "photo.png", seed=1))
    plan = film_plan([window(1), window(2)], StartImage(image=photo))
    job = worker.jobs.enqueue(plan, Errand(channel="c", requester="ann"))
    worker.work(until_idle=True)
    assert worker.jobs.get(job.id).state is JobState.DONE
    assert seen == {f"{job.id}/window-001.jpg", f"{job.id}/window-002.jpg"}
    assert not list(settings.renders.iterdir())


def test_who_watches_in_a_terminal_is_told_once_where_a_window_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(Database.open(tmp_path / "jobs.db"))
    jobs.enqueue(LONG, Errand(channel="c", requester="ann"))
    job = jobs.claim("w", 60)
    assert job is not None
    progress = Progress(stage=Stage.DENOISING, window=1, windows=2, step=1, steps=STEPS)
    draw(preview_file(tmp_path, job.id, 1), seed=1)
    seen = [job, *[job.model_copy(update={"progress": progress})] * 3]

    def told(terminal: bool) -> str:
        said = StringIO()
        monkeypatch.setattr(display, "stderr", Console(file=said, force_terminal=terminal, width=500, highlight=False))
        display.watch(iter(seen), lambda _: None, tmp_path, quiet=False)
        return said.getvalue()

    assert told(terminal=True).count(str(preview_file(tmp_path, job.id, 1))) == 1
    assert "window-001.jpg" not in told(terminal=False)
