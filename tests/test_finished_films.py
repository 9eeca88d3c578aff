"""Laws of films that are corrected and finished: whole renders with the toy model, shared by the tests."""

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filming import PHOTO, draw, film_plan, window
from renderings import continued, frames_of
from safetensors.torch import load_file, save_file
from skimage.color import rgb2lab

from engine.models import ModelShelf
from engine.pipeline import Rendering, render
from engine.segments import write_segment
from storage.footage import probe
from storage.schema import ContinueTake, ContinueVideo, Finish, Plan, Progress, Seam, Size, Stage
from storage.timeline import film_frames

Film = Callable[..., Rendering]
LARGER = {"finish": Finish(interpolation=2, upscaling=1.5, deblocking=0.3, denoising=0.2, grain=0.05)}
CHANGED = {**LARGER, "color_correction": 0.7}


@pytest.fixture(scope="module")
def film(shelf: ModelShelf, tmp_path_factory: pytest.TempPathFactory) -> Film:
    folder = tmp_path_factory.mktemp("films")

    def render_in(name: str, plan: Plan, media: dict[str, Path] | None = None, **options: object) -> Rendering:
        out = folder / name
        draw(out / "media" / PHOTO, seed=1)
        for media_id, path in (media or {}).items():
            shutil.copy(path, out / "media" / media_id)
        return render(plan, shelf.load(plan), out, **options)

    return render_in


def planned(numbers: list[int], changed: dict[str, object], source: ContinueTake | ContinueVideo | None = None) -> Plan:
    return film_plan([window(number) for number in numbers], source).model_copy(update=changed)


@pytest.fixture(scope="module")
def plain(film: Film) -> Rendering:
    """Two windows as they are decoded."""
    return film("plain", planned([1, 2], {}))


@pytest.fixture(scope="module")
def resumed(film: Film) -> Rendering:
    """Two windows with everything, of which the render was stopped after the first."""
    plan = planned([1, 2], CHANGED)

    def stop(progress: Progress) -> None:
        if progress.stage is Stage.FILMED:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film("resumed", plan, on_progress=stop)
    return film("resumed", plan)


@pytest.fixture(scope="module")
def further(film: Film) -> Rendering:
    """The same two windows, the second one as a continuation."""
    head = film("head", planned([1], CHANGED))
    source, media = continued(head, windows=1)
    return film("further", planned([2], CHANGED, source), media)


def packets_of(rendering: Rendering) -> list[tuple[int | None, bytes]]:
    with av.open(rendering.video) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(video=0)]


def seam_of(rendering: Rendering) -> Seam:
    seam = rendering.measured[1].seam
    assert seam is not None
    return seam


def test_a_finished_film_is_the_same_in_one_go_continued_and_after_a_kill(resumed: Rendering, further: Rendering):
    assert further.frames == resumed.frames == film_frames(2)
    assert packets_of(further) == packets_of(resumed)
    assert further.measured == resumed.measured
    kept, again = load_file(further.tail), load_file(resumed.tail)
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_latents_are_handed_on_neither_corrected_nor_finished(resumed: Rendering, plain: Rendering):
    kept, usual = load_file(resumed.tail), load_file(plain.tail)
    assert torch.equal(kept["tail"], usual["tail"])
    assert kept["shown"].shape == usual["shown"].shape == (4, 48, 64, 3)


def test_a_finished_film_has_its_own_size_and_rate_and_every_frame_at_its_time(resumed: Rendering):
    facts = probe(resumed.video)
    assert (facts.width, facts.height, facts.fps, facts.frames) == (96, 64, 32.0, film_frames(2))
    with av.open(resumed.video) as container:
        stream = container.streams.video[0]
        times = [frame.pts * frame.time_base for frame in container.decode(stream)]
    assert [time * 32 for time in times] == [*range(2 * film_frames(2) - 1)]


def test_a_film_that_was_finished_otherwise_is_finished_anew_when_it_is_continued(film: Film, plain: Rendering):
    source, media = continued(plain, windows=2)
    larger = film("larger", planned([3], LARGER, source), media)
    facts = probe(larger.video)
    assert (facts.width, facts.height, facts.fps, facts.frames) == (96, 64, 32.0, film_frames(3))
    source, media = continued(larger, windows=3)
    usual = film("usual", planned([4], {}, source), media)
    facts = probe(usual.video)
    assert (facts.width, facts.height, facts.fps, facts.frames) == (64, 48, 16.0, film_frames(4))
    assert [row.window for row in usual.measured] == [1, 2, 3, 4]


def test_colour_correction_begins_behind_the_first_join_and_keeps_the_colours_there(film: Film, plain: Rendering):
    same = film("same", planned([1, 2], {"color_correction": 1.0}))
    assert np.array_equal(frames_of(plain)[:81], frames_of(same)[:81]), "a window that starts from a picture"
    before, after = (
        np.stack([rgb2lab(frame).mean((0, 1)) for frame in frames_of(rendering)[80:]]) for rendering in (plain, same)
    )
    assert np.abs(after[1:] - after[0]).max() < 1.5 < np.abs(before[1:] - before[0]).max()
    assert seam_of(same).colour < seam_of(plain).colour


def test_the_first_window_after_a_video_is_corrected_and_measured(film: Film, tmp_path: Path):
    red = np.full((20, 48, 64, 3), (190, 60, 50), np.uint8) + np.arange(64, dtype=np.uint8)[:, None]
    write_segment([red], Size(width=64, height=48), tmp_path / "red.mp4")
    plan = planned([1], {"color_correction": 1.0}, ContinueVideo(video="e" * 64))
    rendering = film("after-red", plan, {"e" * 64: tmp_path / "red.mp4"})
    colours = np.stack([rgb2lab(frame).mean((0, 1)) for frame in frames_of(rendering)])
    assert np.abs(colours[20:] - colours[19]).max() < 3
    (row,) = rendering.measured
    assert (row.window, row.drift) == (1, 0)
    assert row.seam is not None


def test_every_window_is_measured_and_each_seam(plain: Rendering):
    first, second = plain.measured
    assert (first.window, first.drift, first.seam) == (1, 0, None)
    assert second.window == 2
    assert second.drift > 0
    assert 5 < seam_of(plain).psnr < 100
    assert seam_of(plain).colour > 0


def test_a_take_of_an_older_longtake_is_continued_all_the_same(film: Film, plain: Rendering, tmp_path: Path):
    latents = load_file(plain.tail)
    save_file({name: latents[name] for name in ("anchor", "tail")}, tmp_path / "old.safetensors")
    source, media = continued(plain, windows=2)
    media["d" * 64] = tmp_path / "old.safetensors"
    rendering = film("after-old", planned([3], {"color_correction": 0.5}, source), media)
    assert rendering.frames == film_frames(3)
    (row,) = rendering.measured
    assert (row.window, row.drift) == (3, 0)
    assert row.seam is not None
