"""The command line as a person runs it: real processes, a real worker, real files."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filming import draw, film_plan, window
from PIL import Image
from safetensors.torch import save_file
from waiting import LIMIT_SECONDS, wait_until

from bot.cli import display, main
from engine.segments import write_segment
from storage.database import Database
from storage.footage import read_frames
from storage.jobs import Jobs
from storage.loras import LoraLibrary
from storage.media import Media
from storage.schema import ContinueTake, Errand, Expert, JobState, Phase, Sampling, Size, Solver, StartImage, Tuning
from storage.takes import Takes
from storage.workers import Workers

Run = Callable[..., subprocess.CompletedProcess[str]]
LONGTAKE = Path(sys.executable).parent / "longtake"
SMALL = ["--size", "64x64"]
SOON = "3"  # seconds after which the job of a killed worker is taken up again


@pytest.fixture
def home(tmp_path: Path) -> Path:
    draw(tmp_path / "photo.png", seed=1)
    return tmp_path


@pytest.fixture
def environment(home: Path, toy_models_dir: Path) -> dict[str, str]:
    return os.environ | {
        "LONGTAKE_DATA_DIR": str(home / "data"),
        "LONGTAKE_MODELS_DIR": str(toy_models_dir),
        "LONGTAKE_THREADS": "1",
        "LONGTAKE_LEASE_SECONDS": "60",  # of a worker that gets no time for a while, and is not dead
        "LONGTAKE_POLL_SECONDS": "0.05",
        "LONGTAKE_PRECISION": "float32",
    }


@pytest.fixture
def longtake(home: Path, environment: dict[str, str]) -> Run:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [LONGTAKE, *arguments]
        return subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )

    return run


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    with Database.open(home / "data" / "longtake.db") as database:
        yield database


@pytest.fixture
def start_worker(home: Path, environment: dict[str, str]) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (home / f"worker-{len(started)}.log").open("wb") as log:
            command = [LONGTAKE, "worker"]
            started.append(subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.wait()


def made(run: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_photo_and_a_sentence_become_a_video_that_is_continued_and_filmed_again(
    longtake: Run, home: Path, database: Database
):
    """The whole walk; no worker runs, so one is started, and ends when the queue is empty."""
    story = "a dog runs along the beach. Then it jumps into the water. Finally it shakes itself"
    film = made(longtake("make", story, "--image", "photo.png", "--seconds", "14.5", *SMALL, "--seed", "3", "--json"))
    assert film["frames"] == 233
    assert film["trained"] is False
    with av.open(str(home / str(film["video"]))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.average_rate, stream.width, stream.height) == (16, 64, 64)

    shown = json.loads(longtake("show", str(film["video"]), "--json").stdout)
    third = shown["plan"]["windows"][2]
    take = Takes(database).get(int(str(film["take"])))
    told = made(longtake("show", str(take.id), "--json"))
    assert told["plan"] == shown["plan"]
    assert told["measured"] == [row.model_dump(mode="json") for row in take.film.measured]
    assert [row.window for row in take.film.measured] == [1, 2, 3]
    table = longtake("show", str(take.id)).stdout
    for row in take.film.measured[1:]:
        assert row.seam is not None
        assert [f"{row.seam.psnr:.1f}", "dB", f"{row.seam.colour:.2f}", f"{row.drift:.2f}"] in [
            line.split()[1:] for line in table.splitlines()
        ]
    head = made(longtake("make", "a dog runs along the beach", "--image", "photo.png", "--seconds", "9.5", *SMALL,
                         "--seed", "3", "--json", "--channel", "b"))  # fmt: skip
    assert head["frames"] == 157
    further = made(longtake("continue", "it shakes itself", "--channel", "b", "--json"))
    assert further["frames"] == 233
    plan = Takes(database).get(int(str(further["take"]))).plan
    assert plan.windows[0].seed == third["seed"], "a continuation films on with the noise of the third window"

    again = made(longtake("again", "--take", str(film["take"]), "--json"))
    assert again["seed"] != 3
    once, twice = (np.stack(list(read_frames(home / str(run["video"])))) for run in (film, again))
    assert once.shape == twice.shape
    assert not np.array_equal(once, twice)
    assert "again, of" in longtake("history").stdout
    assert "Nothing is queued" in longtake("queue").stdout
    wait_until(lambda: not Workers(database).alive())


def test_several_films_are_asked_for_at_once_with_numbers_by_name(longtake: Run, home: Path, database: Database):
    """A picture and one line of two make a film, filmed twice: the first time with the seed that was given."""
    asked = ["make", "a dog runs\n# the sun sets", "--image", "photo.png", "--seconds", "5", *SMALL, "--seed", "3"]
    several = ["--pairs", "all", "--repeat", "2", "--set", "steps=1 motion_amplitude=1.2", "--set", "solver=dpm++"]
    films = made(longtake(*asked, *several, "--out", "film.mp4", "--json"))["films"]
    assert [film["video"] for film in films] == ["film-1.mp4", "film-2.mp4"]
    assert [film["seed"] == 3 for film in films] == [True, False]
    assert len({(home / film["video"]).read_bytes() for film in films}) == 2
    sampling = json.loads(longtake("show", "film-2.mp4", "--json").stdout)["plan"]["sampling"]
    assert (sampling["sigmas"], sampling["solver"]) == ([1.0, 0.0], "dpm++")
    assert "motion_amplitude=1.2" in longtake("show", "film-2.mp4").stdout
    wait_until(lambda: not Workers(database).alive())


def test_third_windows_are_bit_identical_in_one_go_and_continued(longtake: Run, home: Path, database: Database):
    """Through the queue, the media store and two processes: same third prompt, same seed, same latents and frames."""
    jobs, takes, media = Jobs(database), Takes(database), Media(home / "data" / "media")
    photo = StartImage(image=media.add_file(home / "photo.png"))
    errand = Errand(channel="c", requester="me")
    at_once = jobs.enqueue(film_plan([window(1), window(2), window(3)], photo), errand)
    head = jobs.enqueue(film_plan([window(1), window(2)], photo), errand)
    assert longtake("worker", "--until-idle").returncode == 0
    film = takes.get(jobs.get(head.id).take or 0).film
    source = ContinueTake(video=film.video, tail=film.tail, head_windows=2, head_frames=film.frames)
    further = jobs.enqueue(film_plan([window(3)], source), errand)
    assert longtake("worker", "--until-idle").returncode == 0
    films = [takes.get(jobs.get(job.id).take or 0).film for job in (at_once, further)]
    frames = [np.stack(list(read_frames(media.path(film.video)))) for film in films]
    assert np.array_equal(*frames)
    assert films[0].tail == films[1].tail, "tails are files by content: same bytes, same name"


def test_ten_films_asked_for_at_once_are_each_filmed_once_by_two_workers(
    longtake: Run, home: Path, environment: dict[str, str], database: Database, start_worker
):
    start_worker()
    start_worker()
    jobs = Jobs(database)
    endless = [enqueue_slow(home, database, windows=40) for _ in range(2)]
    wait_until(lambda: all(jobs.get(job).state is JobState.RUNNING for job in endless))  # so both workers are at work
    for job in endless:
        jobs.cancel(job)
    command = [LONGTAKE, "make", "the sun sets", "--image", "photo.png", "--seconds", "5", *SMALL, "--json"]
    asking = [
        subprocess.Popen([*command, "--out", f"{n}.mp4"], cwd=home, env=environment, stdout=subprocess.PIPE, text=True)
        for n in range(10)
    ]
    films = [json.loads(process.communicate(timeout=LIMIT_SECONDS)[0]) for process in asking]
    assert len({film["take"] for film in films}) == 10
    assert all((home / str(film["video"])).stat().st_size > 0 for film in films)
    done = jobs.recent(state=JobState.DONE, limit=20)
    assert [job.attempts for job in done] == [1] * 10


def enqueue_slow(home: Path, database: Database, windows: int = 3) -> int:
    """A job of many steps, so that there is time to disturb it."""
    steps = 60
    sampling = Sampling(
        solver=Solver.EULER,
        sigmas=tuple(1 - n / steps for n in range(steps + 1)),
        phases=(Phase(expert=Expert.LOW_NOISE, above=0.0),),
    )
    photo = StartImage(image=Media(home / "data" / "media").add_file(home / "photo.png"))
    plan = film_plan([window(n) for n in range(1, windows + 1)], photo, sampling)
    return Jobs(database).enqueue(plan, Errand(channel="c", requester="me")).id


def in_window(jobs: Jobs, job: int, number: int) -> bool:
    progress = jobs.get(job).progress
    return progress is not None and progress.window == number and progress.step >= 5


def filmed_of(jobs: Jobs, job: int) -> list[tuple[int, str]]:
    """Attempt and number of each window that is kept."""
    return [(event.attempt, event.text) for event in jobs.events(job) if event.kind == "window"]


def test_a_job_whose_worker_is_killed_is_taken_up_again_at_its_unfinished_window(
    home: Path, environment: dict[str, str], database: Database, start_worker
):
    jobs = Jobs(database)
    environment["LONGTAKE_LEASE_SECONDS"] = SOON
    undisturbed, disturbed = enqueue_slow(home, database), enqueue_slow(home, database)
    first = start_worker()
    wait_until(lambda: filmed_of(jobs, disturbed) and in_window(jobs, disturbed, 2))
    first.kill()
    first.wait()
    kept = filmed_of(jobs, disturbed)
    start_worker()
    wait_until(lambda: jobs.get(disturbed).state.final)
    job = jobs.get(disturbed)
    assert (job.state, job.attempts) == (JobState.DONE, 2)
    assert filmed_of(jobs, disturbed) == [*kept, *((2, str(number)) for number in range(len(kept) + 1, 4))]
    takes = Takes(database)
    films = [takes.get(jobs.get(number).take or 0).film for number in (undisturbed, disturbed)]
    assert films[0].video == films[1].video, "the same bytes as without the kill"
    wait_until(lambda: not any((home / "data" / "renders").iterdir()))  # work folders go when the job is done


def test_a_worker_that_is_told_to_end_gives_its_job_back(home: Path, database: Database, start_worker):
    jobs = Jobs(database)
    job = enqueue_slow(home, database)
    worker = start_worker()
    wait_until(lambda: in_window(jobs, job, 1))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=LIMIT_SECONDS) == 0
    assert jobs.get(job).state is JobState.QUEUED
    assert not Workers(database).alive()


def test_a_cancelled_job_stops_while_it_is_filmed(longtake: Run, home: Path, database: Database, start_worker):
    jobs = Jobs(database)
    job, next_job = enqueue_slow(home, database, windows=40), enqueue_slow(home, database, windows=1)
    start_worker()
    wait_until(lambda: in_window(jobs, job, 1))
    assert longtake("cancel", str(job)).stdout == f"Job {job} is cancelled.\n"
    wait_until(lambda: jobs.get(next_job).state is JobState.DONE)
    assert jobs.get(job).state is JobState.CANCELLED
    assert jobs.get(job).take is None
    wait_until(lambda: not any((home / "data" / "renders").iterdir()))


def test_a_job_that_cannot_be_filmed_fails_with_its_reason_and_the_next_one_is_filmed(
    longtake: Run, home: Path, database: Database
):
    jobs = Jobs(database)
    bad, good = enqueue_slow(home, database, windows=1), enqueue_slow(home, database, windows=1)
    with database.write() as db:
        db.execute("""UPDATE jobs SET plan = json_set(plan, '$.model', 'lost') WHERE id = ?""", [bad])
    assert longtake("worker", "--until-idle").returncode == 0
    assert jobs.get(bad).state is JobState.FAILED
    assert "The model lost is not installed" in (jobs.get(bad).error or "")
    assert jobs.get(good).state is JobState.DONE


def test_a_video_file_is_continued(longtake: Run, home: Path):
    film = made(longtake("make", "rain falls", "--image", "photo.png", "--seconds", "5", *SMALL, "--json"))
    again = made(longtake("continue", "snow falls", "--video", str(film["video"]), "--keep-frames", "-11", "--json"))
    assert again["frames"] == 70 + 76


def test_the_beats_of_a_demonstration_are_held_unless_text_is_asked_for(longtake: Run, home: Path):
    story = [
        "make",
        "it waits. At 2 seconds night falls",
        "--image",
        "photo.png",
        "--seconds",
        "5",
        *SMALL,
        "--seed",
        "1",
    ]
    text, relay = (made(longtake(*story, *timing, "--json")) for timing in (["--timing", "text"], []))
    further = made(longtake("continue", "snow falls", "--json"))
    plans = [made(longtake("show", str(film["video"]), "--json"))["plan"] for film in (text, relay, further)]
    assert [plan["timing"] for plan in plans] == ["text", "relay", "relay"]
    assert plans[0]["windows"] == plans[1]["windows"]
    frames = [np.stack(list(read_frames(home / str(film["video"])))) for film in (text, relay)]
    assert not np.array_equal(*frames)


def test_a_plan_as_json_counts_in_window_seconds(longtake: Run):
    run = longtake("plan", "a man waits. At 8 seconds he waves", "--seconds", "14", "--json")
    plan = made(run)
    assert plan["seconds"] == pytest.approx(233 / 16)
    windows = plan["windows"]
    assert len(windows) == 3
    assert all(set(window) >= {"prompt", "negative", "anchor", "beats"} for window in windows)
    (wave,) = [beat for beat in windows[1]["beats"] if "waves" in beat["action"]]
    assert wave["seconds"] == pytest.approx(3.25)
    assert "(at 3.25 seconds: he waves)" in windows[1]["prompt"]


def test_the_lora_library_is_listed_with_what_each_fits_and_chosen_from(
    longtake: Run, home: Path, capsys: pytest.CaptureFixture[str]
):
    library = home / "loras"  # where the settings look by themselves
    library.mkdir()
    assert "is empty: put NAME.safetensors there" in longtake("loras").stdout
    save_file({"nothing.lora_A.weight": torch.zeros(1)}, library / "foreign.safetensors")
    (library / "noir.safetensors").write_text("no tensors")
    (library / "noir.json").write_text('{"title": "Film Noir", "triggers": ["noir style"], "strength": "0.8"}')
    listed = made(longtake("loras", "--json"))["loras"]
    foreign, noir = listed
    assert (foreign["name"], foreign["fits"]) == ("foreign", [])
    assert "has 1 keys that this model does not know: nothing.lora_A.weight" in foreign["keys"]
    assert (noir["title"], noir["triggers"], noir["fits"]) == ("Film Noir", ["noir style"], [])
    assert "noir.safetensors is not a checkpoint" in noir["keys"]
    entries = LoraLibrary(library).entries()
    display.loras(LoraLibrary(library), entries, {lora["name"]: lora for lora in listed})
    assert re.search(r"^noir +Film Noir +NO MODEL +both +0\.8 +noir style", capsys.readouterr().out, re.MULTILINE)
    (window,) = made(longtake("plan", "a dog runs", "--lora", "film noir:0.5", "--json"))["windows"]
    assert window["prompt"].startswith("noir style. ")
    (library / "noir.json").write_text('{"weight": 1}')
    run = longtake("plan", "a dog runs", "--lora", "noir")
    assert (run.returncode, run.stdout) == (2, "")
    assert "noir.json in the LoRA library is wrong: weight: " in run.stderr


WRONG = {
    "no such file": ["make", "x", "--image", "nowhere.png"],
    "not a picture": ["make", "x", "--image", "words.png"],
    "a broken picture": ["make", "x", "--image", "broken.png"],
    "a bomb of a picture": ["make", "x", "--image", "bomb.png"],
    "a folder": ["make", "x", "--image", "."],
    "no picture": ["make", "x"],
    "no words": ["make", " ", "--image", "photo.png"],
    "a story without end": ["make", "and on " * 1500, "--image", "photo.png"],
    "no seconds": ["make", "x", "--image", "photo.png", "--seconds", "0"],
    "too many seconds": ["make", "x", "--image", "photo.png", "--seconds", "10000"],
    "too many seconds in words": ["make", "in 3000 seconds he jumps", "--image", "photo.png"],
    "seconds that are none": ["make", "x", "--image", "photo.png", "--seconds", "nan"],
    "a size too small": ["make", "x", "--image", "photo.png", "--size", "8x8"],
    "a size too large": ["make", "x", "--image", "photo.png", "--size", "9000x9000"],
    "a size that is none": ["make", "x", "--image", "photo.png", "--size", "big"],
    "a seed below zero": ["make", "x", "--image", "photo.png", "--seed", "-1"],
    "a picture that is not there": ["make", "end on picture 3", "--image", "photo.png"],
    "an unknown preset": ["make", "x", "--image", "photo.png", "--preset", "fast"],
    "an unknown parameter": ["make", "x", "--image", "photo.png", "--set", "motion=2"],
    "a parameter of another model": ["talk", "--set", "tea_cache=1", "hello"],
    "a parameter that does nothing": ["plan", "x", "--set", "nag_tau=3"],
    "pairs that do not match": [
        "make",
        "x\ny",
        "--image",
        "photo.png",
        *["--image", "photo.png"] * 2,
        "--pairs",
        "matched",
    ],
    "too many films": ["make", "x", "--image", "photo.png", "--repeat", "26"],
    "nothing to continue": ["continue", "x"],
    "an unknown take": ["continue", "x", "--take", "12"],
    "an unknown take again": ["again", "--take", "12"],
    "a video that is a picture": ["continue", "x", "--video", "photo.png"],
    "an unknown job": ["cancel", "12"],
    "a job beyond counting": ["cancel", "99999999999999999999999"],
    "a take beyond counting": ["again", "--take", "99999999999999999999"],
    "a story that is no text": ["make", os.fsdecode(b"a \xff dog"), "--image", "photo.png"],
    "a video onto its own picture": ["make", "x", "--image", "photo.png", "--out", "photo.png"],
    "a video onto its own guide": ["make", "x", "--image", "photo.png", "--guide", "clip.mp4", "--out", "clip.mp4"],
    "a video onto its own anchor": ["make", "x", "--anchor", "photo.png", "--out", "photo.png"],
    "a video onto a picture in words": ["talk", "photo.png he runs, 5 s", "--out", "photo.png"],
    "a video onto a folder": ["make", "x", "--image", "photo.png", "--out", "."],
    "a video to where nothing can be": ["make", "x", "--image", "photo.png", "--out", "photo.png/x.mp4"],
    "a sliver": ["make", "x", "--image", "photo.png", "--size", "64x1920"],
    "a video without a plan": ["show", "photo.png"],
    "no such take": ["show", "7"],
    "no such video": ["show", "7.mp4"],
    "no case to examine": ["bench", "planner", "--limit", "0"],
    "a backup to nowhere": ["backup", ""],
    "no such command": ["fly"],
}


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    draw(folder / "photo.png", seed=1)
    (folder / "words.png").write_text("these are words")
    (folder / "broken.png").write_bytes((folder / "photo.png").read_bytes()[:-100])
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    write_segment([np.zeros((9, 48, 64, 3), np.uint8)], Size(width=64, height=48), folder / "clip.mp4")
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gets_one_sentence_and_queues_nothing(wrong_files: Path, case: str, environment: dict[str, str]):
    environment["LONGTAKE_DATA_DIR"] = str(wrong_files / "data")
    run = subprocess.run(
        [LONGTAKE, *WRONG[case]], cwd=wrong_files, env=environment, capture_output=True, text=True, check=False,
        timeout=LIMIT_SECONDS,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("longtake")
    assert run.stderr.count("\n") == 1
    assert run.stderr.rstrip().endswith(".")
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    if (wrong_files / "data").exists():
        with Database.open(wrong_files / "data" / "longtake.db") as database:
            assert Jobs(database).recent() == []


def test_every_parameter_is_listed_for_people_and_for_scripts(capsys: pytest.CaptureFixture[str]):
    assert main(["parameters", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)["parameters"]}
    assert list(listed) == list(Tuning.model_fields)
    assert listed["shift"]["range"] == "from 1 to 25"
    assert listed["nag_tau"]["default"] == "3.5"
    assert "flow_shift" in listed["shift"]["also"]
    assert main(["parameters"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in listed)


def test_a_wrong_setting_is_named(longtake: Run, environment: dict[str, str]):
    environment["LONGTAKE_MAX_SECONDS"] = "-4"
    run = longtake("queue")
    assert run.returncode == 2
    assert "LONGTAKE_MAX_SECONDS" in run.stderr


def test_a_wrong_setting_of_the_engine_is_named(longtake: Run, environment: dict[str, str]):
    environment["LONGTAKE_GPUS"] = "0"
    run = longtake("models")
    assert run.returncode == 1
    assert run.stderr.startswith("longtake: The engine does not start: The setting LONGTAKE_GPUS is wrong: ")


def test_the_doctor_says_what_will_run_where(longtake: Run, environment: dict[str, str]):
    facts = made(longtake("doctor", "--json"))
    assert facts["ready"] is True
    assert facts["models"] == "demo (untrained)"
    environment["LONGTAKE_PRESET"] = "quality"
    run = longtake("doctor", "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout)["ready"] is False


def test_help_needs_no_torch():
    """What the front imports for its help, and for a command that renders nothing."""
    code = "import sys, bot.cli.commands; from bot.cli.main import parser; parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bot.studio" in loaded
    assert not {"torch", "transformers", "engine"} & set(loaded)


def processes_of(workers: list[str]) -> list[int]:
    """The numbers of the processes that these workers are, as far as they have started."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            command = file.read_bytes().decode(errors="replace")
            found += [int(file.parent.name)] if any(worker in command for worker in workers) else []
    return found


