"""Cards, seen events and manners: real SQLite; what must hold after a restart and between two who ask at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from directing import plan_of, request

from storage.cards import Cards, Manners, NothingToFilm, Seen, Withdrawn
from storage.database import Database
from storage.jobs import Jobs
from storage.schema import Card, Draft, Errand, Job, Person, Policy, Style

DRAFT = Draft(request=request("a dog", 1), plan=plan_of("a dog runs").plan)
ERRAND = Errand(channel="discord:2", requester="discord:3")
CARD = Card(id=0, place="discord:1", channel="discord:2", asker="discord:3", opened=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_card_is_found_by_its_message_and_keeps_its_draft(database: Database) -> None:
    cards = Cards(database)
    card = cards.open(CARD)
    cards.change(card.id, message="77")
    cards.propose(card.id, DRAFT)
    found = Cards(database).by_message("77")
    assert found is not None
    assert (found.id, found.draft) == (card.id, DRAFT)
    assert cards.discussed("discord:2", "discord:3") == found
    assert cards.discussed("discord:2", "discord:4") is None


def test_of_many_who_film_a_draft_at_once_one_does(tmp_path: Path) -> None:
    databases = [Database.open(tmp_path / "longtake.db") for _ in range(4)]
    cards, jobs = Cards(databases[0]), [Jobs(database) for database in databases]
    card = cards.open(CARD.model_copy(update={"draft": DRAFT}))

    def film(number: int) -> Job | None:
        try:
            return jobs[number % 4].enqueue(DRAFT.plan, ERRAND, card.id)
        except NothingToFilm:
            return None

    with ThreadPoolExecutor(8) as pool:
        (filmed,) = filter(None, pool.map(film, range(16)))
    now = cards.get(card.id)
    assert now is not None
    assert (now.job, now.draft) == (filmed.id, None)
    assert [job.id for job in jobs[0].recent()] == [filmed.id], "those that were refused left no job behind"


def test_a_draft_that_was_thrown_away_cannot_be_filmed(database: Database) -> None:
    cards = Cards(database)
    card = cards.open(CARD.model_copy(update={"draft": DRAFT}))
    cards.change(card.id, closed=True)
    with pytest.raises(NothingToFilm):
        Jobs(database).enqueue(DRAFT.plan, ERRAND, card.id)
    with pytest.raises(Withdrawn):
        Jobs(database).enqueue(DRAFT.plan, ERRAND, card.id + 1)
    assert Jobs(database).recent() == []


def test_a_plan_takes_the_place_of_the_one_before_unless_that_is_filmed(database: Database) -> None:
    cards = Cards(database)
    former, filmed, own = (cards.open(CARD.model_copy(update={"draft": DRAFT})) for _ in range(3))
    job = Jobs(database).enqueue(DRAFT.plan, ERRAND, filmed.id)
    for card in (former, filmed):
        cards.propose(own.id, DRAFT, instead_of=card.id)
    former, filmed = (cards.get(card.id) or card for card in (former, filmed))
    assert (former.draft, former.closed) == (None, True)
    assert (filmed.job, filmed.closed) == (job.id, False)


def test_a_film_is_sent_for_the_first_time_once(database: Database) -> None:
    now = [1000.0]
    cards = Cards(database, lambda: now[0])
    card = cards.open(CARD)
    assert cards.begin_sending(card.id) is None
    now[0] += 60
    assert cards.begin_sending(card.id) == datetime.fromtimestamp(1000, UTC)


def test_only_cards_that_change_by_themselves_are_followed(database: Database) -> None:
    cards = Cards(database)
    planning, drafted, settled = (cards.open(CARD) for _ in range(3))
    cards.propose(drafted.id, DRAFT)
    cards.change(settled.id, closed=True)
    assert [card.id for card in cards.followed()] == [planning.id]


def test_an_event_is_first_once_whoever_asks(tmp_path: Path) -> None:
    seen = [Seen(Database.open(tmp_path / "longtake.db")) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda number: seen[number % 4].first("message:1"), range(16)))
    assert sum(first) == 1


def test_events_are_forgotten_when_they_are_old(database: Database) -> None:
    now = [1000.0]
    seen = Seen(database, lambda: now[0])
    seen.first("old")
    now[0] += 100
    seen.first("new")
    seen.forget(50)
    assert (seen.first("old"), seen.first("new")) == (True, False)


def test_a_channel_is_never_read_backwards(database: Database) -> None:
    seen = Seen(database)
    for message in (5, 9, 7):
        seen.read("2", message)
    assert seen.marks() == {"2": 9}


def test_policies_and_people_are_what_was_kept(database: Database) -> None:
    manners = Manners(database)
    assert manners.policy("discord:1") == Policy()
    policy = Policy(channels=("discord:2",), styles=(Style(name="noir", words="Black and white."),), paused=True)
    manners.keep_policy("discord:1", policy)
    manners.keep_person("discord:1", Person(notify=False))
    assert Manners(database).policy("discord:1") == policy
    assert Manners(database).person("discord:1") == Person(notify=False)
    assert manners.policy("discord:9") == Policy()
