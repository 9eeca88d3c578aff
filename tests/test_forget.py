"""Forgetting: what is deleted is in no row and no file, and what others made of it stays whole."""

import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from discord_world import World, world

from storage.schema import JobState, Person, Policy, UserError, Wishes

pytestmark = pytest.mark.asyncio
WORD = "xylophonist"  # that nobody else writes
STORY = f"5 s of a {WORD}, he runs to the sea at 2 seconds"
DAY = 86400.0


def traces(w: World, *needles: str) -> dict[str, list[str]]:
    """Where anything of somebody is left: in the database file and its log after VACUUM, and in every other file."""
    database = w.folder / "data" / "longtake.db"
    with sqlite3.connect(database) as db:
        db.execute("VACUUM")
    db.close()
    w.studio.forget._database.checkpoint()
    found: dict[str, list[str]] = {}
    for file in (w.folder / "data").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            found[str(file.relative_to(w.folder))] = [needle for needle in needles if needle.encode() in data]
    return {name: needles for name, needles in found.items() if needles}


def media(w: World) -> set[str]:
    return set(w.studio.media.all())


def free(w: World, **more) -> None:
    w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False, minutes_per_day=100, **more))


async def film(w: World, who, story: str = STORY):
    await who.slash(w.channel, "film", story=story, image1=w.photo)
    return await w.filmed()