def test_a_film_whose_worker_is_killed_is_finished_by_the_next_one(
    home: Path, environment: dict[str, str], longtake: Run
):
    """The one who asked sees nothing of it but the time that it takes."""
    environment["LONGTAKE_LEASE_SECONDS"] = SOON
    command = [LONGTAKE, "make", "the sun sets", "--image", "photo.png", "--seconds", "14", *SMALL, "--json"]
    asking = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True)
    wait_until((home / "data" / "longtake.db").exists)
    with Database.open(home / "data" / "longtake.db") as database:
        jobs = Jobs(database)
        wait_until(lambda: processes_of(Workers(database).alive()))
        (worker,) = processes_of(Workers(database).alive())
        wait_until(lambda: any(job.progress for job in jobs.recent()))
        os.kill(worker, signal.SIGKILL)
        film = json.loads(asking.communicate(timeout=LIMIT_SECONDS)[0])
        assert (home / film["video"]).is_file()
        (job,) = jobs.recent()
        assert (job.state, job.attempts) == (JobState.DONE, 2)


def test_who_interrupts_several_films_cancels_all_that_have_not_ended(
    home: Path, environment: dict[str, str], database: Database
):
    Workers(database).sign_in("busy", 600)
    jobs = Jobs(database)
    command = [LONGTAKE, "make", "the sun sets", "--image", "photo.png", "--repeat", "4", *SMALL]
    asking = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(jobs.queue()) == 4)
    jobs.cancel(2)
    asking.send_signal(signal.SIGINT)
    _, said = asking.communicate(timeout=60)
    assert asking.returncode == 130
    assert "longtake: Job 1 is cancelled.\nlongtake: Jobs 3, 4 are cancelled.\n" in said
    assert [job.state for job in jobs.recent()] == [JobState.CANCELLED] * 4


