"""From a plan to a video at the place where it was asked for."""

import argparse
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from pydantic import JsonValue

from bot.answers import cancelled
from bot.cli import display
from bot.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, answer, complain, say
from bot.crew import WorkerFailed
from bot.progress import clock
from bot.proposal import Proposal
from bot.studio import Studio
from bot.video import video_of
from storage.disk import whole
from storage.schema import Job, Take, UserError

Options = argparse.Namespace


@dataclass(frozen=True)
class Delivery:
    """What became of a job: the video and its take, or what was complained of already."""

    code: int = 0
    take: Take | None = None
    video: Path = Path()


def film(studio: Studio, proposals: Sequence[Proposal], options: Options, made_from: Sequence[Path]) -> int:
    """Queue plans, which are made from such files, watch them being filmed, and leave each video where it was asked
    for."""
    outs = numbered(options.out, len(proposals))
    for place in filter(None, outs):
        require_free(place, made_from)
    told: list[tuple[str, ...]] = []
    for proposal in proposals:
        if not options.json and proposal.notes not in told:
            display.notes(proposal.notes)
        told.append(proposal.notes)
    jobs: list[Job] = []
    try:
        for proposal in proposals:
            jobs.append(studio.submit(proposal))
        if len(jobs) == 1:
            return deliver(studio, jobs[0], told[0], options)
        return deliver_all(studio, list(zip(jobs, outs, told, strict=True)), options)
    except KeyboardInterrupt:  # while no film was waited for
        call_off(studio, jobs)
        return EXIT_INTERRUPTED


def deliver_all(studio: Studio, asked: Sequence[tuple[Job, Path | None, tuple[str, ...]]], options: Options) -> int:
    """Watch jobs being filmed in turn, and leave each video at its place; an interruption cancels them all."""
    deliveries: list[Delivery] = []
    for job, out, _ in asked:
        deliveries.append(fetch(studio, job, out, quiet=options.json))
        if deliveries[-1].code == EXIT_INTERRUPTED:
            call_off(studio, [waiting for waiting, _, _ in asked[len(deliveries) :]])
            break
        if not options.json:
            report(deliveries[-1])
    if options.json:
        films: list[JsonValue] = [
            facts(delivery, notes) for delivery, (_, _, notes) in zip(deliveries, asked, strict=False) if delivery.take
        ]
        answer({"films": films})
    return max(delivery.code for delivery in deliveries)


def call_off(studio: Studio, jobs: Sequence[Job]) -> bool:
    """Cancel those of the jobs that have not ended, and say so. Whether there was one."""
    called_off = studio.jobs.cancel_all(job.id for job in jobs)
    if called_off:
        complain(cancelled(called_off), EXIT_INTERRUPTED)
    return bool(called_off)


def deliver(studio: Studio, job: Job, notes: Sequence[str], options: Options) -> int:
    """Watch a job being filmed, and leave the video where it was asked for."""
    delivery = fetch(studio, job, options.out, quiet=options.json)
    if delivery.take is None:
        return delivery.code
    if not options.json:
        return report(delivery)
    answer(facts(delivery, notes))
    return delivery.code


def fetch(studio: Studio, job: Job, out: Path | None, quiet: bool) -> Delivery:
    """Watch a job being filmed, and copy the video to `out`, or to a name that is free here."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    if trouble := studio.settings.disk.trouble:
        display.note(trouble)
    try:
        job = display.watch(studio.watch(job.id), studio.jobs.position, studio.settings.renders, quiet=quiet)
    except KeyboardInterrupt:
        if call_off(studio, [job]):
            return Delivery(EXIT_INTERRUPTED)
        job = studio.jobs.get(job.id)
    except WorkerFailed as error:
        return Delivery(complain(f"{error} Job {job.id} waits for a worker.", EXIT_FAILED))
    ended = f"Job {job.id} {job.state}" + (f": {job.error}" if job.error else ".")
    take = studio.takes.made_by(job.id)
    if take is None:
        return Delivery(complain(ended, EXIT_FAILED))
    video = out or free_name(f"longtake-{take.id}")
    try:
        with whole(video) as copy:
            shutil.copyfile(video_of(studio.media, take), copy)
    except OSError as error:
        return Delivery(
            complain(f"Take {take.id} is kept, but {video} cannot be written: {error.strerror}.", EXIT_FAILED)
        )
    if take.missing_windows:
        return Delivery(complain(f"{ended} Take {take.id} is what was finished.", EXIT_FAILED), take, video)
    return Delivery(0, take, video)


def facts(delivery: Delivery, notes: Sequence[str]) -> dict[str, JsonValue]:
    """A film for scripts."""
    take = delivery.take
    assert take is not None
    return {
        "video": str(delivery.video),
        "take": take.id,
        "frames": take.film.frames,
        "missing_windows": take.missing_windows,
        "seconds_taken": round(take.film.render_seconds, 3),
        "seed": take.plan.seed,
        "trained": take.film.trained,
        "notes": [*notes],
    }


def report(delivery: Delivery) -> int:
    """Say where a film lies, and what one would wonder about; what came to nothing has been complained of."""
    take = delivery.take
    if take is None:
        return delivery.code
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
    say(f"Take {take.id}: {delivery.video}, {film.seconds:.2f} s, filmed in {took}.{told}")
    return delivery.code


def numbered(out: Path | None, count: int) -> list[Path | None]:
    """A place for each of several films: film.mp4 becomes film-1.mp4, film-2.mp4 and so on."""
    if out is None or count == 1:
        return [out] * count
    return [out.with_stem(f"{out.stem}-{number}") for number in range(1, count + 1)]


def require_free(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse, before anything is filmed, a place at which no video may be put."""
    if out.exists() and not out.is_file():
        raise UserError(f"The video cannot be written to {out}: it is no file.")
    if any(path.exists() and out.exists() and out.samefile(path) for path in inputs):
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
