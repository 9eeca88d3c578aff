"""A budget for the media store: which videos go, and that a film whose video is gone goes on as if it were there."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from filming import draw, film_plan, window

from engine.models import ModelShelf
from engine.worker import Worker
from planner.compiler import reseed
from storage.cards import Cards
from storage.channels import Channels
from storage.database import Database
from storage.disk import GIB
from storage.eviction import FRESH_SECONDS, Eviction
from storage.jobs import Jobs
from storage.media import Media
from storage.schema import (
    Card,
    ContinueTake,
    Draft,
    Errand,
    Film,
    JobState,
    Plan,
    Request,
    StartImage,
    Take,
    UserError,
)
from storage.takes import Takes

ERRAND = Errand(channel="c", requester="ann")
KIB = 1024


@pytest.fixture
def media(tmp_path: Path) -> Media:
    return Media(tmp_path / "media")


Make = Callable[[], Take]


@pytest.fixture
def made(database: Database, media: Media) -> Make:
    """A take with a video of 10 KiB and a tail of 1 KiB, like no other; old enough to go."""
    past = Jobs(database, now=lambda: 1000.0)
    count = 0

    def make() -> Take:
        nonlocal count
        count += 1
        job = past.enqueue(film_plan([window(count)]), ERRAND)
        past.claim("w", 1e12)
        video, tail = (media.add_bytes(bytes([count]) * size * KIB) for size in (10, 1))
        return past.finish(job.id, 1, Film(video=video, tail=tail, frames=81, render_seconds=1.0))

    return make


def eviction(database: Database, media: Media, kib: float, now: float = 1000.0 + FRESH_SECONDS + 1) -> Eviction:
    return Eviction(database, media, kib * KIB / GIB, now=lambda: now)


def test_the_oldest_videos_go_until_the_rest_fits_and_tails_stay(database: Database, media: Media, made: Make) -> None:
    takes = [made() for _ in range(4)]  # 44 KiB
    assert eviction(database, media, 25).evict() == [take.film.video for take in takes[:2]]
    assert media.bytes_kept() == 24 * KIB
    known = [Takes(database).get(take.id) for take in takes]
    assert [take.evicted for take in known] == [True, True, False, False]
    assert [media.has(take.film.video) for take in known] == [False, False, True, True]
    assert all(media.has(take.film.tail) for take in known)
    assert eviction(database, media, 25).evict() == [], "it fits"
    assert eviction(database, media, 0).evict() == [], "no budget"


def test_what_is_pinned_new_waited_for_or_continued_stays(database: Database, media: Media, made: Make) -> None:
    """With no room at all, one thing at a time: each keeps its own video, and the rest goes."""
    jobs, takes, cards = Jobs(database), Takes(database), Cards(database)
    pinned, posted, queued, drafted, discussed, spare = (made() for _ in range(6))
    takes.pin(pinned.id)
    card = cards.open(Card(id=0, place="", channel="c", asker="ann", job=posted.job, opened="2026-01-01T00:00:00Z"))
    jobs.enqueue(going_on(queued), ERRAND)
    draft = Draft(request=Request(text="x", channel="c", requester="ann"), plan=going_on(drafted))
    cards.open(Card(id=0, place="", channel="c", asker="ann", draft=draft, opened="2026-01-01T00:00:00Z"))
    Channels(database).keep_draft("c", draft.model_copy(update={"plan": going_on(discussed)}))
    assert eviction(database, media, 0.001, now=1000.0).evict() == [], "all of them are new"
    assert eviction(database, media, 0.001).evict() == [spare.film.video]
    cards.change(card.id, closed=True)
    takes.unpin(pinned.id)
    assert eviction(database, media, 0.001).evict() == [pinned.film.video, posted.film.video]
    with pytest.raises(UserError):
        takes.pin(99)


def test_of_pins_at_once_no_more_are_kept_than_the_limit(tmp_path: Path, made: Make) -> None:
    numbers, most, at_once = [made().id for _ in range(8)], 3, threading.Barrier(4)
    kept: list[bool] = []

    def pin(mine: list[int]) -> None:
        with Database.open(tmp_path / "data" / "longtake.db") as own:
            at_once.wait()
            kept.extend(Takes(own).pin(take, "ann", most) for take in mine)

    threads = [threading.Thread(target=pin, args=(numbers[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Database.open(tmp_path / "data" / "longtake.db") as database:
        takes = Takes(database)
        assert len(takes.pinned_by("ann")) == sum(kept) == most
        assert [take for take in numbers if takes.get(take).pinned] == takes.pinned_by("ann")


def test_what_was_pinned_before_it_was_known_by_whom_stays_until_the_owner_lets_it_go(
    tmp_path: Path, database: Database, made: Make
) -> None:
    first, second = made(), made()
    Takes(database).pin(first.id)
    with database.write() as db:
        for trigger in ("pins_after_insert", "pins_after_delete"):
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute("DROP TABLE pins")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm008_pins_know_who_wants_them'")
    with Database.open(tmp_path / "data" / "longtake.db") as newer:
        takes = Takes(newer)
        assert [takes.get(take.id).pinned for take in (first, second)] == [True, False]
        takes.pin(first.id, "ann")
        takes.unpin(first.id, "ann")
        assert takes.get(first.id).pinned
        takes.unpin(first.id)
        assert not takes.get(first.id).pinned


def test_who_is_killed_between_the_note_and_the_file_leaves_it_to_the_next_call(
    database: Database, media: Media, made: Make
) -> None:
    take = made()
    eviction(database, media, 1)._note([take.film.video])
    assert media.has(take.film.video)
    assert eviction(database, media, 1).evict() == [take.film.video]


def going_on(take: Take, number: int = 9) -> Plan:
    source = ContinueTake(
        video=take.film.video, tail=take.film.tail, head_windows=take.windows, head_frames=take.film.frames
    )
    return film_plan([window(number)], source)


# ---- films ----


def worker_in(folder: Path, shelf: ModelShelf, media_gb: float = 0.0) -> Worker:
    settings = shelf._settings.model_copy(update={"data_dir": folder, "lease_seconds": 60.0, "media_gb": media_gb})
    return Worker(settings, Database.open(settings.database), shelf)


def filmed(worker: Worker, plan: Plan) -> Take:
    job = worker.jobs.enqueue(plan, ERRAND)
    worker.work(until_idle=True)
    assert worker.jobs.get(job.id).state is JobState.DONE, worker.jobs.get(job.id).error
    take = Takes(worker.database).made_by(job.id)
    assert take is not None
    return take


def test_a_film_goes_on_from_evicted_ones_as_if_they_were_there(tmp_path: Path, shelf: ModelShelf) -> None:
    """Also where what is continued continues something itself; and nothing of it is kept beyond the job."""
    worker = worker_in(tmp_path, shelf)
    first = filmed(worker, film_plan([window(1)], StartImage(image=worker.media.add_file(draw(tmp_path / "p", 1)))))
    second = filmed(worker, going_on(first, 2))
    third = going_on(second, 3)
    whole = filmed(worker, third)
    for take in (first, second, whole):
        worker.media.remove(take.film.video)
    stages = []
    tell = worker.jobs.progress

    def note(job: int, attempt: int, progress):  # type: ignore[no-untyped-def]
        stages.append(progress.stage.value)
        return tell(job, attempt, progress)

    worker.jobs.progress = note  # type: ignore[method-assign]
    again = filmed(worker, third)
    assert (again.film.video, again.film.tail) == (whole.film.video, whole.film.tail), "bit for bit"
    assert stages.index("loading") < stages.index("restoring") < stages.index("denoising")
    assert [worker.media.has(take.film.video) for take in (first, second, whole)] == [False, False, True]
    assert not list(worker.settings.renders.iterdir())


def test_a_worker_holds_the_store_to_its_budget_and_what_is_filmed_again_is_there_again(
    tmp_path: Path, shelf: ModelShelf
) -> None:
    worker = worker_in(tmp_path, shelf, media_gb=1e-9)
    takes, picture = Takes(worker.database), worker.media.add_file(draw(tmp_path / "p", 1))
    plan, other = (film_plan([window(number)], StartImage(image=picture)) for number in (1, 2))
    take = filmed(worker, plan)
    assert worker.media.has(take.film.video), "it is new"
    with worker.database.write() as db:
        db.execute("UPDATE takes SET created_ms = 0")
    assert worker.media.has(filmed(worker, other).film.video)
    assert takes.get(take.id).evicted
    assert not worker.media.has(take.film.video)
    filmed(worker, plan)
    assert not takes.get(take.id).evicted
    assert worker.media.has(take.film.video)


def test_the_same_seed_gives_the_same_plan_again() -> None:
    """What is said of an evicted take: “again” with its seed films the same."""
    plan = reseed(film_plan([window(1), window(2)]), 7)
    assert reseed(plan, plan.seed) == plan
