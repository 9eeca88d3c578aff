"""What several people do at once, and what one may not do by a side door: nothing is lost or filmed twice."""

import asyncio
from pathlib import Path
from typing import Any

import discord
import pytest
from discord_world import World, texts_of, world

from bot.discord.ask import Ask
from bot.discord.commands.gallery import _line as gallery_line
from bot.discord.desk import CardDesk
from bot.discord.editor import WindowModal, newest
from storage.forget import Forgotten
from storage.schema import Card, JobState, Person, Policy, Style, UserError

pytestmark = pytest.mark.asyncio


def ask_by(w: World, who: Any, **more: Any) -> Ask:
    """What somebody asks with a button."""
    channel = w.client.get_channel(w.channel.id)
    member = channel.guild.get_member(who.id) or who  # type: ignore[union-attr]
    return Ask(event="interaction:1", channel=channel, asker=member, **more)  # type: ignore[arg-type]


def card_of(w: World, message: Any) -> Card:
    """The card that a message shows."""
    card = w.studio.cards.by_message(str(message.id))
    assert card is not None
    return card


async def test_a_plan_that_is_filmed_while_its_change_is_planned_is_still_delivered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        former = card_of(w, w.messages[-1])
        own = w.studio.cards.open(former.model_copy(update={"message": None}))
        await w.ann.click(w.messages[-1], label="Film it")
        CardDesk(w.studio.cards, former, own).keep(former.draft)
        now = w.studio.cards.get(former.id)
        assert now is not None
        assert now.job is not None
        assert not now.closed


