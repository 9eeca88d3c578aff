"""From a plan to a video at the place where it was asked for."""

import argparse
import shutil
import signal
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from pydantic import JsonValue

from bot.cli import display
from bot.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, answer, complain, say
from bot.crew import WorkerFailed
from bot.progress import clock
from bot.proposal import Proposal
from bot.studio import Studio
from bot.video import video_of
from storage.disk import whole
from storage.schema import Job, JobState, Take, UserError

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
    if trouble := studio.settings.disk.trouble:
        display.note(trouble)
    try:
        job = display.watch(studio.watch(job.id), studio.jobs.position, quiet=options.json)
    except KeyboardInterrupt:
        if studio.jobs.get(job.id).state is not JobState.DONE:
            studio.cancel(job.id)
            return complain(f"Job {job.id} is cancelled.", EXIT_INTERRUPTED)
        job = studio.jobs.get(job.id)
    except WorkerFailed as error:
        return complain(f"{error} Job {job.id} waits for a worker.", EXIT_FAILED)
    ended = f"Job {job.id} {job.state}" + (f": {job.error}" if job.error else ".")
    take = studio.takes.made_by(job.id)
    if take is None:
        return complain(ended, EXIT_FAILED)
    video = options.out or free_name(f"longtake-{take.id}")
    try:
        with whole(video) as copy:
            shutil.copyfile(video_of(studio.media, take), copy)
    except OSError as error:
        return complain(f"Take {take.id} is kept, but {video} cannot be written: {error.strerror}.", EXIT_FAILED)
    if options.json:
        answer(_facts(take, video, notes))
    else:
        say(_sentence(take, video))
    if take.missing_windows:
        return complain(f"{ended} Take {take.id} is what was finished.", EXIT_FAILED)
    return 0


def _facts(take: Take, video: Path, notes: Sequence[str]) -> dict[str, JsonValue]:
    """A take for a script."""
    return {
        "video": str(video),
        "take": take.id,
        "frames": take.film.frames,
        "missing_windows": take.missing_windows,
        "seconds_taken": round(take.film.render_seconds, 3),
        "seed": take.plan.seed,
        "trained": take.film.trained,
        "notes": [*notes],
    }


def _sentence(take: Take, video: Path) -> str:
    """A take for a person, with what they would wonder about."""
    film, windows = take.film, len(take.plan.windows)
    took = f"{clock(film.render_seconds)}, {film.render_seconds / windows:.1f} s a window"
    more = {
        f" Only {windows} of {windows + take.missing_windows} windows were filmed; continue it, or ask for it again.": (
            take.missing_windows
        ),
        " It did not fit the GPU's memory at once, so it was filmed with less at a time.": film.short_of_memory,
        " The model is untrained: expect shapeless colours.": not film.trained,
    }
    told = "".join(sentence for sentence, applies in more.items() if applies)
    return f"Take {take.id}: {video}, {film.seconds:.2f} s, filmed in {took}.{told}"


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
