"""From a plan to a video at the place where it was asked for."""

import argparse
import shutil
import signal
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from bot.cli import display
from bot.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, answer, complain, say
from bot.crew import WorkerFailed
from bot.progress import clock
from bot.proposal import Proposal
from bot.studio import Studio
from storage.disk import whole
from storage.schema import Job, JobState, UserError

Options = argparse.Namespace


def film(studio: Studio, proposal: Proposal, options: Options) -> int:
    """Queue a plan, watch it being filmed, and leave the video where it was asked for."""
    if options.out:
        require_free(options.out, [*getattr(options, "images", []), getattr(options, "video", None)])
    if not options.json:
        display.notes(proposal.notes)
    return deliver(studio, studio.submit(proposal), proposal.notes, options)


def deliver(studio: Studio, job: Job, notes: Sequence[str], options: Options) -> int:
    """Watch a job being filmed, and leave the video where it was asked for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        job = display.watch(studio.watch(job.id), studio.jobs.position, quiet=options.json)
    except KeyboardInterrupt:
        if studio.jobs.get(job.id).state is not JobState.DONE:
            studio.cancel(job.id)
            return complain(f"Job {job.id} is cancelled.", EXIT_INTERRUPTED)
        job = studio.jobs.get(job.id)
    except WorkerFailed as error:
        return complain(f"{error} Job {job.id} waits for a worker.", EXIT_FAILED)
    if job.state is not JobState.DONE or job.take is None:
        return complain(f"Job {job.id} {job.state}" + (f": {job.error}" if job.error else "."), EXIT_FAILED)
    take = studio.takes.get(job.take)
    video = options.out or free_name(f"longtake-{take.id}")
    try:
        with whole(video) as copy:
            shutil.copyfile(studio.media.path(take.film.video), copy)
    except OSError as error:
        return complain(f"Take {take.id} is kept, but {video} cannot be written: {error.strerror}.", EXIT_FAILED)
    if options.json:
        return answer(
            {
                "video": str(video),
                "take": take.id,
                "frames": take.film.frames,
                "seconds_taken": round(take.film.render_seconds, 3),
                "seed": take.plan.seed,
                "trained": take.film.trained,
                "notes": [*notes],
            }
        )
    untrained = "" if take.film.trained else " The model is untrained: expect shapeless colours."
    seconds, windows = take.film.render_seconds, len(take.plan.windows)
    took = f"{clock(seconds)}, {seconds / windows:.1f} s a window"
    return say(f"Take {take.id}: {video}, {take.film.seconds:.2f} s, filmed in {took}.{untrained}")


def require_free(out: Path, inputs: Sequence[Path | None]) -> None:
    """Refuse, before anything is filmed, a place at which no video may be put."""
    if out.exists() and not out.is_file():
        raise UserError(f"The video cannot be written to {out}: it is no file.")
    if any(path is not None and path.exists() and out.exists() and out.samefile(path) for path in inputs):
        raise UserError(f"The video would take the place of {out}, which it is made from.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe_file = out.with_name(f".{out.name}.partial")
        probe_file.touch()
        probe_file.unlink()
    except OSError as error:
        raise UserError(f"The video cannot be written to {out}: {error.strerror}.") from error


def free_name(stem: str) -> Path:
    """A file name that is not taken here."""
    names = chain([f"{stem}.mp4"], (f"{stem}-{number}.mp4" for number in count(2)))
    return next(Path(name) for name in names if not Path(name).exists())
