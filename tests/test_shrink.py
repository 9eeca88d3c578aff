"""Films made smaller: real encodes of small films."""

import asyncio
import os
import time
from pathlib import Path

import numpy as np
import pytest
from filming import SIZE, film_plan, window

from bot.shrink import Copies, shrink, target_of
from engine.segments import join, write_segment
from storage.footage import VideoFacts, probe, read_comment, read_frames
from storage.media import Media
from storage.schema import Errand, Film, Size, Take


def noise(frames: int, size: Size, path: Path, comment: str = "the plan") -> Path:
    """A film that nothing compresses well."""
    drawn = np.random.default_rng(1).integers(0, 256, (frames, size.height, size.width, 3), dtype=np.uint8)
    write_segment([drawn], size, path.with_suffix(".part.mp4"))
    join([path.with_suffix(".part.mp4")], path, comment)
    return path


@pytest.mark.parametrize("share", [0.6, 0.25, 0.1])
def test_a_smaller_copy_fits_and_keeps_every_frame_its_time_and_the_plan(tmp_path: Path, share: float):
    film = noise(81, Size(width=256, height=160), tmp_path / "film.mp4")
    most = round(share * film.stat().st_size)
    assert shrink(film, most, tmp_path / "copy.mp4")
    facts, copy = probe(film), probe(tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").stat().st_size <= most
    assert (copy.frames, copy.fps, copy.codec) == (facts.frames, 16.0, "h264")
    assert sum(1 for _ in read_frames(tmp_path / "copy.mp4")) == 81
    assert read_comment(tmp_path / "copy.mp4") == "the plan"
    head = (tmp_path / "copy.mp4").read_bytes()[:4096]
    assert head.find(b"moov") < head.find(b"mdat") or b"mdat" not in head, "it plays before it has all"


def test_a_film_at_32_frames_a_second_keeps_its_pace(tmp_path: Path):
    size = Size(width=128, height=96)
    drawn = np.random.default_rng(1).integers(0, 256, (33, size.height, size.width, 3), dtype=np.uint8)
    write_segment([drawn], size, tmp_path / "part.mp4", fps=32)
    join([tmp_path / "part.mp4"], tmp_path / "film.mp4", "the plan", fps=32)
    assert shrink(tmp_path / "film.mp4", (tmp_path / "film.mp4").stat().st_size // 2, tmp_path / "copy.mp4")
    facts = probe(tmp_path / "copy.mp4")
    assert (facts.frames, facts.fps, facts.seconds) == (17, 32.0, 17 / 16)


def test_what_cannot_be_seen_any_more_is_not_made(tmp_path: Path):
    film = noise(81, SIZE, tmp_path / "film.mp4")
    assert not shrink(film, 3000, tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()


def test_pixels_are_given_up_only_when_each_would_get_too_few_bits():
    facts = VideoFacts(832, 480, frames=1920, fps=16.0, codec="h264", rotation=0)
    sizes = [target_of(facts, mib * 2**20) for mib in (50, 9.5, 2, 1, 0.1)]
    assert [target and (target.width, target.height) for target in sizes[:2]] == [(832, 480)] * 2
    assert sizes[2] is not None
    assert sizes[3] is not None
    assert sizes[3].width < sizes[2].width < 832
    assert sizes[3].width / sizes[3].height == pytest.approx(832 / 480, rel=0.02)
    assert sizes[4] is None
    assert all(target.width % 2 == target.height % 2 == 0 for target in sizes if target)


@pytest.mark.asyncio
async def test_a_copy_is_made_once_and_forgotten_after_a_week(tmp_path: Path):
    media = Media(tmp_path / "media")
    film = media.add_file(noise(81, SIZE, tmp_path / "film.mp4"))
    made = Film(video=film, tail=media.add_bytes(b"tail"), frames=81, render_seconds=1.0)
    errand = Errand(channel="c", requester="me")
    take = Take.model_construct(id=1, job=1, plan=film_plan([window(1)]), film=made, errand=errand)
    copies, size = Copies(media, tmp_path / "copies"), media.path(film).stat().st_size
    assert await copies.fitting(take, size) == media.path(film), "what fits is not touched"
    first, second = await asyncio.gather(copies.fitting(take, size // 2), copies.fitting(take, size // 2))
    assert first is not None
    assert first == second
    assert [file.name for file in (tmp_path / "copies").iterdir()] == [first.name]
    os.utime(first, (time.time() - 8 * 86400,) * 2)
    third = await copies.fitting(take, size // 3)
    assert [file.name for file in (tmp_path / "copies").iterdir()] == [third.name]
    assert await copies.fitting(take, 1000) is None
