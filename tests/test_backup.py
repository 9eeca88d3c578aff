"""A backup that is made while all goes on, and a store that is looked through and mended."""

import errno
import os
import threading
from itertools import count
from pathlib import Path

import pytest
from filming import film_plan, window

from bot.settings import BotSettings
from bot.studio import Studio
from storage.backup import backup
from storage.check import Check
from storage.database import Database
from storage.eviction import Eviction
from storage.forget import NAMING, media_in
from storage.jobs import Jobs
from storage.media import Media
from storage.schema import Errand, Film, StartImage, Take, UserError
from storage.takes import Takes

ERRAND = Errand(channel="c", requester="ann")


@pytest.fixture
def media(tmp_path: Path) -> Media:
    return Media(tmp_path / "data" / "media")


def make(database: Database, media: Media, number: int) -> Take:
    jobs = Jobs(database)
    picture = media.add_bytes(b"picture %d" % number)
    jobs.enqueue(film_plan([window(1)], StartImage(image=picture)), ERRAND)
    job = jobs.claim("w", 60)
    assert job is not None
    video, tail = media.add_bytes(b"video %d" % number), media.add_bytes(b"tail %d" % number)
    return jobs.finish(job.id, job.attempts, Film(video=video, tail=tail, frames=81, render_seconds=1.0))


def test_a_backup_is_the_same_studio_again(database: Database, media: Media, tmp_path: Path) -> None:
    takes = [make(database, media, number) for number in range(3)]
    target = tmp_path / "backup"
    assert backup(database, media, target) == backup(database, media, target), "again changes nothing"
    restored = Media(target / "media")
    with Database.open(target / "longtake.db") as copy:
        assert [Takes(copy).get(take.id) for take in takes] == takes
        assert copy.rows("PRAGMA integrity_check", {}) == [{"integrity_check": "ok"}]
        assert Check(copy, restored).whole().sound
    assert sorted(restored.all()) == sorted(media.all())
    one = takes[0].film.video
    assert restored.path(one).stat().st_ino == media.path(one).stat().st_ino, "on one disk it takes no room"


def test_what_is_deleted_is_gone_from_the_next_backup_and_what_is_lost_is_told(
    database: Database, media: Media, tmp_path: Path
) -> None:
    studio = Studio(BotSettings(data_dir=tmp_path / "data", _env_file=None))  # type: ignore[call-arg]
    first, second = make(database, media, 1), make(database, media, 2)
    target = tmp_path / "backup"
    backup(database, media, target)
    studio.forget.take(first.id)
    media.remove(second.film.video)
    (target / "media" / second.film.video[:2] / second.film.video).unlink()
    made = backup(database, media, target)
    assert (made.takes, made.files, made.missing) == (1, 2, (second.film.video,))
    assert not Media(target / "media").has(first.film.video)


def test_another_disk_gets_copies_and_no_damaged_ones(
    database: Database, media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """os.link is the operating system's: as it answers between two disks."""

    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    take = make(database, media, 1)
    media.path(take.film.tail).write_bytes(b"rot")
    made = backup(database, media, tmp_path / "backup")
    assert made.missing == (take.film.tail,)
    copied = Media(tmp_path / "backup" / "media")
    assert copied.path(take.film.video).stat().st_ino != media.path(take.film.video).stat().st_ino
    assert len(copied.all()) == made.files == 2


def test_a_backup_within_the_store_is_refused(database: Database, media: Media, tmp_path: Path) -> None:
    for target in (tmp_path / "data", media.root, media.root / "backup"):
        with pytest.raises(UserError, match="cannot be in the folder"):
            backup(database, media, target)


def test_a_backup_made_while_films_come_and_go_lacks_nothing(database: Database, media: Media, tmp_path: Path) -> None:
    path, ended, made = tmp_path / "data" / "longtake.db", threading.Event(), []

    def go_on() -> None:
        with Database.open(path) as own:
            studio = Studio(BotSettings(data_dir=tmp_path / "data", _env_file=None))  # type: ignore[call-arg]
            for number in range(1000, 2000):
                if ended.is_set():
                    return
                take = make(own, media, number)
                made.append(take)
                if number % 2:
                    studio.forget.take(take.id)

    other = threading.Thread(target=go_on)
    other.start()
    try:
        for round_ in count():
            if len(made) >= 40 and round_ >= 3:
                break
            assert other.is_alive(), "nothing comes and goes any more"
            target = tmp_path / f"backup-{round_ % 2}"
            assert not backup(database, media, target).missing
            with Database.open(target / "longtake.db") as copy:
                assert media_in(copy.rows(NAMING, {})) == set(Media(target / "media").all())
                assert Check(copy, Media(target / "media")).whole().sound
    finally:
        ended.set()
        other.join()


# ---- the check ----


def test_what_is_damaged_missing_or_stray_is_found_and_what_can_be_is_mended(
    database: Database, media: Media, tmp_path: Path
) -> None:
    studio = Studio(BotSettings(data_dir=tmp_path / "data", _env_file=None))  # type: ignore[call-arg]
    check = Check(database, media)
    good, damaged, missing, evicted = (make(database, media, number) for number in range(4))
    assert check.whole().sound
    media.path(damaged.film.video).write_bytes(b"rot")
    with database.write() as db:
        db.execute("UPDATE takes SET created_ms = 0 WHERE id = :take", {"take": evicted.id})
    assert Eviction(database, media, 1e-9).evict() == [evicted.film.video]
    media.remove(missing.film.video)
    old, new = media.add_bytes(b"stray"), media.add_bytes(b"still to be named")
    os.utime(media.path(old), (0, 0))
    report = check.whole()
    assert (report.damaged, report.strays) == ((damaged.film.video,), tuple(sorted((old, new))))
    assert report.missing == ((f"take {missing.id}", missing.film.video),)
    aside, removed = check.repair(report, studio.forget)
    assert [path.read_bytes() for path in aside] == [b"rot"]
    assert (removed, media.has(old), media.has(new)) == (1, False, True)
    assert not media.has(damaged.film.video)
    assert media.intact(good.film.video)
    assert [owner for owner, _ in check.missing()] == [f"take {damaged.id}", f"take {missing.id}"]
