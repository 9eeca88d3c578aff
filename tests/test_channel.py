"""The bot in a channel: what people say, press and react with, and what they see. Discord's rules are SimCord's."""

from pathlib import Path

import discord
import pytest
from discord_world import World, texts_of, world

from bot.discord.keys import channel_of
from storage.schema import Job

pytestmark = pytest.mark.asyncio


async def test_from_a_photo_to_a_film_to_its_continuation(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs to the sea at 2 seconds", w.photo)
        card = w.messages[-1]
        assert "Plan" in texts_of(card)
        pressed = await w.ann.click(card, label="Film it")
        assert pressed.ephemeral
        assert len(w.studio.jobs.queue()) == 1
        take = await w.filmed()
        shown = w.messages[-1]
        assert [a.filename for a in shown.attachments] == ["take-1.mp4"]
        assert w.studio.takes.by_message(str(shown.id)) == take

        await w.say(w.bob, "now he meets a crab", reply_to=shown)
        await w.bob.click(w.messages[-1], label="Film it")
        second = await w.filmed()
        assert second.errand.parent == take.id
        assert second.plan.source.kind == "take"

        await w.bob.react(w.messages[-1], "🔁")
        third = await w.filmed()
        assert (third.errand.parent, third.errand.again_of) == (take.id, second.id)
        assert third.plan.seed != second.plan.seed


async def test_who_does_not_speak_to_the_bot_is_not_heard(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.ann.send(w.channel, "film my dog", attachments=[w.photo])
        assert w.messages == []


async def test_a_bare_mention_is_told_what_can_be_said(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "")
        assert "Send a picture and say what should happen" in texts_of(w.messages[-1])


async def test_a_direct_message_needs_no_mention(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        stored = w.env.backend.store_attachments(w.ann.user.dm_channel.id, [w.photo])
        await w.ann.send_dm("5 s of my dog, he runs", attachments=stored)
        (job,) = [await filmed_at_once(w)]
        assert job.errand.channel != f"discord:{w.channel.id}"


async def filmed_at_once(w: World) -> Job:
    """Film the only draft, wherever its card is."""
    (row,) = w.studio.cards._database.rows("SELECT id FROM cards", {})
    card = w.studio.cards.get(row["id"])
    assert card is not None
    channel = await channel_of(w.client, card.channel)
    assert channel is not None
    message = await channel.fetch_message(int(card.message or 0))
    await w.ann.user.click(message, label="Film it")
    return w.studio.jobs.queue()[0]


async def test_words_change_the_draft_and_the_old_card_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "10 s of my dog on the beach, he runs at 2 seconds", w.photo)
        first = w.messages[-1]
        await w.say(w.ann, "make it sunset")
        second = w.messages[-1]
        assert second.id != first.id
        assert "sunset" in w.draft(second).windows[0].scene.lower()
        assert "newer card below" in texts_of(w.fresh(first))
        await w.ann.click(second, label="Film it")
        assert "sunset" in (await w.work()).plan.windows[0].prompt.lower()


async def test_who_answers_their_own_words_answers_the_card_of_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        asked = await w.say(w.ann, "10 s of my dog on the beach, he runs at 2 seconds", w.photo)
        changed = await w.say(w.ann, "make it sunset", reply_to=asked)
        card = w.messages[-1]
        assert "My dog on the beach" in texts_of(card)
        assert "sunset" in w.draft(card).windows[0].scene.lower()
        await w.ann.click(card, label="Film it")
        await w.say(w.ann, "5 s of a car, it stops", w.photo)
        await w.ann.click(w.messages[-1], label="Film it")
        (_, other) = w.studio.jobs.queue()
        await w.say(w.ann, "cancel", reply_to=changed)
        assert w.studio.jobs.queue() == [other]


@pytest.mark.parametrize("words_first", [True, False])
async def test_words_and_a_picture_may_come_in_two_messages(tmp_path: Path, words_first: bool) -> None:
    async with world(tmp_path) as w:
        halves = [("5 s of my dog, he runs", ()), ("", (w.photo,))]
        for words, pictures in halves if words_first else reversed(halves):
            await w.say(w.ann, words, *pictures)
        card = w.messages[-1]
        assert "The plan" in texts_of(card)
        assert "My dog" in texts_of(card)
        await w.say(w.ann, "", w.photo)
        assert "Say what should happen" in texts_of(w.messages[-1]), "those words have their picture"
        await w.say(w.bob, "5 s of my cat, she sleeps")
        assert "add one" in texts_of(w.messages[-1]), "the picture is somebody else's"


async def test_a_picture_of_somebody_elses_words_counts_for_who_answers_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        asked = await w.say(w.ann, "10 s of my dog on the beach, he runs at 2 seconds", w.photo)
        await w.say(w.bob, "5 s of this dog, he sleeps", reply_to=asked)
        assert "This dog" in texts_of(w.messages[-1])
        assert len(w.messages) == 2


async def test_everybody_discusses_a_draft_of_their_own(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "10 s of my dog on the beach, he runs", w.photo)
        anns = w.messages[-1]
        await w.say(w.bob, "10 s of a car in the rain, it stops at 3 seconds", w.photo)
        await w.say(w.bob, "make it night")
        assert "newer card below" not in texts_of(w.fresh(anns))
        await w.ann.click(anns, label="Film it")
        job = await w.work()
        assert "night" not in job.plan.windows[0].prompt
        assert job.errand.requester == f"discord:{w.ann.id}"


async def test_film_it_in_words_films_the_draft_on_its_card(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.say(w.ann, "film it")
        assert len(w.studio.jobs.queue()) == 1
        assert len(w.messages) == 1


async def test_a_reply_to_a_take_redoes_its_ending(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "10 s of my dog on the beach, he runs at 2 seconds, he barks at 7 seconds", w.photo)
        take = await w.filmed()
        await w.say(w.ann, "redo the ending: he lies down", reply_to=w.messages[-1])
        job = await w.work()
        assert job.plan.windows[0].prompt == take.plan.windows[0].prompt
        assert "lies down" in job.plan.windows[1].prompt
        assert job.errand.parent is None


async def test_continue_without_a_reply_continues_the_last_take_of_the_channel(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        await w.say(w.bob, "continue: he meets a crab")
        assert (await w.work()).errand.parent == 1


async def test_a_thread_has_a_history_of_its_own(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        await w.client.get_channel(w.channel.id).create_thread(name="night", type=discord.ChannelType.public_thread)
        (thread,) = w.channel.threads
        await w.bob.send(thread, f"{w.mention} continue: he meets a crab")
        assert w.studio.jobs.queue() == []
        assert "no film in this channel" in texts_of(thread.last_message)


async def test_a_take_is_filmed_again_once_a_person_and_emoji(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        shown = w.messages[-1]
        await w.bob.react(shown, "🎲")
        await w.work()
        await w.bob.unreact(shown, "🎲")
        await w.bob.react(shown, "🎲")
        assert len(w.studio.jobs.queue()) == 1
        await w.ann.react(shown, "🎲")
        assert len(w.studio.jobs.queue()) == 2


async def test_taking_the_reaction_back_before_it_is_filmed_cancels(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        shown = w.messages[-1]
        await w.bob.react(shown, "🔁")
        assert len(w.studio.jobs.queue()) == 1
        await w.bob.unreact(shown, "🔁")
        assert w.studio.jobs.queue() == []


async def test_only_its_asker_or_a_moderator_films_a_draft(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        pressed = await w.bob.click(w.messages[-1], label="Film it")
        assert "or a moderator can film that plan" in pressed.response.content
        assert w.studio.jobs.queue() == []


async def test_buttons_and_cards_outlive_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        card = w.messages[-1]
        await w.restart()
        await w.ann.click(w.fresh(card), label="Film it")
        job = await w.work()
        await w.restart()
        take = w.finish(job)
        await w.turn()
        films = [m for m in w.messages if m.attachments]
        assert [a.filename for m in films for a in m.attachments] == [f"take-{take.id}.mp4"]
        await w.restart()
        await w.turn()
        assert [m for m in w.messages if m.attachments] == films


async def test_the_same_message_twice_is_answered_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        message = await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.client.on_message(message)
        assert len(w.messages) == 1


async def test_a_film_is_sent_to_who_asks_for_it_by_button_and_by_reaction(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        shown = w.messages[-1]
        pressed = await w.bob.click(shown, label="Send to me")
        assert "direct messages" in pressed.response.content
        await w.ann.react(shown, "📩")
        for person in (w.ann, w.bob):
            (sent,) = person.user.dm_channel.history()
            assert [a.filename for a in sent.attachments] == ["take-1.mp4"]
