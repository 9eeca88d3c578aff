"""The bot on real sockets: what it does when the connection, the answers or the uploads go wrong."""

import asyncio
import json
from pathlib import Path

import pytest
from discord_server import ANN, BOB, CHANNEL, Fault, Server, serving
from waiting import until
from wire import connected, wire

from storage.footage import probe, read_frames
from storage.schema import Person

pytestmark = pytest.mark.asyncio
MESSAGES = f"^/channels/{CHANNEL}/messages$"
ROOM = f"/channels/{CHANNEL}/messages"
EDITS = f"^/channels/{CHANNEL}/messages/\\d+$"


async def test_the_video_that_arrives_is_the_film_byte_by_byte_below_what_asked_for_it(tmp_path: Path):
    async with wire(tmp_path) as w:
        take = await w.filmed()
        await until(w.server.films)
        (film,) = w.server.films()
        assert w.server.file(film) == w.studio.media.path(take.film.video).read_bytes()
        asked = w.studio.cards.by_job(take.job).asked
        assert film["message_reference"]["message_id"] == asked.removeprefix("message:")
        assert "<@" not in film["content"], "nobody is called who waited for six seconds"
        await until(lambda: not w.studio.cards.followed())
        reactions = [path for method, path in w.server.calls if method == "PUT" and "/reactions/" in path]
        assert len(reactions) == 2
        assert all(film["id"] in path for path in reactions)


async def test_who_waited_over_a_minute_is_called_once_and_nobody_who_does_not_want_it(tmp_path: Path):
    async with wire(tmp_path) as w:
        await w.film(await w.card(), seconds=61)
        await until(lambda: len(w.server.films()) == 1)
        (film,) = w.server.films()
        assert film["content"].startswith(f"<@{ANN}> ")
        assert film["said"] == {"parse": [], "users": [ANN]}
        w.studio.manners.keep_person(f"discord:{ANN}", Person(notify=False))
        await w.film(await w.card(), seconds=61)
        await until(lambda: len(w.server.films()) == 2)
        assert "<@" not in w.server.films()[-1]["content"]


async def test_what_was_said_while_the_line_was_cut_is_replayed_and_answered_once(tmp_path: Path):
    async with wire(tmp_path) as w:
        await w.card()
        await w.server.drop()
        await w.server.say(BOB, "@ 5 s of my cat, she sleeps", photo=w.photo)
        await until(lambda: len(w.server.cards("film")) == 2)
        assert (w.server.identified, w.server.resumed) == (1, 1)
        for event in [e for e in w.server.log if e["t"] == "MESSAGE_CREATE"]:
            await w.server.send(event)  # and once more
        await w.heard()
        await w.turns(3)
        assert len(w.server.ours()) == 3


async def test_a_bot_listens_from_its_session_on_and_not_while_the_line_is_cut(tmp_path: Path):
    async with wire(tmp_path) as w:
        assert w.client.listening
        back = asyncio.Event()
        w.server.faults.append(Fault("GET", "^/gateway", waits=back))
        await w.server.drop()
        await until(lambda: not w.client.listening)
        back.set()
        await until(lambda: w.client.listening)
        assert (w.server.identified, w.server.resumed) == (1, 1)


async def test_a_press_and_a_reaction_that_come_twice_count_once(tmp_path: Path):
    async with wire(tmp_path) as w:
        await w.film(await w.card())
        await until(w.server.films)
        await w.server.react(BOB, w.server.films()[0], "🔁")
        await until(lambda: len(w.studio.jobs.queue()) == 1)
        for event in [e for e in w.server.log if e["t"] in ("INTERACTION_CREATE", "MESSAGE_REACTION_ADD")]:
            await w.server.send(event)
        await w.heard()
        await w.turns(3)
        assert len(w.studio.jobs.recent()) == 2


async def test_after_a_lost_session_what_was_missed_is_found_and_answered_once(tmp_path: Path):
    async with wire(tmp_path) as w:
        await w.card()
        await w.server.drop(forget=True)
        for number in range(3):
            await w.server.say(BOB, f"talk among people {number}", send=False)
        await w.server.say(BOB, "@ 5 s of my cat, she sleeps", photo=w.photo, send=False)
        await until(lambda: len(w.server.cards("film")) == 2)
        await w.caught_up()
        assert (w.server.identified, w.server.resumed) == (2, 0)
        assert len(w.server.ours()) == 2


