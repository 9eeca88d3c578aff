"""A film that follows a guide video goes on following it, and its person is told where that ends: through the studio,
with real files; nobody films."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from discord_world import texts_of, world
from filming import SIZE, draw

from bot.proposal import Proposal
from bot.settings import BotSettings
from bot.studio import Studio
from bot.wish import Wish
from engine.segments import write_segment
from storage import sandbox
from storage.schema import Film, Guide, Take
from storage.timeline import DROPPED_FRAMES, WINDOW_FRAMES, film_frames, window_begin

ON = "The guide video goes on beside the new part."
GONE = "The guide video cannot be read any more, so this is filmed without it."


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(BotSettings(data_dir=tmp_path / "data", _env_file=None))  # type: ignore[call-arg]


def video(tmp_path: Path, frames: int) -> Path:
    file = tmp_path / f"{frames}.mp4"
    shade = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    write_segment([np.broadcast_to(shade, (frames, SIZE.height, SIZE.width, 3)).copy()], SIZE, file)
    return file


def wish(text: str, **more: object) -> Wish:
    return Wish(**{"text": text, "channel": "c", "requester": "ann", **more})  # type: ignore[arg-type]


def make(studio: Studio, tmp_path: Path, seconds: float = 5, **more: object) -> Proposal:
    photo = draw(tmp_path / "dog.png", 1)
    return asyncio.run(studio.film(wish("my dog runs", images=(photo,), seconds=seconds, **more)))


def proceed(studio: Studio, text: str = "he barks", seconds: float = 9.5, **more: object) -> Proposal:
    return asyncio.run(studio.proceed(wish(text, seconds=seconds, **more)))


def filmed(studio: Studio, proposal: Proposal) -> Take:
    job = studio.submit(proposal)
    studio.jobs.claim("w", 60)
    head = getattr(proposal.plan.source, "head_frames", DROPPED_FRAMES) - DROPPED_FRAMES
    frames = head + film_frames(len(proposal.plan.windows), proposal.plan.discard_frames)
    film = Film(video=studio.media.add_bytes(b"v"), tail=studio.media.add_bytes(b"t"), frames=frames, render_seconds=1)
    return studio.jobs.finish(job.id, 1, film)


def led(proposal: Proposal, studio: Studio) -> list[int]:
    """Frames of its guide that the engine finds beside each window of a plan."""
    plan = proposal.plan
    if plan.guide is None:
        return [0] * len(plan.windows)
    begins = [window_begin(plan.first_window + n, plan.discard_frames) for n in range(len(plan.windows))]
    return [len(sandbox.read_part(studio.media.path(plan.guide.video), b, WINDOW_FRAMES, SIZE)) for b in begins]


def notes_on_guide(proposal: Proposal) -> list[str]:
    return [note for note in proposal.notes if "guide video" in note]


@pytest.mark.parametrize(
    ("frames", "beside", "told"),
    [
        (60, [0, 0], "The guide video has 3.8 s and ended before the new part, which is filmed without it."),
        (76, [0, 0], "The guide video has 4.8 s and ended before the new part, which is filmed without it."),
        (77, [1, 0], "The guide video has 4.8 s and ended before the new part, which is filmed without it."),
        (81, [5, 0], "The guide video has 5.1 s and ended before the new part, which is filmed without it."),
        (82, [6, 0], "The guide video has 5.1 s and ends within the new part: the rest is filmed without it."),
        (157, [81, 5], "The guide video has 9.8 s and ends within the new part: the rest is filmed without it."),
        (232, [81, 80], "The guide video has 14.5 s and ends within the new part: the rest is filmed without it."),
        (233, [81, 81], ON),
        (400, [81, 81], ON),
    ],
)
def test_a_continuation_follows_the_guide_of_its_film_as_far_as_that_reaches(
    studio: Studio, tmp_path: Path, frames: int, beside: list[int], told: str
) -> None:
    take = filmed(studio, make(studio, tmp_path, guide=video(tmp_path, frames), settings=("denoising_strength=0.6",)))
    further = proceed(studio)
    assert led(further, studio) == beside
    assert notes_on_guide(further) == [told]
    assert (further.plan.guide is None) == (beside[0] == 0), "a plan needs no file that nothing is read of"
    if further.plan.guide:
        assert further.plan.guide == take.plan.guide
        assert further.plan.guide.denoising == 0.6


def test_a_new_film_says_where_its_guide_ends_and_nothing_of_one_that_lasts(studio: Studio, tmp_path: Path) -> None:
    short = make(studio, tmp_path, guide=video(tmp_path, 80))
    assert notes_on_guide(short) == [
        "The guide video has 5.0 s and ends within the film: the rest is filmed without it."
    ]
    assert notes_on_guide(make(studio, tmp_path, guide=video(tmp_path, 81))) == []
    assert notes_on_guide(make(studio, tmp_path)) == []


def test_a_guide_goes_on_through_every_continuation_and_another_one_takes_its_place(
    studio: Studio, tmp_path: Path
) -> None:
    first = filmed(studio, make(studio, tmp_path, guide=video(tmp_path, 400)))
    second = filmed(studio, proceed(studio, seconds=4.75))
    assert second.plan.guide == first.plan.guide
    third = proceed(studio, seconds=4.75)
    assert (led(third, studio), notes_on_guide(third)) == ([81], [ON])
    other = proceed(studio, seconds=4.75, guide=video(tmp_path, 170))
    assert other.plan.guide not in (None, first.plan.guide)
    assert led(other, studio) == [18], "it runs beside the whole film, too"
    free = proceed(studio, seconds=4.75, settings=("denoising_strength=1",))
    assert notes_on_guide(free) == [], "that much denoised, nothing is left of it"
    clip = proceed(studio, video=video(tmp_path, 30))
    assert clip.plan.guide is None, "it goes on from something else"


def test_a_guide_is_counted_by_windows_that_discard_their_ends(studio: Studio, tmp_path: Path) -> None:
    filmed(studio, make(studio, tmp_path, guide=video(tmp_path, 70), settings=("discard_frames=8",)))
    further = proceed(studio, seconds=4)
    assert (led(further, studio)[0], notes_on_guide(further)) == (
        2, ["The guide video has 4.4 s and ended before the new part, which is filmed without it."]
    )  # fmt: skip


@pytest.mark.parametrize("lost", ["video", "mask", "damaged"])
def test_a_guide_that_is_lost_is_said_to_be_and_keeps_nobody_from_going_on(
    studio: Studio, tmp_path: Path, lost: str
) -> None:
    mask = draw(tmp_path / "mask.png", 2)
    guide = filmed(studio, make(studio, tmp_path, guide=video(tmp_path, 400), guide_mask=mask)).plan.guide
    assert isinstance(guide, Guide)
    assert guide.mask
    if lost == "damaged":
        studio.media.path(guide.video).write_bytes(b"rot")
    else:
        studio.media.remove(guide.video if lost == "video" else guide.mask)
    further = proceed(studio)
    assert (further.plan.guide, notes_on_guide(further)) == (None, [GONE])
    assert studio.submit(further).plan == further.plan


@pytest.mark.asyncio
async def test_a_card_says_that_the_guide_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.ann.click(w.messages[-1], label="Film it")
        job = await w.work()
        led_plan = job.plan.model_copy(update={"guide": Guide(video=w.studio.media.add_file(video(tmp_path, 400)))})
        with w.studio.database.write() as db:
            db.execute("UPDATE jobs SET plan = :plan", {"plan": led_plan.model_dump_json()})
        w.finish(w.studio.jobs.get(job.id))
        await w.turn()
        await w.say(w.bob, "now he meets a crab", reply_to=w.messages[-1])
        assert ON in texts_of(w.messages[-1])
