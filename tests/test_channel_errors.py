"""What goes wrong in a channel: each error says what, why and what now, privately where that is possible."""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import discord
import numpy as np
import pytest
from discord_world import World, allow, texts_of, world
from filming import SIZE, draw
from PIL import Image

from engine.segments import write_segment
from planner.director import Director
from planner.moderation import Case, Moderator, Restricted, moderator, pattern_of
from storage.renders import render_folder, segment_name
from storage.schema import JobState
from storage.timeline import WINDOW_FRAMES

pytestmark = pytest.mark.asyncio
STORY = "5 s of my dog, he runs to the sea at 2 seconds"
LONG = "18 s of my dog, he runs to the sea at 2 seconds, at 8 s he jumps, at 14 s he sleeps"


def said(result) -> str:
    """What somebody was told privately."""
    parts = [message for message in (result.response, *result.followups) if message]
    assert parts, "every press is answered"
    assert all(message.ephemeral for message in parts), [message.content for message in parts]
    return "\n".join(message.content for message in parts)


async def film(w: World, who=None, story: str = STORY, **more) -> str:
    return said(await (who or w.ann).slash(w.channel, "film", story=story, **{"image1": w.photo, **more}))


def bomb(side: int = 30_000) -> bytes:
    """A PNG of side x side black pixels, one bit each: a few hundred kilobytes that unpack to 900 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# ---- limits ----


async def test_too_many_films_waiting_says_how_many_when_one_frees_and_what_to_do(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, queue_per_person=2)
        await film(w)
        await w.filmed()  # so that the time of one is known
        await film(w)
        await film(w)
        text = await film(w)
        assert "You have 2 films waiting; the limit is 2." in text
        assert "The next place frees in about" in text
        assert "You can cancel one." in text
        assert len(w.studio.jobs.queue()) == 2
        assert "Planned" in await film(w, w.bob), "the limit is each person's own"


async def test_quota_is_charged_at_delivery_and_never_before(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, minutes_per_day=0.15)  # 9 s
        ann = f"discord:{w.ann.id}"
        await film(w)
        assert w.studio.quota.used_minutes(ann) == 0
        job = await w.work()
        w.studio.jobs.fail(job.id, job.attempts, "The card burnt.", retry=False)
        await film(w)
        await w.ann.slash(w.channel, "cancel")
        assert w.studio.quota.used_minutes(ann) == 0, "what failed or was cancelled costs nothing"
        await film(w)
        take = await w.filmed()
        assert w.studio.quota.used_minutes(ann) == pytest.approx(take.plan.new_seconds / 60)
        text = await film(w)
        assert "0.1 minutes of film in the last 24 hours; the limit is 0.15" in text
        assert "It frees up as those get older." in text


async def test_a_film_that_is_too_long_here_says_how_long_it_may_be(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, max_seconds=10)
        text = await film(w, story=LONG)
        assert "on this server a film has at most 10 s. Ask for a shorter one, then continue it." in text


async def test_an_over_long_story_is_refused_with_its_length(tmp_path: Path) -> None:
    async with world(tmp_path, max_story=500) as w:
        assert "The story has 501 characters: 500 at most, please." in await film(w, story="x" * 501)
        await w.say(w.ann, "y" * 501, w.photo)
        assert "The story has 501 characters: 500 at most, please." in texts_of(w.last)


# ---- pictures ----


async def test_a_heic_picture_is_named_and_what_to_do(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        text = await film(w, image1=("photo.heic", b"\0\0\0\x18ftypheic" + bytes(64)))
        assert "photo.heic is HEIC" in text
        assert "Save it as JPEG and send it again." in text


async def test_too_many_megapixels_says_how_large_it_is_and_may_be(tmp_path: Path) -> None:
    async with world(tmp_path, max_megapixels=0.01) as w:
        picture = draw(tmp_path / "large.png", 1, (400, 300)).read_bytes()
        text = await film(w, image1=("large.png", picture))
        assert "400x300 is too large. A picture may have at most 0.01 million pixels." in text


async def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        data = bomb()
        assert len(data) < 1_000_000
        text = await film(w, image1=("small.png", data))
        assert "may have at most 64 million pixels" in text
        assert w.studio.media.all() == []


async def test_a_picture_of_21_mb_is_refused_before_anything_is_downloaded(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        files = w.client.front._cdn
        huge = ("huge.png", w.photo[1] + bytes(21 * 2**20))
        text = await film(w, image1=huge)
        assert "huge.png has 21.0 MB; the most is 20 MB. Send a smaller copy." in text
        await w.say(w.ann, STORY, huge)
        assert "the most is 20 MB" in texts_of(w.last)
        assert files.fetched == []
        await film(w)
        assert len(files.fetched) == 1, "what is fine is fetched from there"


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("notes.txt", b"hello", "notes.txt is PLAIN"),
        ("walk.mp4", b"\0\0\0\x18ftypmp42", "I can't continue video files here"),
        ("song.png", b"ID3" + bytes(99), "is not the picture that its name says"),
        ("page.png", b"<html></html>", "is not the picture that its name says"),
        ("evil.jpg", b"%PDF-1.7", "is not the picture that its name says"),
    ],
)
async def test_a_wrong_type_is_named_and_what_to_do(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    async with world(tmp_path) as w:
        text = await film(w, image1=(name, data))
        assert told in text
        assert text.rstrip().endswith((".", "!")), "it says what to do"
        assert w.messages == []


async def test_a_truncated_picture_is_said_to_be_one(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        text = await film(w, image1=("dog.png", w.photo[1][: len(w.photo[1]) // 2]))
        assert "cannot be read as a picture: damaged, cut off" in text


async def test_a_picture_that_lies_about_its_name_is_filmed_as_what_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        jpeg = io.BytesIO()
        Image.open(io.BytesIO(w.photo[1])).save(jpeg, "JPEG")
        assert "Planned" in await film(w, image1=("dog.png", jpeg.getvalue()))


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_photo_stands_upright_and_leaves_its_notes_behind(tmp_path: Path, orientation: int) -> None:
    async with world(tmp_path) as w:
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = orientation, "taken at home"
        data = io.BytesIO()
        Image.open(io.BytesIO(w.photo[1])).save(data, "JPEG", exif=exif)
        allow(w, approve=True)
        await film(w, image1=("dog.jpg", data.getvalue()))
        (kept,) = w.studio.cards.open_cards()[0].draft.request.images
        assert (kept.width > kept.height) == (orientation <= 4)
        file = w.studio.media.path(kept.media)
        assert b"taken at home" not in file.read_bytes()
        assert not Image.open(file).getexif()


async def test_five_pictures_of_a_message_are_too_many(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, STORY, *[w.photo] * 5)
        assert "5 pictures are too many: send 4 at most." in texts_of(w.last)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.png", "a" * 300 + ".png", "\u202egnp.exe.png", "x\ny.png", "@everyone.png"]
)
async def test_a_file_name_is_never_used_and_never_pings(tmp_path: Path, name: str) -> None:
    async with world(tmp_path) as w:
        allow(w, approve=True)
        await film(w, image1=(name, w.photo[1]))
        assert w.studio.cards.open_cards()[0].draft.request.images[0].name == "picture 1.png"
        text = await film(w, image1=(name.replace(".png", ".txt"), b"x"))
        assert "@everyone" not in text.replace("@\u200beveryone", "")
        assert "\u202e" not in text


# ---- planning ----


class Broken:
    """A storyboarder that falls over."""

    async def storyboard(self, *_: object) -> None:
        raise RuntimeError("the model said nonsense twice")


async def test_a_planner_that_fails_says_that_nothing_was_charged(tmp_path: Path, caplog) -> None:
    async with world(tmp_path) as w:
        w.studio._director = Director(Broken())
        await w.say(w.ann, STORY, w.photo)
        text = texts_of(w.messages[-1])
        assert "I couldn't make a plan of that, and nothing was charged. Try fewer words, or /plan" in text
        number = text.split("“")[-1].split("”")[0]
        assert f"trouble {number}" in caplog.text, "the owner finds it in the log"
        assert "nonsense" not in text
        assert w.studio.cards.open_cards() == []
        told = await film(w)
        assert "nothing was charged" in told
        caplog.clear()


async def test_a_story_without_words_asks_for_one_sentence(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "", w.photo)
        assert "Say what should happen in the film: one sentence is enough." in texts_of(w.messages[-1])


# ---- permissions and places ----


async def test_without_attach_files_it_is_said_before_anything_is_planned(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        deny = {w.client.user: discord.PermissionOverwrite(attach_files=False)}
        w.channel = w.guild.create_text_channel("mute", overwrites=deny)
        text = await film(w)
        assert f"In <#{w.channel.id}> I lack: Attach Files. Ask an admin to allow me that" in text
        assert w.studio.media.all() == []
        await w.say(w.ann, STORY, w.photo)
        assert "I lack: Attach Files" in texts_of(w.last)


async def test_where_nothing_may_be_written_the_asker_is_told_by_direct_message(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        deny = {w.client.user: discord.PermissionOverwrite(send_messages=False)}
        w.channel = w.guild.create_text_channel("silent", overwrites=deny)
        await w.say(w.ann, STORY, w.photo)
        assert w.messages == []
        assert "Ask an admin for Send Messages" in w.ann.user.dm_channel.last_message.content
        assert "I lack: Send Messages" in await film(w)


async def test_a_take_of_a_channel_that_one_cannot_see_is_not_continued(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        hide = {w.bob: discord.PermissionOverwrite(view_channel=False)}
        here, w.channel = w.channel, w.guild.create_text_channel("secret", overwrites=hide)
        await film(w)
        take = await w.filmed()
        w.channel = here
        text = said(await w.bob.slash(here, "continue", happens="more", take=take.id))
        assert text == f"Take {take.id} was made in a channel that you cannot see, so it cannot be continued here."


async def test_what_is_not_ones_own_is_not_cancelled_and_says_who_may(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await film(w)
        text = said(await w.bob.slash(w.channel, "cancel", film=1))
        assert text == f"Only <@{w.ann.id}> or a moderator can cancel that."
        pressed = await w.bob.click(w.messages[0], label="Cancel")
        assert said(pressed) == text
        assert len(w.studio.jobs.queue()) == 1
        role = w.guild.create_role("mods", permissions=discord.Permissions(manage_messages=True))
        mod = w.guild.add_member(w.env.create_user("mod"), roles=[role])
        assert "Cancelled" in said(await mod.slash(w.channel, "cancel", film=1))
        assert w.studio.jobs.queue() == []


async def test_to_answer_a_card_with_cancel_cancels_its_film_and_no_other(tmp_path: Path) -> None:
    """With the rights of the button, and as often as one says it: what is over stays as it is."""
    async with world(tmp_path) as w:
        allow(w)
        await film(w)
        older = w.messages[0]
        await film(w)
        running = await w.work()
        (kept,) = (job for job in w.studio.jobs.queue() if job.id != running.id)
        await w.say(w.bob, "cancel", reply_to=older)
        assert w.last.content == f"Only <@{w.ann.id}> or a moderator can cancel that."
        assert len(w.studio.jobs.queue()) == 2
        await w.say(w.ann, "stop it please", reply_to=older)
        assert w.last.content == "Cancelled."
        assert w.studio.jobs.queue() == [kept]
        assert "Cancelled" in texts_of(w.fresh(older))
        await w.say(w.ann, "cancel", reply_to=older)
        assert w.last.content == f"Job {running.id} is already cancelled."
        assert w.studio.jobs.queue() == [kept]


async def test_to_answer_a_plan_with_cancel_throws_it_away_and_cancels_no_film(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await film(w)
        await w.ann.click(w.last, label="Film it")
        running = await w.work()
        await film(w)
        plan = w.last
        await w.say(w.bob, "cancel", reply_to=plan)
        assert w.last.content == f"Only <@{w.ann.id}> or a moderator can cancel that."
        await w.say(w.ann, "cancel", reply_to=plan)
        assert w.last.content == "Cancelled."
        assert "Cancelled" in texts_of(w.fresh(plan))
        assert [job.id for job in w.studio.jobs.queue()] == [running.id]
        await w.say(w.ann, "cancel", reply_to=plan)
        assert w.last.content == "There is no plan on that card any more."
        assert [job.id for job in w.studio.jobs.queue()] == [running.id]


async def test_cancel_all_cancels_every_film_of_who_says_it_and_names_them(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        allow(w)
        await film(w)
        card = w.last
        await film(w)
        await w.say(w.bob, "5 s of my cat, she sleeps", w.photo)
        await w.say(w.ann, "cancel all", reply_to=card)
        assert w.last.content == "Cancelled: job 1, job 2."
        assert [job.id for job in w.studio.jobs.queue()] == [3]
        await w.turn()
        assert "Cancelled" in texts_of(w.fresh(card))


async def test_to_answer_a_film_with_cancel_cancels_what_goes_on_from_it_and_no_other(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        allow(w)
        await film(w)
        take = await w.filmed()
        shown = w.messages[-1]
        await film(w)
        await w.say(w.ann, "now he meets a crab", reply_to=shown)
        other, further = w.studio.jobs.queue()
        assert further.errand.parent == take.id
        await w.say(w.ann, "cancel", reply_to=shown)
        assert w.last.content == f"Cancelled: job {further.id}."
        await w.say(w.ann, "cancel", reply_to=shown)
        assert w.last.content == "Take 1 is filmed already, and nothing of yours that goes on from it waits."
        assert w.studio.jobs.queue() == [other]


@pytest.mark.parametrize("words", ["film it", "make it snow", "cancel"])
async def test_to_answer_a_plan_that_was_changed_names_the_newer_one(tmp_path: Path, words: str) -> None:
    async with world(tmp_path) as w:
        await film(w)
        old = w.last
        await w.say(w.ann, "make it night")
        newer = w.last
        await w.say(w.ann, words, reply_to=old)
        assert w.last.content == "The plan has changed: see its newer card below."
        assert "night" in w.draft(newer).windows[0].scene.lower()
        assert w.studio.jobs.queue() == []


async def test_who_praises_a_film_or_approves_of_nothing_gets_no_film(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        allow(w)
        await film(w)
        await w.filmed()
        shown = w.messages[-1]
        await w.say(w.bob, "nice!", reply_to=shown)
        assert w.last.content.startswith("Send a picture and say what should happen")
        await w.say(w.bob, "film it")
        assert "There is no draft to film any more" in w.last.content
        assert w.studio.jobs.queue() == []


async def test_a_question_that_answers_a_film_under_way_is_answered(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await film(w)
        card = w.last
        await w.say(w.ann, "status", reply_to=card)
        assert "Job 1, “My dog”: queued, number 1." in w.last.content
        for words in ("continue: he jumps", "vertical, please", "again"):
            await w.say(w.ann, words, reply_to=card)
            assert w.last.content.startswith("Job 1, “My dog”, is on its way and cannot be changed any more: cancel it")


async def test_a_change_of_a_film_under_way_says_which_film_and_what_can_be_done(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await film(w)
        for words in ("make it night", "same but slower", "vertical, please"):
            await w.say(w.ann, words)
            told = "Job 1, “My dog”, is on its way and cannot be changed any more: cancel it and ask again, or answer"
            assert w.last.content.startswith(told), words
        await w.say(w.bob, "make it night")
        assert "add one" in texts_of(w.last), "the film is somebody else's"
        await w.say(w.ann, "make it night, 5 s of my cat, she sleeps", w.photo)
        assert len(w.studio.jobs.queue()) == 2, "a picture is for a new film"


async def test_a_moderator_of_one_server_cancels_nothing_of_another(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await film(w)
        elsewhere = w.env.create_guild("elsewhere")
        role = elsewhere.create_role("mods", permissions=discord.Permissions.all())
        lobby, mod = (
            elsewhere.create_text_channel("lobby"),
            elsewhere.add_member(w.env.create_user("mod"), roles=[role]),
        )
        await w.env.settle()
        assert "Only <@" in said(await mod.slash(lobby, "cancel", film=1))
        assert len(w.studio.jobs.queue()) == 1


async def test_channels_and_roles_that_are_not_allowed_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, refused_channels=(f"discord:{w.channel.id}",))
        assert "I may not film in this channel. Ask a moderator which ones are mine." in await film(w)
        role = w.guild.create_role("makers")
        allow(w, roles=(f"discord:{role.id}",))
        assert "You need another role to film here. Ask a moderator." in await film(w)
        maker = w.guild.add_member(w.env.create_user("maker"), roles=[role])
        assert "Planned" in await film(w, maker)


# ---- what belongs into age-restricted channels ----


@dataclass(frozen=True)
class Place:
    """A kind of channel, and what happens there."""

    restricted: bool
    policy: str
    filmed: bool
    spoiler: bool


@pytest.mark.parametrize(
    "place",
    [
        Place(restricted=False, policy="refuse", filmed=False, spoiler=False),
        Place(restricted=False, policy="spoiler", filmed=True, spoiler=True),
        Place(restricted=True, policy="refuse", filmed=True, spoiler=False),
    ],
)
async def test_what_is_for_adults_is_filmed_where_they_are_or_behind_a_spoiler(tmp_path: Path, place: Place) -> None:
    async with world(tmp_path) as w:
        words = tmp_path / "adults.txt"
        words.write_text("absinthe*  # a drink\n")
        w.studio.moderator = moderator("", "", str(words))
        allow(w, restricted=place.policy)
        if place.restricted:
            w.env.backend.get_channel(w.channel.id).nsfw = True
            w.client.get_channel(w.channel.id).nsfw = True
        text = await film(w, story="5 s of a man, he drinks absinthe at 2 seconds")
        if not place.filmed:
            assert "This channel isn't age-restricted, so I can't film that here. Ask in one that is" in text
            assert w.studio.jobs.queue() == []
            return
        take = await w.filmed()
        assert take.errand.restricted
        shown = [message for message in w.messages if message.attachments][-1]
        assert shown.attachments[0].is_spoiler() == place.spoiler
        w.studio.moderator = Moderator()  # so that only the take itself can say it
        await w.bob.slash(w.channel, "continue", happens="now he sits down")
        assert w.studio.jobs.queue()[0].errand.restricted, "what goes on from it is for adults as well"


async def test_what_is_seen_of_a_film_for_adults_while_it_is_made_is_behind_a_spoiler(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.moderator = Moderator(restricted=pattern_of(["absinthe*"]))
        allow(w, restricted="spoiler", post_windows=True)
        await film(w, story="10 s of a man, he drinks absinthe at 2 seconds")
        job, card = await w.work(), w.messages[-1]
        file = render_folder(w.studio.settings.renders, job.id) / segment_name(1)
        file.parent.mkdir(parents=True)
        write_segment([np.zeros((WINDOW_FRAMES, SIZE.height, SIZE.width, 3), np.uint8)], SIZE, file)
        w.studio.jobs.window_filmed(job.id, job.attempts, 1)
        await w.turn()
        posted = next(a for m in w.messages for a in m.attachments if "job-" in a.filename)
        assert posted.is_spoiler()
        (gallery,) = [c for c in walk(w.fresh(card).components) if isinstance(c, discord.MediaGalleryComponent)]
        assert [item.spoiler for item in gallery.items] == [True]


def walk(components):
    """Every component, whatever it lies in."""
    for component in components:
        yield component
        yield from walk(getattr(component, "children", ()) or ())


async def test_a_judge_may_mark_as_well_as_refuse(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        answers = {"wine": Restricted(), "poison": "No poison here."}
        w.studio.moderator = Moderator(
            judges=(lambda case: next((a for word, a in answers.items() if word in case.text), None),)
        )
        assert "isn't age-restricted" in await film(w, story="5 s of a man, he drinks wine")
        assert "No poison here." in await film(w, story="5 s of a man, he drinks poison")
        assert "Planned" in await film(w, story="5 s of a man, he drinks water")


@pytest.mark.parametrize("adults", [False, True])
async def test_a_judge_is_told_where_it_is_asked_and_gets_pictures_that_can_be_opened(tmp_path: Path, adults) -> None:
    async with world(tmp_path) as w:
        seen = []

        def judge(case: Case) -> None:
            pictures = [Image.open(file) for file in case.pictures]
            seen.append((case.age_restricted, [(p.format, p.size, dict(p.getexif())) for p in pictures]))

        w.studio.moderator = Moderator(judges=(judge,))
        w.client.get_channel(w.channel.id).nsfw = adults
        exif, data = Image.Exif(), io.BytesIO()
        exif[0x0112], exif[0x010E] = 6, "taken at home"
        Image.open(io.BytesIO(w.photo[1])).save(data, "JPEG", exif=exif)
        await film(w, image1=("dog.jpg", data.getvalue()))
        assert seen[0] == (adults, [("PNG", (60, 80), {})])
        assert [where for where, _ in seen[1:]] == [adults], "the plan is judged as well"


async def test_a_take_for_adults_is_not_shown_in_a_channel_for_everybody(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.moderator = Moderator(restricted=pattern_of(["absinthe*"]))
        allow(w)
        other = w.guild.create_text_channel("everybody")
        w.client.get_channel(w.channel.id).nsfw = True
        await film(w, story="5 s of a man, he drinks absinthe at 2 seconds")
        take = await w.filmed()
        for name, options in (("show", {}), ("again", {}), ("continue", {"happens": "he sits"})):
            text = said(await w.bob.slash(other, name, take=take.id, **options))
            assert "isn't age-restricted" in text, name
        assert other.history() == []


async def test_a_plan_that_is_edited_by_hand_is_judged_as_well(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.moderator = Moderator(blocked=pattern_of(["poison"]))
        await w.say(w.ann, STORY, w.photo)
        shown = await w.ann.click(w.messages[-1], label="Edit plan")
        fields = [c["component"]["custom_id"] for c in shown.modal["components"]]
        answered = await w.ann.submit_modal(shown, {fields[0]: "A bottle of poison.", fields[1]: "", fields[2]: ""})
        assert "That is not filmed here." in said(answered)
        assert "poison" not in w.studio.cards.open_cards()[0].draft.plan.windows[0].prompt


# ---- the engine ----


async def test_an_engine_that_stops_says_what_is_kept_and_that_it_tries_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await w.say(w.ann, LONG, w.photo)
        job = await w.work()
        assert len(job.plan.windows) == 4
        for window in (1, 2):
            w.studio.jobs.window_filmed(job.id, job.attempts, window)
        w.progress(job, 3, 2)
        w.studio.jobs.fail(job.id, job.attempts, "The card burnt.", retry=True)
        await w.turn()
        text = texts_of(w.messages[-1])
        assert "The engine stopped at window 3 of 4. Windows 1 to 2 are kept. The card burnt. It tries again" in text
        assert "you don't need to do anything" in text
        for _ in range(2):
            job = await w.work()
            w.studio.jobs.fail(job.id, job.attempts, "The card burnt.", retry=True)
        assert w.studio.jobs.get(job.id).state is JobState.FAILED
        await w.turn()
        text = texts_of(w.messages[-1])
        assert "The engine stopped at window 3 of 4. Windows 1 to 2 are kept. The card burnt." in text
        assert "Nothing was charged. “Try again” films the same plan once more." in text
        await w.ann.click(w.messages[-1], label="Try again")
        assert len(w.studio.jobs.queue()) == 1
        assert w.studio.quota.used_minutes(f"discord:{w.ann.id}") == 0


# ---- rubbish ----


async def rubbish(w: World, *values: str) -> str:
    shown = await w.ann.click(w.messages[-1], label="Edit plan")
    fields = [c["component"]["custom_id"] for c in shown.modal["components"]]
    return said(await w.ann.submit_modal(shown, dict(zip(fields, values, strict=True))))


async def test_modals_with_rubbish_are_answered_and_change_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, STORY, w.photo)
        before = w.studio.cards.open_cards()[0].draft
        assert "is no beat. Write the second and the action" in await rubbish(w, "a dog", "whenever he likes", "")
        assert "is not in this window: it shows 0.00 to 5.06 s" in await rubbish(w, "a dog", "99 he flies", "")
        assert "is no beat" in await rubbish(w, "a dog", "```@everyone now```", "")
        assert w.studio.cards.open_cards()[0].draft == before


async def test_a_length_that_is_no_number_is_said(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await film(w)
        await w.filmed()
        take = w.messages[-1]
        for value, told in (("ages", "is no number of seconds"), ("-5", "cannot be made"), ("nan", "cannot be made")):
            shown = await w.bob.click(take, label="Continue")
            fields = [c["component"]["custom_id"] for c in shown.modal["components"]]
            text = said(await w.bob.submit_modal(shown, {fields[0]: "he sleeps", fields[1]: value}))
            assert told in text, value
        assert w.studio.jobs.queue() == []


async def test_buttons_of_what_was_never_there_are_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, STORY, w.photo)
        card = w.messages[-1]
        w.studio.forget.card(1)
        assert "no longer kept" in said(await w.ann.click(card, label="Film it"))


async def test_a_command_that_discord_still_shows_and_we_no_longer_know_is_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.client.tree.remove_command("queue")
        text = said(await w.ann.slash(w.channel, "queue"))
        assert text == "I do not know that command any more. Reload Discord, or see /help."
        with pytest.raises(ExceptionGroup, match="bot raised"):
            w.env.raise_errors()  # SimCord counts what the tree was told of


async def test_a_story_pings_nobody_wherever_it_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        role = w.guild.create_role("everyone-else")
        story = f"5 s of @everyone and @here and <@{w.bob.id}> and <@&{role.id}>, they run to the sea at 2 seconds"
        await w.say(w.ann, story, w.photo)
        await film(w, story=story)
        await w.filmed()
        await w.filmed()
        told = [await w.ann.slash(w.channel, name) for name in ("takes", "queue", "me")]
        shown = [*w.messages, *(m for r in told for m in (r.response, *r.followups) if m)]
        assert len(shown) >= 6, "cards, films, and what was told privately"
        for message in shown:
            may = w.env.backend.get_message(w.channel.id, message.id).allowed_mentions
            assert (may.everyone, may.users, may.roles, may.replied_user) == (False, set(), set(), False)


# ---- things that go away ----


async def test_a_deleted_card_does_not_keep_the_film_from_its_channel(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await w.say(w.ann, STORY, w.photo)
        await w.messages[-1].delete()
        await w.turn()
        take = await w.filmed()
        assert [a.filename for a in w.messages[-1].attachments] == [f"take-{take.id}.mp4"]


async def test_permissions_that_are_lost_while_filming_do_not_stop_the_others(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await film(w)
        other = w.guild.create_text_channel("other")
        await w.bob.slash(other, "film", story=STORY, image1=w.photo)
        w.env.inject_error("*", f"/channels/{w.channel.id}/messages*", status=403, code=50001, times=None)
        for _ in range(2):
            w.finish(await w.work())
        await w.turn()
        await w.turn()
        assert [a.filename for message in other.history() for a in message.attachments] == ["take-2.mp4"]


async def test_a_deleted_channel_ends_nothing_but_its_own_cards(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        doomed, w.channel = w.channel, w.guild.create_text_channel("doomed")
        await film(w)
        await w.client.get_channel(w.channel.id).delete()
        w.channel = doomed
        await film(w, w.bob)
        for _ in range(2):
            w.finish(await w.work())
        await w.turn()
        await w.turn()
        assert any(message.attachments for message in w.messages)


async def test_a_kicked_bot_forgets_and_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w)
        await film(w)
        job = await w.work()
        await w.client.get_guild(w.guild.id).leave()
        await w.env.settle()
        await w.turn()
        assert w.studio.cards.open_cards() == []
        assert w.studio.jobs.unwanted(job.id)
        elsewhere = w.env.create_guild("elsewhere")
        lobby, cat = elsewhere.create_text_channel("lobby"), elsewhere.add_member(w.env.create_user("cat"))
        await w.env.settle()
        assert "Planned" in said(await cat.slash(lobby, "film", story=STORY, image1=w.photo))


async def test_the_still_that_stands_for_a_film_for_adults_is_behind_a_spoiler_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.moderator = Moderator(restricted=pattern_of(["absinthe*"]))
        allow(w, restricted="spoiler")
        await film(w, story="5 s of a man, he drinks absinthe at 2 seconds")
        w.finish(await w.work())
        w.env.inject_error("POST", f"/channels/{w.channel.id}/messages", status=413, code=40005, times=2)
        await w.turn()
        (still,) = [message for message in w.messages if message.attachments]
        assert still.attachments[0].filename.endswith(".jpg")
        assert still.attachments[0].is_spoiler()
