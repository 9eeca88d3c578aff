"""Takes: the tree of a channel, and the messages that show it."""

import pytest

from storage.jobs import Jobs
from storage.schema import (
    Errand,
    Expert,
    Film,
    Phase,
    Plan,
    Sampling,
    Size,
    Solver,
    StartImage,
    Storyboard,
    StoryboardWindow,
    UserError,
    Window,
)
from storage.takes import Takes

FILM = Film(video="b" * 64, tail="c" * 64, frames=81, render_seconds=1 / 3)
PLAN = Plan(
    storyboard=Storyboard(title="Rain", windows=(StoryboardWindow(scene="a street"),)),
    size=Size(width=832, height=480),
    source=StartImage(image="a" * 64),
    windows=(Window(prompt="a street", negative="blur", seed=1),),
    sampling=Sampling(solver=Solver.EULER, sigmas=(1.0, 0.0), phases=(Phase(expert=Expert.LOW_NOISE, above=0),)),
    seed=7,
    model="demo",
)


@pytest.fixture
def takes(database):
    return Takes(database)


@pytest.fixture
def film(database):
    """Film a take: enqueue, claim, finish."""
    jobs = Jobs(database)

    def film(channel="lobby", parent=None, again_of=None):
        errand = Errand(
            channel=channel,
            requester="ada",
            parent=parent.id if parent else None,
            again_of=again_of.id if again_of else None,
        )
        jobs.enqueue(PLAN, errand)
        job = jobs.claim("w", 30)
        return jobs.finish(job.id, job.attempts, FILM)

    return film


def test_a_take_is_what_was_filmed(takes, film):
    take = film()
    assert takes.get(take.id) == take
    assert (take.plan, take.film) == (PLAN, FILM)


def test_a_take_that_nobody_knows(takes):
    with pytest.raises(UserError, match=r"^There is no take 3\.$"):
        takes.get(3)


def test_every_channel_has_its_own_history_newest_first(takes, film):
    mine, other, newer = film("lobby"), film("hall"), film("lobby")
    assert takes.history("lobby") == [newer, mine]
    assert takes.history("lobby", limit=1) == [newer]
    assert takes.last("lobby") == newer
    assert takes.history("hall") == [other]
    assert takes.history("attic") == []
    assert takes.last("attic") is None


def test_a_continuation_is_the_child_of_what_it_continues(takes, film):
    first = film()
    child = film(parent=first)
    grandchild = film(parent=child)
    other_branch = film(parent=first)
    assert takes.parent(first) is None
    assert takes.parent(child) == first
    assert takes.parent(grandchild) == child
    assert takes.children(first) == [child, other_branch]
    assert takes.children(grandchild) == []


def test_another_take_of_another_take_is_one_of_the_first(film):
    first = film()
    second = film(again_of=first)
    third = film(again_of=second)  # asked for by the video of the second: still a take of the first's plan
    assert second.errand.again_of == third.errand.again_of == first.id


def test_the_tree_tells_each_branch_to_its_end_with_other_takes_side_by_side(takes, film):
    first = film()
    stranger = film()
    child = film(parent=first)
    second = film(again_of=first)
    film("hall", parent=first)
    late_branch = film(parent=first)
    child_again = film(parent=first, again_of=child)
    grandchild = film(parent=child)
    assert takes.tree("lobby") == [
        (0, first),
        (1, child),
        (2, grandchild),
        (1, child_again),
        (1, late_branch),
        (0, second),
        (0, stranger),
    ]


def test_what_continues_a_take_of_another_channel_begins_a_tree_there(takes, film):
    first = film("lobby")
    there = film("hall", parent=first)
    assert takes.tree("hall") == [(0, there)]
    assert takes.parent(there) == first


def test_a_message_leads_to_the_take_that_it_shows(takes, film):
    first, second = film(), film()
    takes.post(first.id, "m1")
    takes.post(second.id, "m2")
    takes.post(first.id, "m3")
    takes.post(first.id, "m3")
    assert takes.by_message("m1") == takes.by_message("m3") == first
    assert takes.by_message("m2") == second
    assert takes.by_message("m4") is None
    assert takes.messages(first.id) == ["m1", "m3"]


def test_an_edited_message_shows_its_newest_take(takes, film):
    first, second = film(), film()
    takes.post(first.id, "m1")
    takes.post(second.id, "m1")
    assert takes.by_message("m1") == second
    assert takes.messages(first.id) == []


def test_a_message_cannot_show_a_take_that_is_not_there(takes):
    with pytest.raises(UserError, match=r"^There is no take 9\.$"):
        takes.post(9, "m1")
    assert takes.by_message("m1") is None
