"""What is left of a job that came to nothing, and of one that did not fit the memory: a real worker, real files."""

from pathlib import Path

import pytest
import torch
from faults import Fault, FaultyShelf
from filming import draw, film_plan, window

from engine.memory import Tier
from engine.models import ModelShelf
from engine.worker import Worker
from storage.database import Database
from storage.footage import read_comment
from storage.jobs import MAX_ATTEMPTS
from storage.schema import Errand, Job, JobState, Plan, StartImage, Take
from storage.takes import Takes

CALLS_A_WINDOW = 4  # of the networks: three steps, the first of them guided


def worker_in(folder: Path, shelf: ModelShelf, fault: Fault | None = None) -> Worker:
    settings = shelf._settings.model_copy(update={"data_dir": folder, "lease_seconds": 60.0})
    own = ModelShelf(settings, torch.device("cpu"), torch.float32)  # a shelf that was shrunk stays so
    faulty = FaultyShelf(own, fault) if fault else own
    return Worker(settings, Database.open(settings.database), faulty)  # type: ignore[arg-type]


def plan_in(worker: Worker) -> Plan:
    photo = worker.media.add_file(draw(worker.settings.data_dir / "photo.png", seed=1))
    return film_plan([window(1), window(2)], StartImage(image=photo))


def filmed(worker: Worker, plan: Plan) -> tuple[Job, Take | None]:
    job = worker.jobs.enqueue(plan, Errand(channel="c", requester="ann"))
    worker.work(until_idle=True)
    return worker.jobs.get(job.id), Takes(worker.database).made_by(job.id)


def second_window_fails(call: int, _: Tier) -> None:
    if call > CALLS_A_WINDOW:
        raise RuntimeError("The card burnt.")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, shelf: ModelShelf) -> tuple[Worker, Job, Take | None]:
    """A job whose second window cannot be filmed, and what it left."""
    worker = worker_in(tmp_path_factory.mktemp("failed"), shelf, second_window_fails)
    return worker, *filmed(worker, plan_in(worker))


def test_a_job_that_fails_for_good_leaves_the_film_of_its_first_windows(
    failed: tuple[Worker, Job, Take | None], tmp_path: Path, shelf: ModelShelf
) -> None:
    worker, job, take = failed
    assert (job.state, job.attempts) == (JobState.FAILED, MAX_ATTEMPTS)
    assert job.error == "RuntimeError: The card burnt."
    assert take is not None
    assert (take.plan, take.missing_windows, take.film.frames) == (job.plan.first(1), 1, 81)
    assert take.film.render_seconds > 0
    alone = worker_in(tmp_path, shelf)
    plan_in(alone)
    _, whole = filmed(alone, take.plan)
    assert whole is not None
    assert (take.film.video, take.film.tail) == (whole.film.video, whole.film.tail), "bit for bit"
    assert Plan.model_validate_json(read_comment(worker.media.path(take.film.video)) or "") == take.plan


def test_who_tries_again_gets_the_whole_without_filming_the_first_windows_again(
    failed: tuple[Worker, Job, Take | None], shelf: ModelShelf
) -> None:
    before, job, _ = failed
    worker = worker_in(before.settings.data_dir, shelf, calls := Counted())
    again, take = filmed(worker, job.plan)
    assert again.state is JobState.DONE
    assert calls.most == CALLS_A_WINDOW
    assert take is not None
    assert (take.plan, take.missing_windows) == (job.plan, 0)


class Counted:
    """A fault that never comes."""

    most = 0

    def __call__(self, call: int, _: Tier) -> None:
        self.most = call


def test_what_is_left_when_the_last_worker_was_killed_is_gathered_by_the_next(
    failed: tuple[Worker, Job, Take | None], tmp_path: Path, shelf: ModelShelf
) -> None:
    """Killed three times in its second window: as the job table and the folder look then."""
    _, _, expected = failed
    worker = worker_in(tmp_path, shelf, second_window_fails)
    job = worker.jobs.enqueue(plan_in(worker), Errand(channel="c", requester="ann"))
    for _ in range(MAX_ATTEMPTS):
        claimed = worker.jobs.claim("w", 60)
        assert claimed is not None
        if claimed.attempts == 1:
            worker.stopping.clear()
            worker.film(claimed)  # keeps window 1, and fails in window 2
        with worker.database.write() as db:
            db.execute("UPDATE jobs SET lease_ms = 0 WHERE state = 'running'")
    worker.work(until_idle=True)
    assert worker.jobs.get(job.id).state is JobState.FAILED
    assert worker.jobs.get(job.id).error == "The worker died or hung in attempt 3."
    take = Takes(worker.database).made_by(job.id)
    assert take is not None
    assert expected is not None
    assert (take.film.video, take.missing_windows) == (expected.film.video, 1)


def test_a_job_whose_file_is_gone_fails_at_once_and_the_next_one_is_filmed(tmp_path: Path, shelf: ModelShelf) -> None:
    worker = worker_in(tmp_path, shelf)
    plan = plan_in(worker).first(1)
    gone = plan.model_copy(update={"source": StartImage(image="a" * 64)})
    poison = worker.jobs.enqueue(gone, Errand(channel="c", requester="bob"))
    job, _ = filmed(worker, plan)
    assert job.state is JobState.DONE
    failed = worker.jobs.get(poison.id)
    assert (failed.state, failed.attempts) == (JobState.FAILED, 1)
    assert failed.error == "A file that the film needs is not in the media store any more."


# ---- a GPU that is too small ----


def second_window_is_too_large(call: int, tier: Tier) -> None:
    if tier is Tier.RESIDENT and call > CALLS_A_WINDOW:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


def test_what_does_not_fit_the_memory_goes_on_in_the_next_tier_and_says_so(
    failed: tuple[Worker, Job, Take | None], tmp_path: Path, shelf: ModelShelf
) -> None:
    worker = worker_in(tmp_path, shelf, second_window_is_too_large)
    plan = plan_in(worker)
    job, take = filmed(worker, plan)
    assert (job.state, job.attempts, job.error) == (JobState.DONE, 1, None)
    told = [(event.kind, event.text) for event in worker.jobs.events(job.id)]
    again = told.index(("again", "The GPU ran out of memory, so it goes on with less at a time, which is slower."))
    assert told.index(("window", "1")) < again < told.index(("window", "2"))
    assert worker.shelf.tiers == [Tier.RESIDENT, Tier.EXPERT]  # type: ignore[attr-defined]
    assert worker.shelf.calls == 2 * CALLS_A_WINDOW + 1, "the first window was not filmed again"  # type: ignore[attr-defined]
    assert take is not None
    assert take.film.short_of_memory
    other = plan.first(1).model_copy(update={"seed": 8})
    assert filmed(worker, other)[0].state is JobState.DONE
    assert worker.shelf.tiers[2:] == [Tier.EXPERT], "a worker learns"  # type: ignore[attr-defined]


def test_what_fits_no_tier_fails_at_once_with_a_sentence(tmp_path: Path, shelf: ModelShelf) -> None:
    def never(_: int, __: Tier) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    worker = worker_in(tmp_path, shelf, never)
    job, take = filmed(worker, plan_in(worker))
    assert (job.state, job.attempts, take) == (JobState.FAILED, 1, None)
    assert job.error == "A film of 64x48 does not fit this GPU's memory. Ask for a smaller one."
