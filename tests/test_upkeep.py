"""longtake doctor, check, backup and pin, and what is said of a film that came to nothing, as their user reads it."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filming import SIZE, film_plan, window

from bot.cli.deliver import deliver
from bot.cli.main import main
from bot.doctor import budget, files, findings
from bot.settings import BotSettings
from bot.studio import Studio
from engine.segments import write_segment
from storage.footage import probe
from storage.media import Media
from storage.schema import Errand, Film, Job, StartImage, Take, UserError

ERRAND = Errand(channel="cli", requester="ann")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """Of the folder in which the commands run; a studio on its own connection is opened by each of them."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LONGTAKE_")]:
        monkeypatch.delenv(name)
    studio = Studio(BotSettings())
    yield studio
    studio.database.close()


def ended(studio: Studio, windows: int | None = None, reason: str = "The card burnt.", **more: object) -> Job:
    """A job of two windows that is done, or failed after `windows` of them."""
    picture = studio.media.add_bytes(b"a picture")
    studio.jobs.enqueue(film_plan([window(1), window(2)], StartImage(image=picture)), ERRAND)
    job = studio.jobs.claim("w", 60)
    assert job is not None
    frames = np.random.default_rng(job.id).integers(0, 256, (9, SIZE.height, SIZE.width, 3), dtype=np.uint8)
    write_segment([frames], SIZE, Path("video.mp4"))
    video = studio.media.add_file(Path("video.mp4"), move=True)
    tail = studio.media.add_bytes(b"tail %d" % job.id)
    film = Film(video=video, tail=tail, frames=9, render_seconds=4.0, windows=windows, **more)  # type: ignore[arg-type]
    if windows is None:
        studio.jobs.finish(job.id, job.attempts, film)
    else:
        studio.jobs.fail(job.id, job.attempts, reason, retry=False, film=film)
    return studio.jobs.get(job.id)


def take_of(studio: Studio, job: Job) -> Take:
    take = studio.takes.made_by(job.id)
    assert take is not None
    return take


def told(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_what_was_finished_of_a_failed_film_is_left_here_with_a_sentence(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(studio, windows=1, short_of_memory=True)
    options = argparse.Namespace(json=False, out=None)
    assert deliver(studio, job, (), options) == 1
    assert probe(Path("longtake-1.mp4")).frames == 9
    said = told(capsys)
    assert "Only 1 of 2 windows were filmed; continue it, or ask for it again." in said
    assert "it was filmed with less at a time" in said
    assert "longtake: Job 1 failed: The card burnt. Take 1 is what was finished." in said
    assert deliver(studio, job, (), argparse.Namespace(json=True, out=Path("named.mp4"))) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["video"], facts["take"], facts["missing_windows"]) == ("named.mp4", 1, 1)
    assert main(["history"]) == 0
    assert "1 of 2" in told(capsys)


def test_a_film_that_was_removed_is_said_to_be_and_a_pinned_one_is_marked(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (take_of(studio, ended(studio)) for _ in range(2))
    assert main(["pin", str(second.id)]) == 0
    assert told(capsys) == "Take 2 stays.\n"
    with studio.database.write() as db:
        db.execute("UPDATE takes SET created_ms = 0")
    tight = Studio(BotSettings(media_gb=1e-9))
    tight.tidy()
    assert not studio.media.has(first.film.video)
    assert studio.media.has(second.film.video)
    assert main(["history"]) == 0
    said = told(capsys)
    assert "test (video removed)" in said
    assert "★ test" in said
    with pytest.raises(UserError, match=r"^The video of take 1 was removed to save room\. .* seed 7 films the same"):
        deliver(studio, studio.jobs.get(first.job), (), argparse.Namespace(json=False, out=None))
    (over,) = budget(tight)
    assert not over.grave
    assert "over its budget" in over.text
    assert main(["unpin", str(second.id)]) == 0
    assert told(capsys) == "Take 2 may be removed when room is needed.\n"
    assert main(["pin", "99"]) == 2
    assert "There is no take 99." in told(capsys)


def test_a_backup_says_what_it_holds(studio: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    take = take_of(studio, ended(studio))
    assert main(["backup", "safe"]) == 0
    assert told(capsys) == "safe holds takes: 1, files: 3.\n"
    assert Media(Path("safe/media")).intact(take.film.video)
    studio.media.remove(take.film.tail)
    assert main(["backup", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == [take.film.tail]
    assert main(["backup", "data"]) == 2
    assert "A backup cannot be in the folder" in told(capsys)


def test_a_check_finds_and_mends_and_the_doctor_knows_what_is_missing(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    take = take_of(studio, ended(studio))
    assert main(["check"]) == 0
    assert told(capsys) == "3 files, 0 damaged, 0 missing.\n"
    assert findings(studio) == []
    studio.media.path(take.film.video).write_bytes(b"rot")
    assert main(["check", "--repair"]) == 1
    said = told(capsys)
    assert f"damaged: {take.film.video}" in said
    assert "set aside: data/media/damaged/" in said
    assert main(["check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == [{"owner": "take 1", "file": take.film.video}]
    (finding,) = files(studio)
    assert finding.text == "Files that are not in the media store: 1, needed by take 1."
    strange = ended(studio)
    with studio.database.write() as db:
        db.execute("UPDATE jobs SET plan = '{}' WHERE id = :job", {"job": strange.id})
    (_, finding) = findings(studio)
    assert not finding.grave
    assert finding.text.endswith("cannot read: 2. Lists leave them out.")