async def test_a_short_rate_limit_is_obeyed_and_a_refusal_of_the_network_is_tried_later(tmp_path: Path):
    async with wire(tmp_path) as w:
        limited = {"message": "slower", "retry_after": 0.3, "global": False}
        w.server.faults += [
            Fault("POST", MESSAGES, 429, limited, {"Via": "1.1 google"}),
            Fault("PATCH", EDITS, 429, {"message": "banned"}),  # no Via: it is not Discord who says so
        ]
        await w.filmed()
        await until(lambda: w.server.films() and not w.studio.cards.followed())
        assert not w.server.faults
        assert len(w.server.ours()) == 2, "one card, one film"


async def test_a_long_rate_limit_of_edits_does_not_hold_up_the_film(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        limited = {"message": "slower", "retry_after": 3600.0, "global": False}
        w.server.faults.append(Fault("PATCH", EDITS, 429, limited, {"Via": "1.1 google"}, times=float("inf")))
        await w.film(card)
        await until(w.server.films)
        await until(lambda: edits(w.server))
        await w.turns(2)  # who waited behind the edit that was limited has had its turn
        limited_edits = edits(w.server)
        await w.turns(13)
        assert edits(w.server) == limited_edits, "the card is left alone"


def edits(server: Server) -> list[str]:
    """Where messages were edited, or tried to be."""
    return [path for method, path in server.calls if method == "PATCH"]


async def test_a_card_that_is_limited_for_long_is_sent_when_the_limit_ends(tmp_path: Path, monkeypatch):
    sleep, limited_for, ends = asyncio.sleep, [], asyncio.Event()

    async def until_it_ends(seconds: float, *more) -> None:
        if seconds >= 45:
            limited_for.append(seconds)
            await ends.wait()
        else:
            await sleep(seconds, *more)

    async with wire(tmp_path) as w:
        limited = {"message": "slower", "retry_after": 45.0, "global": False}
        w.server.faults.append(Fault("POST", MESSAGES, 429, limited, {"Via": "1.1 google"}))
        monkeypatch.setattr("bot.discord.rest.asyncio.sleep", until_it_ends)
        await w.server.say(ANN, "@ 5 s of my dog, he runs", photo=w.photo)
        await until(lambda: limited_for)
        assert not w.server.cards()
        assert [card.closed for card in w.studio.cards.open_cards()] == [False], "it is not given up"
        ends.set()
        await until(lambda: w.server.cards("film"))
        assert len(w.server.cards()) == 1


async def test_a_request_outlasts_an_outage_of_discord(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("bot.discord.rest.WAITS", (0.01,))
    monkeypatch.setattr("bot.discord.hearing.LONG_WAITS", (0.01,) * 50)
    async with wire(tmp_path) as w:
        w.server.faults.append(Fault("POST", MESSAGES, 503, times=7))
        await w.server.say(ANN, "@ 5 s of my dog, he runs", photo=w.photo)
        await w.server.say(BOB, "@ help")
        await until(lambda: w.server.cards("film") and len(w.server.ours()) == 2)
        await until(lambda: not w.studio.seen.unfinished())
        assert not w.server.faults


async def test_words_and_reactions_of_a_gap_are_found_also_where_nobody_spoke_before(tmp_path: Path):
    async with serving() as server:
        server.messages[CHANNEL + 1] = {}
        async with connected(server, tmp_path) as w:
            await w.film(await w.card())
            await until(lambda: not w.studio.cards.followed())
        await server.react(BOB, server.films()[0], "🔁")
        await server.say(BOB, "@ help", where=CHANNEL + 1)
        async with connected(server, tmp_path) as w:
            await until(lambda: len(w.studio.jobs.queue()) == 1 and server.ours(CHANNEL + 1))
            assert w.studio.jobs.queue()[0].errand.requester == f"discord:{BOB}"
        async with connected(server, tmp_path) as w:
            await w.caught_up()
            assert len(w.studio.jobs.recent()) == 2, "once, however often it is looked at"


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_server_that_fails_once_gets_the_film_once(tmp_path: Path, status: int):
    async with wire(tmp_path) as w:
        card = await w.card()
        w.server.faults.append(Fault("POST", MESSAGES, status))
        await w.film(card)
        await until(lambda: not w.studio.cards.followed())
        assert len(w.server.films()) == 1


async def test_a_card_and_an_answer_that_fail_once_are_sent_again_and_stand_there_once(tmp_path: Path):
    async with wire(tmp_path) as w:
        w.server.faults.append(Fault("POST", MESSAGES, 503))
        await w.card()
        w.server.faults.append(Fault("POST", MESSAGES, 503, after=True))
        await w.server.say(BOB, "@ help")
        await until(lambda: [path for method, path in w.server.calls if method == "POST"].count(ROOM) == 4)
        await w.turns(3)
        assert len(w.server.ours()) == 2


async def test_a_film_that_arrived_though_the_answer_was_lost_is_not_sent_twice(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        w.server.nonces = False
        w.server.faults.append(Fault("POST", MESSAGES, 503, after=True))
        take = await w.film(card)
        await until(lambda: not w.studio.cards.followed())
        (film,) = w.server.films()
        assert w.studio.takes.by_message(film["id"]) == take


async def test_a_film_that_is_too_large_is_encoded_to_fit_before_the_first_try(tmp_path: Path):
    async with wire(tmp_path) as w:
        take = await w.filmed()
        size = w.studio.media.path(take.film.video).stat().st_size
    async with serving() as server, connected(server, tmp_path / "b", discord_upload_mib=1) as w:
        w.client.board.delivery.limit_of = lambda _: size // 2
        take = await w.filmed()
        await until(server.films)
        sent = server.file(server.films()[0])
        assert len(sent) <= size // 2
        copy = tmp_path / "sent.mp4"
        copy.write_bytes(sent)
        film = w.studio.media.path(take.film.video)
        assert (probe(copy).frames, probe(copy).fps) == (probe(film).frames, 16.0)
        assert sum(1 for _ in read_frames(copy)) == take.film.frames
        assert [m for m, p in server.calls if m == "POST" and p.endswith("messages")] == ["POST"] * 2


@pytest.mark.parametrize("refusal", [(413, {}), (400, {"code": 40005, "message": "Request entity too large"})])
async def test_a_refused_upload_is_made_smaller_once(tmp_path: Path, refusal):
    async with wire(tmp_path) as w:
        card = await w.card()
        w.server.faults.append(Fault("POST", MESSAGES, *refusal))
        take = await w.film(card)
        await until(w.server.films)
        sent = w.server.file(w.server.films()[0])
        assert len(sent) <= 0.7 * w.studio.media.path(take.film.video).stat().st_size


async def test_a_film_that_is_refused_twice_is_stood_for_by_a_still_with_words(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        w.server.faults.append(Fault("POST", MESSAGES, 413, times=2))
        take = await w.film(card)
        await until(lambda: not w.studio.cards.followed())
        still = w.server.ours()[-1]
        assert [a["filename"] for a in still["attachments"]] == [f"take-{take.id}.jpg"]
        assert w.server.file(still).startswith(b"\xff\xd8")
        assert "📩" in still["content"]
        assert f"longtake:take:again:{take.id}" in json.dumps(still["components"])
        await w.server.react(BOB, still, "📩")
        await until(lambda: w.server.films(10000 + BOB))
        film = w.studio.media.path(take.film.video)
        assert w.server.file(w.server.films(10000 + BOB)[0]) == film.read_bytes()


async def test_a_slow_upload_holds_up_no_other_card(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        await w.film(card)
        arrives = asyncio.Event()
        w.server.faults.append(Fault("POST", MESSAGES, waits=arrives))
        await until(lambda: not w.server.faults)
        await w.server.say(BOB, "@ status")
        await until(lambda: "take" in w.server.ours()[-1]["content"])
        assert not w.server.films()
        arrives.set()
        await until(w.server.films)


async def test_where_files_may_not_be_attached_the_asker_gets_the_film_and_the_channel_a_word(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        w.server.faults.append(Fault("POST", MESSAGES, 403, {"code": 50013, "message": "Missing Permissions"}))
        take = await w.film(card)
        await until(lambda: not w.studio.cards.followed())
        (sent,) = w.server.films(10000 + ANN)
        assert w.server.file(sent) == w.studio.media.path(take.film.video).read_bytes()
        assert "Attach Files" in w.server.ours()[-1]["content"]
        assert w.studio.takes.by_message(w.server.ours()[-1]["id"]) == take


async def test_without_a_channel_the_asker_gets_the_film_and_nothing_is_tried_for_ever(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        del w.server.messages[CHANNEL]
        await w.server.dispatch("CHANNEL_DELETE", {"id": str(CHANNEL), "type": 0, "guild_id": "500", "name": "x"})
        await w.film(card)
        await until(lambda: not w.studio.cards.followed())
        assert len(w.server.films(10000 + ANN)) == 1


async def test_a_film_that_nobody_can_get_is_kept_and_not_tried_for_ever(tmp_path: Path):
    async with wire(tmp_path) as w:
        card = await w.card()
        refused = {"code": 50013, "message": "Missing Permissions"}
        w.server.faults += [Fault("POST", "/messages$", 403, refused, times=float("inf"))]
        take = await w.film(card)
        await until(lambda: not w.studio.cards.followed())
        calls = len(w.server.calls)
        await w.turns(12)
        assert len(w.server.calls) == calls
        assert w.studio.takes.get(take.id) == take


async def test_a_picture_is_fetched_from_where_discord_keeps_files_and_from_nowhere_else(tmp_path: Path):
    async with wire(tmp_path) as w:
        foreign = await w.server.say(ANN, "@ 5 s of my dog", photo=w.photo, send=False)
        foreign["attachments"][0]["url"] = foreign["attachments"][0]["url"].replace("127.0.0.1", "localhost")
        await w.server.dispatch("MESSAGE_CREATE", foreign)
        await until(w.server.ours)
        assert "does not lie where Discord keeps files" in w.server.ours()[-1]["content"]
        assert not [path for _, path in w.server.calls if path.startswith("/attachments")]


async def test_a_film_that_was_sent_and_not_noted_when_the_bot_ended_is_not_sent_again(tmp_path: Path):
    async with serving() as server:
        server.nonces = False
        async with connected(server, tmp_path) as w:
            card = await w.card()
            server.faults.append(Fault("POST", MESSAGES, waits=asyncio.Event(), after=True))
            take = await w.film(card)
            await until(server.films)
            assert not w.studio.takes.messages(take.id)
        async with connected(server, tmp_path) as w:
            await until(lambda: not w.studio.cards.followed())
            (film,) = server.films()
            assert w.studio.takes.messages(take.id) == [film["id"]]
            await server.press(ANN, film, "details")
            await until(lambda: "prompt" in json.dumps(server.answers) or "seed" in json.dumps(server.answers))


async def test_a_boosted_server_takes_larger_files_and_all_others_what_the_owner_says(tmp_path: Path):
    async with serving() as server:
        server.tier = 2
        async with connected(server, tmp_path / "boosted") as w:
            assert w.client.board.delivery.limit_of(w.client.get_channel(CHANNEL)) == round(0.98 * 50 * 2**20)
            assert w.client.board.delivery.limit_of(None) == round(9.5 * 2**20)
    async with wire(tmp_path / "plain", discord_upload_mib=19.0) as w:
        assert w.client.board.delivery.limit_of(w.client.get_channel(CHANNEL)) == 19 * 2**20


async def test_a_reaction_that_comes_before_we_are_told_that_the_film_is_sent_is_heard(tmp_path: Path) -> None:
    async with wire(tmp_path) as w:
        card, told = await w.card(), asyncio.Event()
        w.server.faults.append(Fault("POST", MESSAGES, after=True, waits=told))
        await w.film(card)
        await until(w.server.films)
        (film,) = w.server.films()
        await w.server.react(BOB, film, "🔁")
        await w.server.react(ANN, film, "🔁")
        taken_back = next(e for e in reversed(w.server.log) if e["t"] == "MESSAGE_REACTION_ADD")
        await w.server.dispatch("MESSAGE_REACTION_REMOVE", taken_back["d"])
        await w.heard()
        told.set()
        await until(lambda: len(w.studio.jobs.recent()) == 2)
        await w.heard()
        assert [job.errand.requester for job in w.studio.jobs.recent()] == [f"discord:{BOB}", f"discord:{ANN}"]


async def test_a_reaction_that_comes_before_we_are_told_that_the_card_is_sent_is_heard(tmp_path: Path) -> None:
    async with wire(tmp_path) as w:
        told = asyncio.Event()
        w.server.faults.append(Fault("POST", MESSAGES, after=True, waits=told))
        await w.server.say(ANN, "@ 5 s of my dog, he runs", photo=w.photo)
        await until(w.server.cards)
        await w.server.react(ANN, w.server.cards()[0], "❌")
        await until(lambda: w.client.hearing._early)
        told.set()
        await until(lambda: "Cancelled" in json.dumps(w.server.cards()))
