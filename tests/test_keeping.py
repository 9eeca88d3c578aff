"""Films that people keep in Discord with a 📌: whose, how many, until when, and what is said of it."""

from pathlib import Path

import discord
import pytest
from discord_world import World, texts_of, world

from bot.discord.export import export_of
from bot.discord.reactions import Reaction
from bot.studio import Studio
from storage.eviction import FRESH_SECONDS, Eviction
from storage.schema import Policy, Take

pytestmark = pytest.mark.asyncio
NOTHING_GIB = 1e-9


async def film(w: World, who=None) -> tuple[Take, discord.Message]:
    """A film, and the message that shows it."""
    await w.say(who or w.ann, "5 s of my dog, he runs", w.photo)
    take = await w.filmed()
    shown = w.studio.takes.messages(take.id)[-1]
    return take, next(message for message in w.messages if str(message.id) == shown)


def left(w: World) -> list[int]:
    """The takes whose videos are there once everything has gone that may."""
    later = Eviction(w.studio.database, w.studio.media, NOTHING_GIB, now=lambda: 2 * FRESH_SECONDS + 1e10)
    later.evict()
    return [take.id for take in reversed(w.studio.takes.history(f"discord:{w.channel.id}")) if not take.evicted]


def moderator(w: World):
    role = w.guild.create_role("mods", permissions=discord.Permissions(manage_messages=True))
    return w.guild.add_member(w.env.create_user("mod"), roles=[role])


