"""What a job that failed left is taken up by who tries again: real networks, real files, one worker in this process."""

from pathlib import Path

from filming import draw, film_plan, window

from engine.models import ModelShelf
from engine.worker import Worker
from storage.database import Database
from storage.schema import Errand, Job, JobState, Plan, StartImage

ERRAND = Errand(channel="c", requester="ann")


def worker_in(folder: Path, shelf: ModelShelf) -> Worker:
    settings = shelf._settings.model_copy(update={"data_dir": folder})
    return Worker(settings, Database.open(settings.database), shelf)


def plan_in(worker: Worker, seed: int = 1) -> Plan:
    photo = worker.media.add_file(draw(worker.settings.data_dir / "photo.png", seed))
    return film_plan([window(1), window(2)], StartImage(image=photo))


def failed_after_one_window(worker: Worker, plan: Plan) -> Job:
    """A job whose first window is kept, and that will not be tried again by itself."""
    job = worker.jobs.enqueue(plan, ERRAND)
    claimed, tell = worker.jobs.claim("w", 60), worker.jobs.window_filmed

    def stop(*told: int) -> bool:
        worker.stopping.set()
        return tell(*told)

    worker.jobs.window_filmed = stop  # type: ignore[method-assign]
    assert claimed is not None
    worker.film(claimed)
    worker.jobs.window_filmed = tell  # type: ignore[method-assign]
    worker.stopping.clear()
    again = worker.jobs.claim("w", 60)
    assert again is not None
    worker.jobs.fail(again.id, again.attempts, "The card burnt.", retry=False)
    return job


def filmed(worker: Worker, plan: Plan) -> Job:
    job = worker.jobs.enqueue(plan, ERRAND)
    worker.work(until_idle=True)
    done = worker.jobs.get(job.id)
    assert done.state is JobState.DONE
    return done


def video_of(worker: Worker, job: Job) -> str:
    from storage.takes import Takes

    return Takes(worker.database).get(job.take or 0).film.video


def windows_told(worker: Worker, job: Job) -> list[str]:
    return [event.text for event in worker.jobs.events(job.id) if event.kind == "window"]


def test_who_tries_again_films_on_from_the_windows_that_are_kept(tmp_path: Path, shelf: ModelShelf) -> None:
    worker = worker_in(tmp_path / "a", shelf)
    plan = plan_in(worker)
    failed = failed_after_one_window(worker, plan)
    kept = worker.settings.renders / str(failed.id) / "window-001.mp4"
    written = kept.stat().st_mtime_ns
    stamps: list[int] = []
    tell = worker.jobs.window_filmed

    def note(job: int, attempt: int, number: int) -> bool:
        stamps.append((worker.settings.renders / str(job) / "window-001.mp4").stat().st_mtime_ns)
        return tell(job, attempt, number)

    worker.jobs.window_filmed = note  # type: ignore[method-assign]
    job = filmed(worker, plan)
    assert stamps == [written, written], "the first window was not filmed again"
    assert windows_told(worker, job) == ["1", "2"]
    assert not kept.exists()
    undisturbed = worker_in(tmp_path / "b", shelf)
    assert video_of(worker, job) == video_of(undisturbed, filmed(undisturbed, plan_in(undisturbed)))


def test_another_plan_takes_up_nothing(tmp_path: Path, shelf: ModelShelf) -> None:
    worker = worker_in(tmp_path, shelf)
    plan = plan_in(worker)
    failed = failed_after_one_window(worker, plan)
    job = filmed(worker, plan.model_copy(update={"windows": (replace_seed(plan, 5), plan.windows[1])}))
    assert windows_told(worker, job) == ["1", "2"]
    assert (worker.settings.renders / str(failed.id) / "window-001.mp4").exists()


def replace_seed(plan: Plan, seed: int):
    return plan.windows[0].model_copy(update={"seed": seed})
