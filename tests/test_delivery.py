"""What is delivered of a film that came to nothing, is damaged, or has to wait for room."""

from pathlib import Path

import pytest
from discord_world import World, texts_of, world

from storage.disk import NEARLY_FULL
from storage.eviction import Eviction
from storage.schema import ContinueTake, Film, Take

pytestmark = pytest.mark.asyncio


async def leave_a_window(w: World, reason: str = "The card burnt.") -> Take:
    """A job of three windows fails for good after its first."""
    job = await w.work()
    assert len(job.plan.windows) == 3
    short = w.finish_video(job, frames=81)
    film = Film(video=short, tail=w.studio.media.add_bytes(b"tail"), frames=81, render_seconds=2.0, windows=1)
    w.studio.jobs.fail(job.id, job.attempts, reason, retry=False, film=film)
    await w.turn()
    take = w.studio.takes.made_by(job.id)
    assert take is not None
    return take


async def test_what_was_finished_of_a_film_that_failed_is_posted_once_and_can_be_continued(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "15 s of my dog, he runs, at 6 s he jumps, at 11 s he sleeps", w.photo)
        card = w.messages[0]
        take = await leave_a_window(w)
        await w.turn()
        (film,) = [message for message in w.messages if message.attachments]
        assert [a.filename for a in film.attachments] == [f"take-{take.id}.mp4"]
        assert "Only 1 of 3 windows" in texts_of(film)
        said = texts_of(w.fresh(card))
        assert "The card burnt." in said
        assert f"[take {take.id}](" in said, "the card leads to it"
        assert not w.studio.cards.followed()

        await w.say(w.bob, "now he meets a crab", reply_to=film)
        plan = (await w.work()).plan
        assert isinstance(plan.source, ContinueTake)
        assert (plan.source.video, plan.first_window) == (take.film.video, 2)
        await w.say(w.bob, "now he meets a bird", reply_to=card)
        assert (await w.work()).plan.first_window == 2, "its card leads to it, too"


async def test_a_film_whose_file_is_damaged_is_told_of_once_and_not_tried_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        take = w.finish(await w.work())
        path = w.studio.media.path(take.film.video)
        path.write_bytes(path.read_bytes()[:-100])
        await w.turn()
        await w.turn()
        assert len(w.messages) == 1
        assert "cannot be sent" in texts_of(w.fresh(w.messages[0]))
        assert not w.studio.cards.followed(), "nobody tries again"
        await w.ann.click(w.fresh(w.messages[0]), label="Try again")
        assert (await w.work()).plan == take.plan, "but who asks for it"


async def test_a_card_whose_job_cannot_be_read_any_more_is_settled_and_the_others_go_on(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.say(w.bob, "5 s of my dog, he sleeps", w.photo)
        with w.studio.database.write() as db:
            db.execute("UPDATE jobs SET plan = '{}' WHERE id = 1")
        take = await w.filmed()
        assert take.job == 2
        await w.turn()
        assert "Job 1 cannot be read any more" in texts_of(w.fresh(w.messages[0]))
        assert not w.studio.cards.followed()


async def test_who_wants_a_film_that_was_removed_to_save_room_is_told_how_to_have_it_again(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        take = await w.filmed()
        with w.studio.database.write() as db:
            db.execute("UPDATE takes SET created_ms = 0")
        assert Eviction(w.studio.database, w.studio.media, 1e-9).evict() == [take.film.video]
        shown = w.messages[-1]
        pressed = await w.ann.click(shown, label="Send to me")
        said = pressed.response.content
        assert f"The video of take {take.id} was removed to save room." in said
        assert f"seed {take.plan.seed}" in said

        await w.say(w.bob, "now he meets a crab", reply_to=shown)
        assert "so it is filmed again first" in texts_of(w.messages[-1])
        assert (await w.work()).plan.source.kind == "take"


async def test_a_card_that_waits_for_room_says_so_until_there_is(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False, disk_margin_gb=1e6) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.turn()
        await w.turn()
        assert NEARLY_FULL in texts_of(w.fresh(w.messages[0]))
        object.__setattr__(w.studio.settings, "disk_margin_gb", 0.0)  # as if a file had been deleted
        await w.turn()
        await w.turn()
        assert NEARLY_FULL not in texts_of(w.fresh(w.messages[0]))
