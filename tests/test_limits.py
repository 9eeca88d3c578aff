"""What a person and a server may ask for, and who may stop what: by every way in which it can be asked."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import discord
import pytest
from discord_world import World, allow, texts_of, world
from hypothesis import given, settings
from hypothesis import strategies as st
from test_jobs import ERRAND, plan

from bot.quota import Quota
from storage.database import Database
from storage.jobs import Jobs
from storage.requests import HOUR, Requests
from storage.schema import JobState, Policy, UserError

STORY = "5 s of my dog, he runs to the sea at 2 seconds"


def said(result) -> str:
    return "\n".join(message.content for message in (result.response, *result.followups) if message)


async def film(w: World, who=None) -> str:
    return said(await (who or w.ann).slash(w.channel, "film", story=STORY, image1=w.photo))


# ---- requests an hour ----


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[Database]:
    with Database.open(tmp_path_factory.mktemp("requests") / "longtake.db") as database:
        yield database


def quota_in(database: Database, clock: Callable[[], float]) -> Quota:
    return Quota(None, None, None, None, Requests(database, clock), None)


@given(st.lists(st.tuples(st.integers(0, 3 * int(HOUR)), st.booleans()), max_size=60), st.integers(1, 12))
def test_within_any_hour_no_more_requests_than_the_limit_and_no_fewer(database, asked, limit):
    """Whoever waits as long as they are told is heard, and nobody else; in however many lives of the bot."""
    with database.write() as db:
        db.execute("DELETE FROM requests")
    clock = [0.0]
    quota = quota_in(database, lambda: clock[0])
    heard: list[float] = []
    for number, (moment, restarted) in enumerate(sorted(asked)):
        clock[0] = moment
        quota = quota_in(database, lambda: clock[0]) if restarted else quota
        room = sum(moment - HOUR < other for other in heard) < limit
        try:
            quota.count_request("ann", f"message:{number}", Policy(requests_per_hour=limit))
        except UserError:
            assert not room
        else:
            assert room
            heard.append(moment)
        quota.count_request("bob", f"message:bob:{number}", Policy(requests_per_hour=1000))
    clock[0] += HOUR
    quota.count_request("ann", "message:last", Policy(requests_per_hour=limit))
    assert database.rows("SELECT count(*) AS kept FROM requests", {}) == [{"kept": 1}], "an hour's, and no more"


def test_an_event_counts_once_until_it_is_taken_back_and_made_again(database):
    with database.write() as db:
        db.execute("DELETE FROM requests")
    quota, policy = quota_in(database, lambda: 5.0), Policy(requests_per_hour=2)
    for _ in range(3):
        quota.count_request("ann", "reaction:1", policy)
    quota.count_again("reaction:1")
    quota.count_request("ann", "reaction:1", policy)
    quota.count_request("ann", "reaction:1", policy)
    quota.count_again("reaction:1")
    with pytest.raises(UserError, match="You asked 2 times within an hour; the limit is 2"):
        quota.count_request("ann", "reaction:1", policy)


def test_of_requests_at_once_no_more_are_heard_than_the_limit(tmp_path):
    heard: list[int] = []
    at_once = threading.Barrier(4)

    def ask(start: int) -> None:
        with Database.open(tmp_path / "longtake.db") as own:
            requests = Requests(own)
            at_once.wait()
            heard.extend(number for number in range(start, 12, 4) if requests.count("ann", str(number), 5) is None)

    Database.open(tmp_path / "longtake.db").close()
    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 5


@pytest.mark.asyncio
async def test_neither_a_restart_nor_the_deletion_of_ones_data_gives_another_hours_requests(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, requests_per_hour=2, approve=True)
        await film(w)
        await w.say(w.ann, STORY, w.photo)
        await w.restart()
        assert "You asked 2 times within an hour; the limit is 2." in await film(w)
        await w.ann.slash(w.channel, "mydata delete", sure=True)
        assert "You asked 2 times within an hour; the limit is 2." in await film(w)
        assert "Planned" in await film(w, w.bob)


@pytest.mark.asyncio
async def test_a_reaction_that_is_made_again_is_another_request(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, requests_per_hour=2, approve=True)
        await w.say(w.bob, STORY, w.photo)
        await w.bob.click(w.last, label="Film it")
        await w.filmed()
        shown = w.last
        for _ in range(2):
            await w.ann.react(shown, "▶️")
            await w.ann.click(w.last, label="Cancel")
            await w.ann.unreact(shown, "▶️")
        await w.ann.react(shown, "▶️")
        assert "You asked 2 times within an hour" in texts_of(w.last)


@pytest.mark.asyncio
async def test_too_many_requests_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, requests_per_hour=2, approve=True)
        await w.say(w.ann, STORY, w.photo)
        await w.ann.slash(w.channel, "plan", story=STORY)
        files, before = w.client.front._cdn.fetched, len(w.studio.cards.of(f"discord:{w.ann.id}"))
        fetched = len(files)
        text = await film(w)
        assert "You asked 2 times within an hour; the limit is 2. Ask again in about 60 min." in text
        await w.say(w.ann, STORY, w.photo)
        assert "You asked 2 times within an hour" in texts_of(w.last)
        assert (len(files), len(w.studio.cards.of(f"discord:{w.ann.id}"))) == (fetched, before)
        assert "Planned" in await film(w, w.bob), "the limit is each person's own"
        card = next(message for message in w.messages if "longtake:card:film" in str(message.components))
        await w.ann.click(card, label="Film it")
        assert len(w.studio.jobs.queue()) == 1, "what is planned can be filmed"


@pytest.mark.asyncio
async def test_another_take_is_no_request_that_is_planned(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, requests_per_hour=1)
        await film(w)
        await w.filmed()
        await w.ann.slash(w.channel, "again")
        assert len(w.studio.jobs.queue()) == 1


# ---- a server's ----


@pytest.mark.asyncio
async def test_a_server_has_so_many_films_waiting_whoever_asks(tmp_path: Path) -> None:
    async with world(tmp_path, discord_server_queue=2) as w:
        allow(w, queue_per_person=5)
        await film(w)
        await film(w)
        text = await film(w, w.bob)
        assert "This server has 2 films waiting; the limit is 2. Try again when some of them are done." in text
        await w.filmed()
        assert "Planned" in await film(w, w.bob)


@pytest.mark.asyncio
async def test_a_server_has_so_many_minutes_whatever_it_says_itself(tmp_path: Path) -> None:
    async with world(tmp_path, discord_server_minutes=0.15) as w:
        allow(w, server_minutes=1000.0, server_queue=1000)
        await film(w)
        await w.filmed()
        text = await film(w, w.bob)
        assert "This server had 0.1 minutes of film in the last 24 hours; the limit is 0.15" in text
        there = w.env.create_guild()
        lobby = there.create_text_channel("lobby")
        guest = there.add_member(w.env.create_user("guest"))
        w.studio.manners.keep_policy(f"discord:{there.id}", Policy(approve=False))
        assert "Planned" in said(await guest.slash(lobby, "film", story=STORY, image1=w.photo))


# ---- turns ----


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=14), st.data())
def test_who_asks_much_does_not_hold_up_who_asks_little(tmp_path_factory, asked, data):
    """Whoever waits is filmed for after at most one film of everybody else, however many those have waiting."""
    clock = [1_000_000.0]
    jobs = Jobs(Database.open(tmp_path_factory.mktemp("jobs") / "longtake.db"), lambda: clock[0])
    for person in asked:
        jobs.enqueue(plan(), ERRAND.model_copy(update={"requester": person}))
    patience = dict.fromkeys(asked, 0)
    while waiting := {job.errand.requester for job in jobs.queue() if job.state is JobState.QUEUED}:
        clock[0] += 1
        job = jobs.claim("w", 10_000)
        person = job.errand.requester
        for other in waiting:
            patience[other] = 0 if other == person else patience[other] + 1
            assert patience[other] <= len(set(asked)) - 1, (other, asked)
        jobs.cancel(job.id)
        if data.draw(st.booleans()):  # who is filmed for asks again at once, like all the greedy
            more = data.draw(st.integers(0, 1))
            for _ in range(more if len(asked) < 14 else 0):
                jobs.enqueue(plan(), ERRAND.model_copy(update={"requester": person}))
                asked = [*asked, person]


# ---- who may stop what ----


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["words", "words that name it", "an answer", "command", "button", "reaction", "menu"])
async def test_nobody_stops_the_film_of_somebody_else(tmp_path: Path, way: str) -> None:
    async with world(tmp_path) as w:
        allow(w)
        message = await w.say(w.ann, STORY, w.photo)
        (job,) = w.studio.jobs.queue()
        await w.turn()
        card = w.fresh(w.messages[0])

        async def stop(who) -> None:
            match way:
                case "words":
                    await w.say(who, "cancel")
                case "words that name it":
                    await w.say(who, f"cancel job {job.id}")
                case "an answer":
                    await w.say(who, "cancel", reply_to=card)
                case "command":
                    await who.slash(w.channel, "cancel", film=1)
                case "button":
                    await who.click(card, label="Cancel")
                case "reaction":
                    await who.react(card, "❌")
                case "menu":
                    await who.react(message, "❌")

        await stop(w.bob)
        assert w.studio.jobs.get(job.id).state is JobState.QUEUED
        if way in ("words that name it", "command", "button", "reaction"):
            role = w.guild.create_role("mods", permissions=discord.Permissions(manage_messages=True))
            await stop(w.guild.add_member(w.env.create_user("mod"), roles=[role]))
            assert w.studio.jobs.get(job.id).state is JobState.CANCELLED
        elif way == "words":
            await stop(w.ann)
            assert w.studio.jobs.get(job.id).state is JobState.CANCELLED


# ---- where the bot serves ----


@pytest.mark.asyncio
async def test_a_server_that_is_not_served_any_more_can_do_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        allow(w, approve=True)
        await w.say(w.bob, STORY, w.photo)
        draft = w.messages[0]
        await w.say(w.ann, STORY, w.photo)
        await w.ann.click(w.fresh(w.messages[-1]), label="Film it")
        take = await w.filmed()
        shown = w.studio.takes.messages(take.id)[-1]
        film_message = next(m for m in w.messages if str(m.id) == shown)
        object.__setattr__(w.client.settings, "discord_guilds", "1,2")
        count = len(w.messages)
        for who, message, label in (
            (w.bob, draft, "Film it"),
            (w.bob, draft, "Edit plan"),
            (w.ann, film_message, "Again"),
            (w.ann, film_message, "Delete"),
        ):
            assert "I do not film on this server" in said(await who.click(w.fresh(message), label=label)), label
        await w.ann.react(film_message, "🔁")
        await w.ann.react(film_message, "❌")
        await w.say(w.ann, STORY, w.photo)
        assert w.studio.jobs.queue() == []
        assert w.studio.takes.get(take.id) == take
        assert len(w.messages) == count


@pytest.mark.asyncio
async def test_by_direct_message_only_people_of_the_servers_are_heard(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        there = w.env.create_guild("elsewhere")
        there.create_text_channel("lobby")
        stranger = w.env.create_user("stranger")
        there.add_member(stranger)
        await w.env.settle()
        object.__setattr__(w.client.settings, "discord_guilds", str(w.guild.id))
        for who, heard in ((stranger, False), (w.ann.user, True)):
            await who.send_dm(STORY)
            answers = [m for m in who.dm_channel.history() if m.author.id == w.client.user.id]
            assert bool(answers) is heard
        for who, told in ((stranger, True), (w.ann.user, False)):
            result = await who.slash("help")
            assert ("I do not film on this server" in said(result)) is told
