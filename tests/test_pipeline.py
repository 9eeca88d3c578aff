"""Laws of the main path, on the real networks at toy size."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filming import OTHER_PHOTO, PHOTO, SIZE, draw, film_plan, window
from renderings import continued, frames_of
from safetensors.torch import load_file

from engine.models import ModelShelf
from engine.pipeline import Rendering, render
from engine.segments import write_segment
from storage.footage import read_comment, read_frames
from storage.schema import (
    NAG,
    BeatSpan,
    ContinueTake,
    ContinueVideo,
    Expert,
    GuidanceRule,
    Guide,
    MagCacheSettings,
    Phase,
    Plan,
    Progress,
    RefinedSteps,
    Refiner,
    Sampling,
    SkipLayers,
    Solver,
    Stage,
    Timing,
    UserError,
)
from storage.timeline import film_frames

Film = Callable[..., Rendering]


@pytest.fixture
def film(shelf: ModelShelf, tmp_path: Path) -> Film:
    """Render a plan into a folder of its own, with both photographs and any other files laid out."""

    def render_in(
        name: str, plan: Plan, media: dict[str, Path] | None = None, *, beside: bool = False, **options: object
    ) -> Rendering:
        out = tmp_path / name
        draw(out / "media" / PHOTO, seed=1)
        draw(out / "media" / OTHER_PHOTO, seed=2)
        for media_id, path in (media or {}).items():
            shutil.copy(path, out / "media" / media_id)
        return render(plan, replace(shelf.load(plan), beside=beside), out, **options)

    return render_in


def test_a_film_has_81_frames_and_76_more_for_each_further_window(film: Film):
    for windows in (1, 2, 3):
        rendering = film(f"of-{windows}", film_plan([window(n) for n in range(1, windows + 1)]))
        assert rendering.frames == film_frames(windows) == len(frames_of(rendering))


def test_the_same_plan_gives_the_same_file_and_other_seeds_another(film: Film):
    plan = film_plan([window(1)])
    first, second = film("first", plan), film("second", plan)
    assert first.video.read_bytes() == second.video.read_bytes()
    other = plan.model_copy(update={"windows": (window(1).model_copy(update={"seed": 5}),)})
    assert not np.array_equal(frames_of(film("other", other)), frames_of(first))


def test_a_plan_says_whether_its_beats_are_held(film: Film):
    timed = window(1).model_copy(update={"beats": (BeatSpan(start=0, stop=4, seconds=2.0),)})
    plan = film_plan([timed])
    text, relay = film("text", plan), film("relay", plan.model_copy(update={"timing": Timing.RELAY}))
    assert not torch.allclose(load_file(text.tail)["tail"], load_file(relay.tail)["tail"], atol=1e-4)
    assert torch.equal(load_file(text.tail)["tail"], load_file(film("plain", film_plan([window(1)])).tail)["tail"])


def test_three_windows_are_two_windows_and_a_continuation_bit_for_bit(film: Film):
    at_once = film("at-once", film_plan([window(1), window(2), window(3)]))
    head = film("head", film_plan([window(1), window(2)]))
    source, media = continued(head, windows=2)
    further = film("further", film_plan([window(3)], source), media)
    assert torch.equal(load_file(further.tail)["tail"], load_file(at_once.tail)["tail"])
    assert further.frames == at_once.frames == film_frames(3)
    assert np.array_equal(frames_of(further), frames_of(at_once))


EVERYTHING = Sampling(
    solver=Solver.UNIPC,
    sigmas=(1.0, 0.9, 0.8, 0.6, 0.4, 0.0),
    phases=(Phase(expert=Expert.HIGH_NOISE, above=0.8, guidance=2.0), Phase(expert=Expert.LOW_NOISE, above=0.0)),
    rule=GuidanceRule.APG,
    skip_layers=SkipLayers(blocks=(1,)),
    nag=NAG(scale=5),
    magcache=MagCacheSettings(speed=1.5),
    refiner=Refiner(steps=(RefinedSteps(first=1, last=2, evaluations=3),)),
    motion_amplitude=1.2,
)


def test_with_everything_on_two_windows_are_one_and_a_continuation_bit_for_bit(film: Film, tmp_path: Path):
    """The guide leads window 1 as a whole and the beginning of window 2."""
    moving = np.random.default_rng(0).integers(0, 256, (90, SIZE.height, SIZE.width, 3), dtype=np.uint8)
    write_segment([moving], SIZE, tmp_path / "guide.mp4")
    guide = Guide(video="e" * 64, mask=OTHER_PHOTO, denoising=0.7, masking=0.4)
    media = {"e" * 64: tmp_path / "guide.mp4"}

    def plan(windows: list[int], source: ContinueTake | None = None) -> Plan:
        return film_plan([window(n) for n in windows], source, EVERYTHING).model_copy(update={"guide": guide})

    seen: list[Progress] = []
    at_once = film("at-once", plan([1, 2]), media, on_progress=seen.append)
    steps = [(progress.window, progress.step) for progress in seen if progress.stage is Stage.DENOISING]
    assert steps == [(1, step) for step in (0, 2, 3, 4, 5)] + [(2, step) for step in range(6)]
    head = film("head", plan([1]), media)
    source, further_media = continued(head, windows=1)
    further = film("further", plan([2], source), {**media, **further_media})
    assert torch.equal(load_file(further.tail)["tail"], load_file(at_once.tail)["tail"])
    assert np.array_equal(frames_of(further), frames_of(at_once))


def discarding(plan: Plan, frames: int) -> Plan:
    return plan.model_copy(update={"discard_frames": frames})


def test_what_a_window_discards_is_neither_shown_nor_gone_on_from(film: Film):
    plan = film_plan([window(1)])
    whole, short = film("whole", plan), film("short", discarding(plan, 4))
    assert (whole.frames, short.frames) == (81, 77)
    assert np.array_equal(frames_of(short), frames_of(whole)[:77])
    assert not torch.equal(load_file(short.tail)["tail"], load_file(whole.tail)["tail"])


def test_three_windows_are_two_and_a_continuation_also_where_ends_are_discarded(film: Film):
    at_once = film("at-once", discarding(film_plan([window(1), window(2), window(3)]), 20))
    head = film("head", discarding(film_plan([window(1), window(2)]), 20))
    source, media = continued(head, windows=2)
    further = film("further", discarding(film_plan([window(3)], source), 20), media)
    assert further.frames == at_once.frames == film_frames(3, 20)
    assert torch.equal(load_file(further.tail)["tail"], load_file(at_once.tail)["tail"])
    assert np.array_equal(frames_of(further), frames_of(at_once))


def test_an_anchor_stays_until_another_one_is_named_also_over_a_continuation(film: Film):
    at_once = film("at-once", film_plan([window(1), window(2, OTHER_PHOTO), window(3)]))
    named = film("named", film_plan([window(1), window(2, OTHER_PHOTO), window(3, OTHER_PHOTO)]))
    assert np.array_equal(frames_of(at_once), frames_of(named))
    head = film("head", film_plan([window(1), window(2, OTHER_PHOTO)]))
    source, media = continued(head, windows=2)
    assert np.array_equal(frames_of(film("further", film_plan([window(3)], source), media)), frames_of(at_once))
    usual = film("usual", film_plan([window(1), window(2), window(3)]))
    assert not np.array_equal(frames_of(usual)[81:], frames_of(at_once)[81:])
    assert np.array_equal(frames_of(usual)[:81], frames_of(at_once)[:81])


def test_a_film_is_the_same_where_windows_are_developed_beside_the_next_ones(film: Film):
    plan = film_plan([window(1), window(2, anchor=OTHER_PHOTO), window(3)]).model_copy(update={"color_correction": 1.0})
    one_by_one, beside = film("one by one", plan), film("beside", plan, beside=True)
    assert beside.video.read_bytes() == one_by_one.video.read_bytes()
    assert beside.tail.read_bytes() == one_by_one.tail.read_bytes()
    assert beside.measured == one_by_one.measured


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("stage", "number"), [(Stage.DENOISING, 2), (Stage.DECODING, 2), (Stage.FILMED, 2), (Stage.JOINING, 3)]
)
def test_a_render_that_was_stopped_anywhere_goes_on_as_if_undisturbed(
    film: Film, stage: Stage, number: int, beside: bool
):
    plan = film_plan([window(1), window(2), window(3)])
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        if progress.stage is stage and progress.window == number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film("stopped", plan, on_progress=stop, beside=beside)
    resumed = film("stopped", plan, on_progress=seen.append, beside=beside)
    kept = number - 1 if stage in (Stage.DENOISING, Stage.DECODING) else number
    assert {p.window for p in seen if p.stage is Stage.FILMED} == set(range(kept + 1, 4))
    assert resumed.video.read_bytes() == film("undisturbed", plan).video.read_bytes()


def test_a_foreign_video_is_continued_from_its_last_kept_frames(film: Film, tmp_path: Path):
    moving = np.random.default_rng(0).integers(0, 256, (40, SIZE.height, SIZE.width, 3), dtype=np.uint8)
    write_segment([moving], SIZE, tmp_path / "foreign.mp4")
    media = {"e" * 64: tmp_path / "foreign.mp4"}
    whole = film("whole", film_plan([window(1)], ContinueVideo(video="e" * 64)), media)
    assert whole.frames == 40 + 76
    assert np.array_equal(frames_of(whole)[:40], np.stack(list(read_frames(tmp_path / "foreign.mp4"))))
    cut = film("cut", film_plan([window(1)], ContinueVideo(video="e" * 64, keep_frames=-10)), media)
    assert cut.frames == 30 + 76
    assert not np.array_equal(frames_of(cut)[30:], frames_of(whole)[40:])


def test_a_video_that_cannot_be_read_to_its_end_ends_the_render_early(film: Film, tmp_path: Path):
    """Its last frames, from which the film goes on, are sound."""
    broken = video_with_a_broken_frame(tmp_path / "broken.mov")
    plan = film_plan([window(1), window(2), window(3)], ContinueVideo(video="e" * 64))
    seen: list[Progress] = []
    with pytest.raises(UserError, match="damaged"):
        film("broken", plan, {"e" * 64: broken}, on_progress=seen.append)
    assert all(progress.window < 3 for progress in seen)


def video_with_a_broken_frame(path: Path) -> Path:
    """Sixty frames, each coded by itself; one in the middle is overwritten."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=16)
        stream.width, stream.height, stream.pix_fmt = SIZE.width, SIZE.height, "yuvj420p"
        for shade in range(60):
            frame = np.full((SIZE.height, SIZE.width, 3), 4 * shade, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        output.mux(stream.encode())
    with av.open(str(path)) as video:
        begin, count = [(packet.pos, packet.size) for packet in video.demux(video=0)][30]
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(count))
    return path


