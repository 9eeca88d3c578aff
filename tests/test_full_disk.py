"""A full disk while films are rendered and while they are posted: nothing is lost, and all goes on when there is room.

The disk is a real one of 8 MiB where the machine lets us mount one without rights, else a real limit on the size of
files; in a process of its own, which is the whole test (tests/full_disk.py).
"""

import threading
from pathlib import Path

import discord
import pytest
from discord_world import World, settings_in, texts_of, world
from filming import draw, film_plan, window
from full_disk import Full, best, run

from bot.cli.display import findings as show
from bot.doctor import Finding, room
from bot.studio import Studio
from engine.demo.untrained import write_untrained
from engine.models import ModelShelf
from engine.settings import EngineSettings
from engine.worker import Worker
from storage.database import Database
from storage.disk import NEARLY_FULL, Disk, DiskFull, whole
from storage.jobs import Jobs
from storage.schema import Errand, Job, JobState, StartImage
from storage.takes import Takes

MARGIN_GB = 0.001  # 1 MiB
ERRAND = Errand(channel="c", requester="ann")


@pytest.mark.parametrize("test", ["while_it_is_rendered", "while_it_is_posted"])
def test_a_full_disk_loses_nothing_and_what_waited_goes_on(tmp_path: Path, test: str) -> None:
    ran = run(best(), tmp_path / "disk", test)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_without_rights_to_mount_a_limit_does_as_well(tmp_path: Path) -> None:
    """The other way, so that it is known to work where it is needed."""
    ran = run("limit", tmp_path / "disk", "while_it_is_posted")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_file_that_finds_no_room_is_not_there_and_what_was_there_stays(tmp_path: Path) -> None:
    full, file = Full("limit", tmp_path), tmp_path / "file"
    with whole(file) as partial:
        partial.write_bytes(b"before")
    full.fill()
    try:
        with pytest.raises(DiskFull, match=r"^The disk is full"), whole(file) as partial:
            partial.write_bytes(bytes(10**6))
    finally:
        full.make_room()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


def test_a_nearly_full_disk_is_told_of_by_the_doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studio = Studio(settings_in(tmp_path, disk_margin_gb=1e9))
    (finding,) = room(studio)
    assert finding.grave
    assert "below 1e+09 (LONGTAKE_DISK_MARGIN_GB) nothing is filmed" in finding.text
    show([finding, Finding("x", grave=False)])
    assert capsys.readouterr().out.split("\n\n")[0].lstrip().startswith("! The disk is nearly full")
    assert not list(room(Studio(settings_in(tmp_path, disk_margin_gb=0.0))))
    assert Disk(tmp_path, 1e9).trouble == NEARLY_FULL


# ---- in a process of its own, on a disk of its own ----


def while_it_is_rendered(full: Full) -> None:
    """Full once the first window is kept; with room again, the film is that of an undisturbed render."""
    models = full.folder.parent / "models"
    write_untrained(models / "demo")
    worker, plan = _worker(full.folder / "data", models)
    job = worker.jobs.enqueue(plan, ERRAND)
    tell, release, given = worker.jobs.window_filmed, worker.jobs.release, threading.Event()

    def fill(number: int, attempt: int, finished: int) -> bool:
        held = tell(number, attempt, finished)
        if (attempt, finished) == (1, 1):
            full.fill()
        return held

    def give_back(*of: int) -> Job:
        given.set()
        return release(*of)

    worker.jobs.window_filmed, worker.jobs.release = fill, give_back  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=worker.work, kwargs={"until_idle": True})
    thread.start()
    try:
        assert given.wait(120)
        with Database.open(full.folder / "data" / "longtake.db") as database:
            assert Jobs(database).get(job.id).state is JobState.RUNNING, "there is no room to say so"
        assert sorted(worker.settings.renders.rglob("window-*"))[0].name == "window-001.mp4"
        assert full.kind == "limit" or worker._claimed() is None, "nothing else is begun"
        full.make_room()
        thread.join(120)
    finally:
        full.make_room()
        worker.stopping.set()
        thread.join()
    done, take = worker.jobs.get(job.id), Takes(worker.database).made_by(job.id)
    assert (done.state, done.attempts, done.tries) == (JobState.DONE, 2, 1), "it cost no attempt"
    assert [event.text for event in worker.jobs.events(job.id) if event.kind == "window"] == ["1", "2"]
    alone, _ = _worker(full.folder.parent / "alone", models)
    other = alone.jobs.enqueue(plan, ERRAND)
    alone.work(until_idle=True)
    undisturbed = Takes(alone.database).made_by(other.id)
    assert take is not None
    assert undisturbed is not None
    assert take.film.video == undisturbed.film.video, "bit for bit"
    assert worker.media.intact(take.film.video)


def _worker(data: Path, models: Path):  # type: ignore[no-untyped-def]
    import torch

    settings = EngineSettings(
        data_dir=data, models_dir=models, disk_margin_gb=MARGIN_GB, lease_seconds=3.0, poll_seconds=0.05,
        _env_file=None,  # type: ignore[call-arg]
    )  # fmt: skip
    worker = Worker(
        settings, Database.open(settings.database), ModelShelf(settings, torch.device("cpu"), torch.float32)
    )
    photo = worker.media.add_file(draw(data / "photo.png", seed=1))
    return worker, film_plan([window(1), window(2)], StartImage(image=photo))


async def while_it_is_posted(full: Full) -> None:
    """There is no room to note that the film is sent: it waits, and is sent once when there is."""
    margin = MARGIN_GB if full.kind == "tmpfs" else 0.0
    async with world(full.folder, disk_margin_gb=margin, discord_approve=False, discord_edit_seconds=0.2) as w:
        await w.say(w.ann, "@ 64x64, 5 s of my dog", w.photo)
        take = w.finish(await w.work())
        full.fill()
        for _ in range(5):
            await w.turn()
        assert not films(w), "nobody could tell after a kill whether it was sent"
        await w.say(w.bob, "help")
        assert texts_of(w.messages[-1]) == str(DiskFull()), "who asks meanwhile is told"
        full.make_room()
        while w.studio.cards.followed():  # what failed rests for a while
            await w.turn()
        (film,) = films(w)
        assert w.studio.takes.by_message(str(film.id)) == take


def films(w: World) -> list[discord.Message]:
    return [message for message in w.messages if message.attachments]
