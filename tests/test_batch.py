"""Several films at once, and the files beside a start picture: through the studio, with real files."""

import asyncio
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
from filming import draw

from bot.batch import MOST_FILMS, Pairing, paired, repeated
from bot.settings import BotSettings
from bot.studio import Studio
from bot.wish import Wish
from planner.compiler import window_seed
from storage.pictures import load_picture
from storage.schema import Plan, Size, UserError

A, B, C, D = (Path(f"{name}.png") for name in "abcd")


def pairs(pairing: Pairing, images: list[Path], *lines: str) -> list[tuple[str, str]]:
    wish = Wish(text="\n".join(lines), channel="c", requester="r", images=images)
    return [(each.images[0].stem, each.text) for each in paired(wish, pairing)]


# ---- pairs, as in the source: all combinations by picture, or side by side in blocks ----


def test_all_pairs_go_through_the_lines_for_one_picture_after_the_other() -> None:
    assert pairs(Pairing.ALL, [A, B], "x", "y", "z") == [(i, p) for i in "ab" for p in "xyz"]


@pytest.mark.parametrize(
    ("images", "lines", "expected"),
    [
        ([A, B], "xy", ["ax", "by"]),
        ([A, B], "wxyz", ["aw", "ax", "by", "bz"]),
        ([A, B, C, D], "xy", ["ax", "bx", "cy", "dy"]),
        ([A], "xyz", ["ax", "ay", "az"]),
    ],
)
def test_matched_pairs_stand_side_by_side_and_fewer_are_repeated_in_blocks(
    images: list[Path], lines: str, expected: list[str]
) -> None:
    assert pairs(Pairing.MATCHED, images, *lines) == [(pair[0], pair[1]) for pair in expected]


def test_empty_lines_and_comments_are_no_stories() -> None:
    assert pairs(Pairing.ALL, [A], "# two", "", " x ", "y") == [("a", "x"), ("a", "y")]


@pytest.mark.parametrize(
    ("pairing", "images", "lines", "sentence"),
    [
        (Pairing.MATCHED, [A, B, C], "xy", "3 pictures and 2 stories do not match"),
        (Pairing.ALL, [], "xy", "give at least one of each"),
        (Pairing.ALL, [A], "#", "give at least one of each"),
        (Pairing.ALL, [A, B, C, D], "abcdefg", "These pairs make 28 films: 25 at most"),
    ],
)
def test_pairs_that_cannot_be_made_are_refused(pairing: Pairing, images: list[Path], lines: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        pairs(pairing, images, *lines)


# ---- through the studio ----


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(BotSettings(data_dir=tmp_path / "data", _env_file=None))  # type: ignore[call-arg]


def proposal(studio: Studio, text: str = "a dog runs, 14.5 s", **more: object):
    return asyncio.run(studio.film(Wish(**{"text": text, "channel": "c", "requester": "r", **more})))  # type: ignore[arg-type]


def plan(studio: Studio, **more: object) -> Plan:
    made: Plan = proposal(studio, **more).plan
    return made


def test_a_plan_is_repeated_with_the_given_seed_first_and_fresh_ones_behind_it(studio: Studio, tmp_path: Path) -> None:
    first = proposal(studio, images=[draw(tmp_path / "dog.png", 1)], seed=5)
    films = repeated([first], 3, count(70).__next__)
    assert films[0] == first
    assert [film.plan.seed for film in films] == [5, 70, 71]
    assert [film.plan.windows[1].seed for film in films] == [window_seed(seed, 2) for seed in (5, 70, 71)]
    assert {film.plan.storyboard.title for film in films} == {first.plan.storyboard.title}
    jobs = [studio.submit(film) for film in films]
    assert [job.plan for job in studio.jobs.queue()] == [film.plan for film in films]
    assert len({job.id for job in jobs}) == 3


def test_more_films_than_anybody_waits_for_are_refused(studio: Studio, tmp_path: Path) -> None:
    one = proposal(studio, images=[draw(tmp_path / "dog.png", 1)])
    with pytest.raises(UserError, match=f"makes 50 films: {MOST_FILMS} at most"):
        repeated([one, one], 25, count().__next__)


def test_a_film_may_start_from_black_as_large_as_it_is_filmed(studio: Studio, tmp_path: Path) -> None:
    made = plan(studio, black=True)
    black = load_picture(studio.media.path(made.source.image))  # type: ignore[union-attr]
    assert (black.width, black.height) == (made.size.width, made.size.height)
    assert not np.asarray(black).any()
    sized = plan(studio, black=True, size=(96, 64))
    assert sized.size == Size(width=96, height=64)


def test_black_is_picture_one_and_an_anchor_comes_behind_it(studio: Studio, tmp_path: Path) -> None:
    made = plan(studio, black=True, anchors=[draw(tmp_path / "dog.png", 1)])
    assert not np.asarray(load_picture(studio.media.path(made.source.image))).any()  # type: ignore[union-attr]
    assert [bool(window.anchor) for window in made.windows] == [False, True, False]


def test_anchors_alone_start_a_film_and_are_counted_among_the_pictures(studio: Studio, tmp_path: Path) -> None:
    files = [draw(tmp_path / f"{number}.png", number) for number in range(1, 4)]
    made = plan(studio, anchors=files)
    assert len(made.media) == 3
    many = [files[0]] * (studio.settings.max_pictures + 1)
    with pytest.raises(UserError, match="pictures are too many"):
        plan(studio, anchors=many)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16, width=64, height=48, pix_fmt="yuv420p")  # type: ignore[call-overload]
        for level in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_video_to_follow_is_kept_with_its_mask_and_its_strengths(studio: Studio, tmp_path: Path, clip: Path) -> None:
    made = plan(
        studio,
        images=[draw(tmp_path / "dog.png", 1)],
        guide=clip,
        guide_mask=clip,
        settings=["denoising_strength=0.5 masking_strength=0.3"],
    )
    assert made.guide is not None
    assert (made.guide.denoising, made.guide.masking) == (0.5, 0.3)
    assert studio.media.path(made.guide.video).read_bytes() == clip.read_bytes()
    assert made.guide.mask == made.guide.video
    still = plan(studio, images=[tmp_path / "dog.png"], guide=clip, guide_mask=draw(tmp_path / "mask.png", 2))
    assert still.guide is not None
    assert load_picture(studio.media.path(still.guide.mask)).size == (80, 60)
    assert still.guide.mask in still.media


def test_a_mask_needs_a_video_and_a_video_must_be_one(studio: Studio, tmp_path: Path, clip: Path) -> None:
    photo = draw(tmp_path / "dog.png", 1)
    with pytest.raises(UserError, match="give that with --guide"):
        plan(studio, images=[photo], guide_mask=clip)
    with pytest.raises(UserError, match="There is no file"):
        plan(studio, images=[photo], guide=tmp_path / "none.mp4")