async def test_a_film_with_a_pin_stays_until_it_is_taken_back(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        await film(w)
        await w.ann.react(shown, "📌")
        assert texts_of(w.last) == (
            f"<@{w.ann.id}>: Take 1 stays, however little room there is, until you take your 📌 back: "
            "you keep 1 of 10 films."
        )
        assert left(w) == [take.id]
        assert export_of(w.studio, f"discord:{w.ann.id}")["keeps"] == [take.id]
        await w.ann.unreact(shown, "📌")
        assert texts_of(w.last) == f"<@{w.ann.id}>: You no longer keep take 1: you keep 0 of 10 films."
        assert left(w) == []


async def test_only_its_asker_and_moderators_keep_a_film_and_it_stays_for_each_of_them(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        mod, said = moderator(w), len(w.messages)
        await w.bob.react(shown, "📌")
        assert texts_of(w.last) == f"<@{w.bob.id}>: Only <@{w.ann.id}> or a moderator can keep that film."
        assert not w.studio.takes.get(take.id).pinned
        await w.bob.unreact(shown, "📌")
        assert len(w.messages) == said + 1, "there was nothing to let go"
        await mod.react(shown, "📌")
        await w.ann.react(shown, "📌")
        await w.ann.unreact(shown, "📌")
        assert left(w) == [take.id], "the moderator keeps it still"
        await mod.unreact(shown, "📌")
        assert left(w) == []


async def test_who_may_not_film_here_keeps_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(banned=(f"discord:{w.ann.id}",)))
        await w.ann.react(shown, "📌")
        assert "You may not ask for films on this server" in texts_of(w.last)
        assert not w.studio.takes.get(take.id).pinned


async def test_a_person_keeps_no_more_films_than_the_limit_and_each_counts_once(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False, max_pins=1) as w:
        take, shown = await film(w)
        other, elsewhere = await film(w)
        card = next(m for m in w.messages if (c := w.studio.cards.by_message(str(m.id))) and c.job == take.job)
        await w.ann.react(shown, "📌")
        await w.ann.react(card, "📌")
        assert "you keep 1 of 1 films" in texts_of(w.last)
        await w.ann.react(elsewhere, "📌")
        assert "You keep 1 films already, as many as you may: take your 📌 back from another one" in texts_of(w.last)
        pressed = await w.ann.slash(w.channel, "takes")
        lines = pressed.response.content.splitlines()
        assert [("[1]" in line, "📌" in line) for line in lines[1:]] == [(False, False), (True, True)]
        assert "You keep 1 of 1 films with a 📌." in (await w.ann.slash(w.channel, "me")).response.content
        await w.ann.unreact(card, "📌")
        await w.ann.unreact(elsewhere, "📌")
        await w.ann.react(elsewhere, "📌")
        assert left(w) == [other.id]


async def test_an_owner_may_want_nothing_kept_from_a_channel(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False, max_pins=0) as w:
        _, shown = await film(w)
        await w.ann.react(shown, "📌")
        assert texts_of(w.last) == f"<@{w.ann.id}>: Nobody can keep films from here: ask who runs me."
        assert left(w) == []


async def test_what_is_gone_or_not_there_yet_is_not_said_to_be_kept(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        assert left(w) == []
        await w.ann.react(shown, "📌")
        assert "The video of take 1 was already removed to save room: /again with that take" in texts_of(w.last)
        assert f"seed {take.plan.seed} films the same once more." in texts_of(w.last)
        await w.say(w.ann, "5 s of my dog, he sleeps", w.photo)
        card = w.last
        await w.ann.react(card, "📌")
        assert "There is no film here yet that could be kept" in texts_of(w.last)
        second = await w.filmed()
        await w.ann.unreact(card, "📌")
        await w.ann.react(card, "📌")
        assert left(w) == [second.id]


async def test_it_is_said_in_the_language_in_which_a_person_asked_and_else_in_the_servers(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        card = w.studio.cards.by_job(take.job)
        assert card is not None
        with w.studio.database.write() as db:
            db.execute("UPDATE cards SET locale = 'fr' WHERE id = :card", {"card": card.id})
        await w.ann.react(shown, "📌")
        assert texts_of(w.last).startswith(f"<@{w.ann.id}>: La prise 1 reste")
        await w.ann.unreact(shown, "📌")
        assert texts_of(w.last).startswith(f"<@{w.ann.id}>: Tu ne gardes plus la prise 1")
        await w.bob.react(shown, "📌")
        assert texts_of(w.last).startswith(f"<@{w.bob.id}>: Only")


async def test_what_is_kept_and_taken_back_while_nobody_listens_is_found_again(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        other, elsewhere = await film(w)
        await w.ann.react(elsewhere, "📌")
        await w.client.close()
        backend = w.env.backend
        backend.set_reaction(w.channel.id, shown.id, "📌", w.ann.id, True)
        backend.remove_reaction(w.channel.id, elsewhere.id, "📌", w.ann.id)
        await w.restart()
        await w.env.settle()
        assert w.studio.takes.get(take.id).pinned
        assert not w.studio.takes.get(other.id).pinned
        said = len(w.messages)
        await w.restart()
        await w.env.settle()
        assert len(w.messages) == said
        assert w.studio.takes.pinned_by(f"discord:{w.ann.id}") == [take.id]


async def test_what_a_person_keeps_goes_with_their_data(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        mod = moderator(w)
        await mod.react(shown, "📌")
        await mod.slash(w.channel, "mydata delete", sure=True)
        assert not w.studio.takes.get(take.id).pinned
        assert w.studio.takes.pinned_by(f"discord:{mod.id}") == []
        await w.ann.react(shown, "📌")
        await w.ann.react(shown, "❌")
        assert w.studio.takes.pinned_by(f"discord:{w.ann.id}") == []


async def test_who_runs_longtake_keeps_and_lets_go_whatever_people_do(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        owner = Studio(w.client.settings).takes
        owner.pin(take.id)
        await w.ann.react(shown, "📌")
        await w.ann.unreact(shown, "📌")
        assert left(w) == [take.id]
        await w.ann.react(shown, "📌")
        owner.unpin(take.id)
        assert left(w) == []


async def test_a_reaction_that_is_taken_back_while_it_is_heard_keeps_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, discord_approve=False) as w:
        take, shown = await film(w)
        reaction = Reaction(f"discord:{w.channel.id}", shown.id, w.ann.id, "📌")
        w.client.hearing.see(reaction, None)
        await w.client.hearing.unsee(reaction)
        await w.env.settle()
        assert not w.studio.takes.get(take.id).pinned