async def test_after_deletion_no_row_and_no_file_has_a_persons_id_or_words(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        await w.ann.react(w.messages[-1], "ℹ️")  # an event with her number in its name
        await w.say(w.ann, STORY, w.photo)  # one that waits
        w.studio.manners.keep_person(f"discord:{w.ann.id}", Person(approve=True, seconds=9))
        await w.say(w.ann, STORY, w.photo)  # a draft
        await w.ann.slash(w.channel, "me", approve=True)
        await w.ann.user.slash("film", story=STORY, image1=w.photo)
        assert traces(w, str(w.ann.id), WORD), "the test would find them"
        assert media(w)
        take = w.studio.takes.made_for(f"discord:{w.ann.id}", datetime.now(UTC) - timedelta(days=1))[0]
        copies = tmp_path / "data" / "copies"
        copies.mkdir(exist_ok=True)
        for video in (take.film.video, "0" * 64):
            (copies / f"{video}-9000.mp4").write_bytes(b"a smaller copy")
        result = await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert "Deleted: 1 films" in result.response.content
        assert [copy.name for copy in copies.iterdir()] == [f"{'0' * 64}-9000.mp4"]
        await w.env.settle()
        assert traces(w, str(w.ann.id), WORD) == {}
        assert media(w) == set()
        assert w.studio.jobs.queue() == []


async def test_deleted_rows_are_overwritten_at_once_and_not_only_with_vacuum(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        await w.ann.slash(w.channel, "mydata delete", sure=True)
        files = list((tmp_path / "data").glob("longtake.db*"))
        assert len(files) >= 1
        for file in files:
            assert WORD.encode() not in file.read_bytes(), file.name


async def test_deletion_takes_the_messages_away_and_leaves_those_of_others(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.bob)
        theirs = [message.id for message in w.messages]
        await film(w, w.ann)
        await w.ann.slash(w.channel, "mydata delete", sure=True)
        await w.env.settle()
        assert [message.id for message in w.messages] == theirs
        assert len(w.studio.takes.history(f"discord:{w.channel.id}")) == 1


async def test_a_continuation_of_somebody_else_stays_playable_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        first = await film(w, w.ann)
        await w.bob.slash(w.channel, "continue", happens="now he meets a crab", take=first.id)
        second = await w.filmed()
        result = await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert f"made from yours (take {second.id})" in result.response.content
        assert "what their plans took over from yours, stay" in result.response.content
        with pytest.raises(UserError):
            w.studio.takes.get(first.id)
        left = w.studio.takes.get(second.id)
        assert left.errand.parent is None
        assert left.film == second.film
        w.studio.media.require({left.film.video, left.film.tail, *left.plan.media})
        assert traces(w, str(w.ann.id)) == {}
        await w.bob.slash(w.channel, "again", take=second.id)
        third = await w.filmed()
        await w.bob.slash(w.channel, "continue", happens="now he sleeps", take=second.id)
        assert (await w.filmed()).errand.parent == second.id
        assert (third.errand.parent, third.errand.again_of) == (None, second.id)


async def test_another_take_of_somebody_else_stays_and_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        await w.bob.slash(w.channel, "again")
        other = await w.filmed()
        result = await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert f"made from yours (take {other.id})" in result.response.content
        assert w.studio.takes.get(other.id).errand.again_of is None
        w.studio.media.require(other.plan.media)
        assert traces(w, str(w.ann.id)) == {}


async def test_what_was_kept_for_a_continuation_goes_with_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        await w.bob.slash(w.channel, "continue", happens="now he meets a crab")
        await w.filmed()
        await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert media(w)
        await w.bob.slash(w.channel, "mydata delete", sure=True)
        assert media(w) == set()


async def test_a_ban_outlives_deletion_and_is_all_that_does(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        ann = f"discord:{w.ann.id}"
        free(w, banned=(ann,))
        result = await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert "keeps a ban of you" in result.response.content
        assert w.studio.manners.policy(f"discord:{w.guild.id}").banned == (ann,)
        assert traces(w, WORD) == {}


async def test_deleting_is_no_way_around_the_limit(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        take = await film(w, w.ann)
        ann = f"discord:{w.ann.id}"
        used = w.studio.quota.used_minutes(ann)
        assert used == pytest.approx(take.plan.new_seconds / 60)
        await w.ann.click(w.messages[-1], label="Delete")
        assert w.studio.takes.history(f"discord:{w.channel.id}") == []
        assert w.studio.quota.used_minutes(ann) == pytest.approx(used)
        assert w.studio.quota.used_minutes(f"discord:{w.bob.id}") == 0


async def test_a_take_that_its_owner_deletes_is_gone_and_its_children_stay(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        first = await film(w, w.ann)
        shown = w.messages[-1]
        await w.bob.slash(w.channel, "again")
        other = await w.filmed()
        await w.bob.slash(w.channel, "again", take=first.id)
        third = await w.filmed()
        await w.bob.slash(w.channel, "continue", happens="now he meets a crab", take=first.id)
        child = await w.filmed()
        assert "moderator can delete" in (await w.bob.click(shown, label="Delete")).response.content
        await w.ann.click(shown, label="Delete")
        assert shown.id not in [message.id for message in w.messages]
        now = [w.studio.takes.get(take.id).errand for take in (other, third, child)]
        assert [errand.again_of for errand in now] == [None, other.id, None], "the oldest that stays is the first now"
        assert now[2].parent is None
        assert not w.studio.media.path(child.film.video).samefile(w.studio.media.path(other.film.video))
        w.studio.media.require(child.plan.media)


async def test_a_job_that_runs_when_its_asker_is_forgotten_is_nobodys(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        job = await w.work()
        await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert w.studio.jobs.heartbeat(job.id, job.attempts, 60) is False
        assert w.studio.jobs.unwanted(job.id)
        await w.turn()
        assert w.studio.cards.open_cards() == []


# ---- the message that asked ----


async def test_a_draft_goes_with_the_message_that_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        asked = await w.say(w.ann, STORY, w.photo)
        assert traces(w, WORD)
        await w.ann.delete(asked)
        await w.env.settle()
        assert traces(w, str(w.ann.id), WORD) == {}
        assert media(w) == set()
        assert w.messages == []


async def test_a_film_that_waits_is_cancelled_with_the_message_that_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        asked = await w.say(w.ann, STORY, w.photo)
        await w.ann.delete(asked)
        await w.env.settle()
        assert w.studio.jobs.queue() == []
        assert media(w) == set()


async def test_a_film_that_is_being_made_or_done_stays(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        asked = await w.say(w.ann, STORY, w.photo)
        job = await w.work()
        await w.ann.delete(asked)
        await w.env.settle()
        assert w.studio.jobs.get(job.id).state is JobState.RUNNING
        take = w.finish(job)
        await w.turn()
        assert [a.filename for a in w.messages[-1].attachments] == [f"take-{take.id}.mp4"]


async def test_pictures_of_messages_that_asked_nothing_of_us_are_never_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.ann.send(w.channel, "look at my dog", attachments=[w.photo])
        assert media(w) == set()


# ---- by time, and by server ----


async def test_retention_forgets_what_is_old_and_nothing_that_waits(tmp_path: Path) -> None:
    async with world(tmp_path, retention_days=30) as w:
        free(w)
        old = await film(w, w.ann)
        await w.bob.slash(w.channel, "film", story="5 s of a cat", image1=w.photo)
        w.studio.tidy()
        assert w.studio.takes.get(old.id) == old, "it is young"
        w.studio.forget._now = lambda: time.time() + 31 * DAY
        w.studio.tidy()
        assert traces(w, WORD) == {}
        assert [job.errand.requester for job in w.studio.jobs.queue()] == [f"discord:{w.bob.id}"]
        w.studio.media.require(w.studio.jobs.queue()[0].plan.media)


async def test_without_retention_nothing_is_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        old = await film(w, w.ann)
        w.studio.forget._now = lambda: time.time() + 5000 * DAY
        w.studio.tidy()
        assert w.studio.takes.get(old.id) == old
        w.studio.media.require({old.film.video, old.film.tail, *old.plan.media})


async def test_pictures_of_requests_that_came_to_nothing_are_swept(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        kept = await film(w, w.ann)
        stray = w.studio.media.add_bytes(b"a picture of nothing")
        assert w.studio.forget.strays(3600) == 0, "it may be on its way"
        os.utime(w.studio.media.path(stray), (time.time() - 3601,) * 2)
        assert w.studio.forget.strays(3600) == 1
        assert stray not in media(w)
        w.studio.media.require({kept.film.video, kept.film.tail, *kept.plan.media})


async def test_a_server_that_removes_the_bot_is_forgotten_and_no_other(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        elsewhere = w.env.create_guild("elsewhere")
        lobby, cat = elsewhere.create_text_channel("lobby"), elsewhere.add_member(w.env.create_user("cat"))
        await w.env.settle()
        await cat.slash(lobby, "film", story="5 s of a cat", image1=w.photo)
        w.client.dispatch("guild_remove", w.client.get_guild(w.guild.id))
        await w.env.settle()
        assert traces(w, str(w.ann.id), WORD, str(w.guild.id), str(w.channel.id)) == {}
        (card,) = w.studio.cards.open_cards()
        assert card.channel == f"discord:{lobby.id}"
        w.studio.media.require(card.draft.plan.media)


async def test_how_far_a_server_was_read_is_forgotten_with_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        assert w.studio.seen.marks().keys() == {f"discord:{w.channel.id}"}
        other = w.guild.create_text_channel("bobs")
        await w.bob.send(other, f"{w.mention} best quality")  # settings, and no card
        assert f"discord:{other.id}" in w.studio.seen.marks()
        w.studio.forget.place(f"discord:{w.guild.id}")
        assert w.studio.seen.marks() == {}
        assert w.studio.channels.wishes(f"discord:{other.id}") == Wishes()


async def test_spent_film_is_forgotten_after_a_day(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        free(w)
        await film(w, w.ann)
        await w.ann.slash(w.channel, "mydata delete", sure=True)
        since = datetime.now(UTC) - timedelta(days=1)
        assert w.studio.quota._spent.seconds(f"discord:{w.ann.id}", since) > 0
        w.studio.forget._now = lambda: time.time() + 2 * DAY
        await film(w, w.bob)
        w.studio.forget.person(f"discord:{w.bob.id}")
        rows = w.studio.forget._database.rows("SELECT * FROM spent", {})
        assert all(row["at_ms"] > (time.time() + DAY) * 1000 for row in rows)