async def test_who_cancels_what_was_just_sent_to_be_filmed_cancels_the_film(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        seen = card_of(w, w.messages[-1])
        await w.ann.click(w.messages[-1], label="Film it")
        await w.client.front.cancel(ask_by(w, w.ann), seen)
        now = w.studio.cards.get(seen.id)
        assert now is not None
        assert now.job is not None
        assert w.studio.jobs.get(now.job).state is JobState.CANCELLED


async def test_another_take_that_is_cancelled_while_it_is_planned_is_not_filmed(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        propose = w.studio.propose

        async def slowly(*told: Any) -> Any:
            (planned,) = [card for card in w.studio.cards.open_cards() if card.job is None]
            await w.client.front.cancel(ask_by(w, w.ann), planned)
            return await propose(*told)

        w.studio.propose = slowly  # type: ignore[method-assign]
        await w.say(w.ann, "again", reply_to=w.messages[-1])
        assert w.studio.jobs.queue() == []
        assert "Cancelled" in texts_of(w.messages[-1])


@pytest.mark.parametrize("words", ["continue: he meets a crab", "again"])
async def test_words_without_a_reply_are_no_way_around_who_may_continue(tmp_path: Path, words: str) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(continue_by="owner", approve=False))
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        await w.say(w.bob, words)
        assert w.studio.jobs.queue() == []
        assert "Only who asked for take 1" in texts_of(w.messages[-1])
        await w.say(w.ann, words)
        assert len(w.studio.jobs.queue()) == 1


async def test_a_style_of_mine_that_a_server_lacks_is_left_out(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_person(f"discord:{w.ann.id}", Person(style="noir"))
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.ann.click(w.messages[-1], label="Film it")
        assert len(w.studio.jobs.queue()) == 1


async def test_a_moderator_of_one_channel_deletes_no_films_of_another(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        take = await w.filmed()
        other = w.guild.create_text_channel("bobs")
        ask = ask_by(w, w.bob)
        elsewhere = Ask(event="e", channel=w.client.get_channel(other.id), asker=ask.asker)  # type: ignore[arg-type]

        class Moderating(Ask):
            """Bob may clean up there."""

            moderates = True

        with pytest.raises(UserError, match="Only"):
            await w.client.front.delete(Moderating(**vars(elsewhere)), take)
        assert w.studio.takes.get(take.id) == take


async def test_the_words_of_what_came_to_nothing_go_with_the_message(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        said = await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        job = await w.work()
        w.studio.jobs.cancel(job.id)
        await w.turn()
        await w.client.front.unsaid(f"message:{said.id}")
        assert w.studio.cards.by_event(f"message:{said.id}") is None


async def test_a_reaction_that_came_too_early_counts_when_it_is_made_again(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()
        shown = w.messages[-1]
        place = f"discord:{w.guild.id}"
        w.studio.manners.keep_policy(place, Policy(paused=True))
        await w.bob.react(shown, "🔁")
        assert "paused" in texts_of(w.messages[-1])
        w.studio.manners.keep_policy(place, Policy())
        await w.bob.unreact(shown, "🔁")
        await w.bob.react(shown, "🔁")
        assert len(w.studio.jobs.queue()) == 1


async def test_what_a_reaction_cannot_do_is_said(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        await w.filmed()

        async def broken(*_: Any) -> None:
            raise RuntimeError("a bug")

        w.studio.again = broken  # type: ignore[method-assign, assignment]
        await w.bob.react(w.messages[-1], "🔁")
        assert "nothing was charged" in texts_of(w.messages[-1])


async def test_two_windows_that_are_edited_one_after_the_other_are_both_changed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "10 s of my dog on the beach, he runs at 2 seconds, he barks at 7 seconds", w.photo)
        card = card_of(w, w.messages[-1])
        assert card.draft is not None
        forms = [WindowModal(w.client, card.draft, index, card.id, "en-US") for index in (0, 1)]
        for form, scene in zip(forms, ("A red beach.", "A blue beach."), strict=True):
            told = {"scene": scene, "beats": form.beats.default, "camera": form.camera.default}
            for name, value in told.items():
                getattr(form, name)._value = value
            draft = newest(w.client, form._draft, card.id, "en-US")
            await w.client.front.edit(ask_by(w, w.ann), card, form._edited(draft, "en-US"))
        scenes = [window.scene for window in w.draft(w.messages[-1]).windows]
        assert scenes == ["A red beach.", "A blue beach."]


async def test_a_form_of_a_forgotten_card_opens_no_new_one(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        card = card_of(w, w.messages[-1])
        assert card.draft is not None
        w.studio.forget.card(card.id)
        with pytest.raises(UserError, match="no longer kept"):
            newest(w.client, card.draft, card.id, "en-US")


async def test_a_card_that_cannot_be_posted_is_settled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:

        async def gone(*_: Any) -> None:
            raise ValueError("a bug")

        w.client.board.opening._post = gone  # type: ignore[method-assign, assignment]
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        assert w.studio.cards.open_cards() == []
        assert "nothing was charged" in texts_of(w.messages[-1])


async def test_one_message_that_cannot_be_deleted_keeps_no_other(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        card = w.messages[-1]
        key = f"discord:{w.channel.id}"
        w.env.inject_error("DELETE", "/channels/*/messages/1", status=503)
        await w.client.board.take_down(Forgotten(messages=((key, "1"), (key, str(card.id)))))
        assert w.messages == []


async def test_a_log_channel_in_trouble_keeps_no_card_open(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        log = w.guild.create_text_channel("log")
        policy = Policy(approve=False, log_channel=f"discord:{log.id}")
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", policy)
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        job = await w.work()
        w.env.inject_error("POST", f"/channels/{log.id}/messages", status=503, times=None)
        w.studio.jobs.fail(job.id, job.attempts, "out of memory", retry=False)
        await w.turn()
        assert w.studio.cards.open_cards() == []


async def test_a_channel_in_trouble_keeps_no_other_from_being_caught_up_with(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.seen.begin("message:1", f"discord:{w.channel.id}")
        card = Card(
            id=0,
            place=f"discord:{w.guild.id}",
            channel=f"discord:{w.channel.id}",
            asker=f"discord:{w.ann.id}",
            opened=discord.utils.utcnow(),
        )
        w.studio.cards.open(card)
        w.env.inject_error("GET", "/channels/*/messages/1", status=503)
        await w.restart()
        await w.turn()
        assert w.studio.cards.open_cards() == []


async def test_a_page_of_a_deep_tree_of_long_titles_fits_into_a_message(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        take = await w.filmed()
        board = take.plan.storyboard.model_copy(update={"title": "*_" * 60})
        plan = take.plan.model_copy(update={"storyboard": board})
        line = gallery_line(w.studio, take.model_copy(update={"plan": plan}), 9, 10**19)
        assert 8 * (len(line) + 6) + 80 < 2000


async def test_a_style_of_mine_leaves_what_i_say_what_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        styles = (Style(name="noir", words="black and white, hard shadows"),)
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(styles=styles))
        w.studio.manners.keep_person(f"discord:{w.ann.id}", Person(style="noir"))
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        assert "hard shadows" in texts_of(w.messages[-1])
        await w.say(w.ann, "status")
        assert "Nothing of this channel" in texts_of(w.messages[-1])
        await w.say(w.ann, "film it")
        assert len(w.studio.jobs.queue()) == 1


async def test_an_answer_shows_the_words_of_others_as_words(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.bob, "5 s of [a gift](https://evil.example) <@1> it opens", w.photo)
        await w.say(w.bob, "status")
        assert "Job 1" in texts_of(w.messages[-1])
        assert "[a gift](https" not in texts_of(w.messages[-1])
        assert "<@1>" not in texts_of(w.messages[-1])


async def test_a_film_that_is_forgotten_while_it_is_sent_does_not_stay_in_the_channel(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        take = w.finish(await w.work())
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(w.studio.media.path(take.film.video).read_bytes())

        async def meanwhile(*_: object) -> Path:
            await asyncio.to_thread(w.studio.forget.person, f"discord:{w.ann.id}")
            return copy

        w.client.board.delivery.copies.fitting = meanwhile  # type: ignore[method-assign]
        await w.turn()
        assert w.studio.takes.history(f"discord:{w.channel.id}") == []
        assert [message for message in w.messages if message.attachments] == []


async def test_a_message_that_is_deleted_while_it_is_understood_is_not_planned(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        asked = asyncio.Event()

        class Slow:
            """A model that thinks for long."""

            async def understand(self, *_: Any) -> Any:
                asked.set()
                await asyncio.sleep(3600)

        w.studio.reader = Slow()
        saying = asyncio.ensure_future(w.say(w.ann, "5 s of my dog, he runs", w.photo))
        await asked.wait()
        (event,) = [event for event, _ in w.studio.seen.unfinished()]
        await w.client.hearing.unsaid(event, f"discord:{w.channel.id}")
        await saying
        assert w.messages == []
        assert w.studio.cards.open_cards() == []
        assert w.studio.seen.unfinished() == [], "it is not heard again after a restart either"
        assert event not in w.client.hearing


async def test_a_message_that_is_heard_again_cancels_no_second_film(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        for _ in range(2):
            await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        said = await w.say(w.ann, "cancel")
        (left,) = w.studio.jobs.queue()
        channel = w.client.get_channel(w.channel.id)
        w.client.hearing.hear_again(await channel.fetch_message(said.id))  # type: ignore[union-attr]
        await w.env.settle()
        assert w.studio.jobs.queue() == [left]


async def test_what_is_heard_again_goes_on_from_what_came_of_it(tmp_path: Path) -> None:
    """Killed after "film it" was done and before it was noted to be: it is not said that there is nothing to film."""
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        said = await w.say(w.ann, "film it")
        before = [texts_of(message) for message in w.messages]
        assert "Queued" in before[0]
        channel = w.client.get_channel(w.channel.id)
        w.client.hearing.hear_again(await channel.fetch_message(said.id))  # type: ignore[union-attr]
        await w.turn()
        assert len(w.studio.jobs.recent()) == 1
        assert len(w.messages) == len(before)


async def test_what_the_bot_remembers_of_cards_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord.board.MOST_SHOWN", 1)
    async with world(tmp_path) as w:
        for who in (w.ann, w.bob):
            await w.say(who, "5 s of my dog, he runs", w.photo)
        await w.turn()
        board = w.client.board
        assert len(board._shown) == 1, "of two drafts that wait"
        for who, message in zip((w.ann, w.bob), w.messages, strict=True):
            await who.click(message, label="Cancel")
        await w.turn()
        assert (board._shown, board._owed, board.opening._directed) == ({}, set(), set())
        assert all("Cancelled" in texts_of(message) for message in w.messages)
        w.client.board.owe(99)  # a card that is forgotten
        await w.turn()
        assert board._owed == set()


async def test_why_a_request_came_to_nothing_stays_on_its_card(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        card = card_of(w, w.messages[-1])
        await w.client.board.fail(card.id, "The dog has run away.")
        await w.restart()
        await w.client.board.refresh(card.id)
        assert "The dog has run away." in texts_of(w.messages[-1])