def test_a_worker_that_cannot_start_says_why_and_the_job_waits(longtake: Run, environment: dict[str, str], home: Path):
    environment["LONGTAKE_DEVICE"] = "cuda:7"
    run = longtake("make", "x", "--image", "photo.png", *SMALL)
    assert run.returncode == 1
    assert "There is no GPU cuda:7 here" in run.stderr
    assert "Job 1 waits for a worker" in run.stderr
    with Database.open(home / "data" / "longtake.db") as database:
        assert Jobs(database).get(1).state is JobState.QUEUED


def test_left_over_work_folders_stop_nobody(longtake: Run, home: Path):
    for name in ("999", "12abc", "1"):
        (home / "data" / "renders" / name).mkdir(parents=True)
        (home / "data" / "renders" / name / "plan.json").write_text("another plan")
    assert made(longtake("make", "x", "--image", "photo.png", "--seconds", "5", *SMALL, "--json"))["frames"] == 81
    assert not any((home / "data" / "renders").iterdir())


def test_names_are_text_and_not_markup(longtake: Run, home: Path, database: Database):
    job = enqueue_slow(home, database)
    with database.write() as db:
        db.execute("UPDATE jobs SET errand = json_set(errand, '$.channel', '[/red]') WHERE id = ?", [job])
    assert "[/red]" in longtake("queue").stdout
    assert "[/x]" in longtake("history", "--channel", "[/x]").stdout


def test_what_was_deleted_cannot_be_continued(longtake: Run, home: Path, database: Database):
    film = made(longtake("make", "x", "--image", "photo.png", "--seconds", "5", *SMALL, "--json"))
    taken = made(longtake("again", "--json"))
    assert (film["video"], taken["video"]) == ("longtake-1.mp4", "longtake-2.mp4")
    for file in (home / "data" / "media").rglob("*"):
        if file.is_file():
            file.unlink()
    for command in (["continue", "y"], ["again"]):
        run = longtake(*command)
        assert run.returncode == 2
        assert "not in the media store any more" in run.stderr
    assert len(Jobs(database).recent()) == 2


def test_a_database_that_is_none_is_told_in_a_sentence(longtake: Run, home: Path):
    (home / "data").mkdir()
    (home / "data" / "longtake.db").write_text("this is no database" * 100)
    run = longtake("history")
    assert run.returncode == 2
    assert run.stderr == "longtake: The database cannot be used: file is not a database.\n"