def test_a_render_that_is_stopped_makes_no_video_ready_any_more_and_one_that_goes_on_makes_it_once(
    film: Film, tmp_path: Path
):
    moving = np.random.default_rng(0).integers(0, 256, (40, SIZE.height, SIZE.width, 3), dtype=np.uint8)
    write_segment([moving], SIZE, tmp_path / "foreign.mp4")
    plan = film_plan([window(1)], ContinueVideo(video="e" * 64, keep_frames=-10))
    media, head = {"e" * 64: tmp_path / "foreign.mp4"}, tmp_path / "stopped" / "head.mp4"

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film("stopped", plan, media, on_progress=stop)
    assert not head.exists()

    def stop_at_the_end(progress: Progress) -> None:
        if progress.stage is Stage.JOINING:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film("stopped", plan, media, on_progress=stop_at_the_end)
    made = head.stat().st_ino
    resumed = film("stopped", plan, media)
    assert head.stat().st_ino == made
    assert resumed.video.read_bytes() == film("undisturbed", plan, media).video.read_bytes()


def test_progress_rises_step_by_step_to_one(film: Film):
    seen: list[Progress] = []
    film("watched", film_plan([window(1), window(2)]), on_progress=seen.append)
    fractions = [progress.fraction for progress in seen if progress.stage is not Stage.FILMED]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    denoised = [(progress.window, progress.step) for progress in seen if progress.stage is Stage.DENOISING]
    assert denoised == [(number, step) for number in (1, 2) for step in (0, 1, 2, 3)]


def test_each_window_is_told_of_once_when_it_is_kept_and_before_the_film_is_joined(film: Film, tmp_path: Path):
    told: list[tuple[Stage, int]] = []

    def watch(progress: Progress) -> None:
        told.append((progress.stage, progress.window))
        if progress.stage is Stage.FILMED:
            kept = tmp_path / "watched" / f"window-{progress.window:03}.mp4"
            assert len(list(read_frames(kept))) == (81 if progress.window == 1 else 76)

    film("watched", film_plan([window(1), window(2), window(3)]), on_progress=watch)
    assert [number for stage, number in told if stage is Stage.FILMED] == [1, 2, 3]
    assert all(told.index((Stage.DECODING, n)) < told.index((Stage.FILMED, n)) for n in (1, 2, 3))
    assert told[-2:] == [(Stage.FILMED, 3), (Stage.JOINING, 3)]


def test_the_file_holds_its_plan(film: Film):
    plan = film_plan([window(1)])
    assert Plan.model_validate_json(read_comment(film("told", plan).video) or "") == plan


def test_a_folder_belongs_to_one_plan(film: Film):
    film("mine", film_plan([window(1)]))
    with pytest.raises(ValueError, match="another plan"):
        film("mine", film_plan([window(2)]))
