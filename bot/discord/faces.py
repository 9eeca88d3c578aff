"""What a card shows, as a value: computed from what is stored, and compared to know whether anything changed."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from bot.discord.keys import link_to, number_of
from bot.discord.trouble import stopped_text
from bot.line import Line, Place
from bot.studio import Studio
from storage.database import Unreadable
from storage.renders import preview_file, segment_file
from storage.schema import Card, Job, JobState, Plan, Progress, Stage
from storage.timeline import film_time, shown_seconds

DRAWN = (Stage.DENOISING, Stage.DECODING)  # while a window is under way, and pictures of it count


class Phase(StrEnum):
    """How far a request is."""

    PLANNING = "planning"
    DRAFT = "draft"  # the plan waits for a word
    QUEUED = "queued"
    RENDERING = "rendering"
    JOINING = "joining"
    UPLOADING = "uploading"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REPLACED = "replaced"  # by a newer card with the changed plan
    PAUSED = "paused"  # the bot is being restarted


@dataclass(frozen=True)
class WindowFace:
    """A window in a line: seconds of the film, what happens, and whether it is filmed."""

    number: int
    begins: float
    ends: float
    scene: str
    beats: tuple[tuple[float, str], ...]  # seconds of the film, action
    camera: str
    done: bool = False
    running: bool = False


@dataclass(frozen=True)
class Preview:
    """The picture on a card: the last frame of a finished window, or one under way as it looked when it was drawn."""

    window: int  # of the plan, from 1
    drawn: int | None = None  # when, in nanoseconds, for a window under way; None: it is finished


@dataclass(frozen=True)
class CardFace:
    """Everything that a card shows. Its moments are Unix times, rounded so that a face changes rarely."""

    card: int
    phase: Phase
    locale: str
    asker: int  # Discord's number
    words: str
    job: int | None = None
    title: str = ""
    windows: tuple[WindowFace, ...] = ()
    progress: Progress | None = None
    position: int | None = None
    ahead: int = 0
    starts: int | None = None
    ends: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()
    error: str = ""
    take: int | None = None
    link: str = ""  # of the take's message
    filmed: int = 0  # number of the newest finished window of the plan whose file is there; 0 is none
    preview: Preview | None = None
    elapsed: float | None = None
    begun: int | None = None
    parent: int | None = None  # the take that is continued
    again_of: int | None = None  # the take that is filmed again
    restricted: bool = False  # its pictures stay behind a spoiler


def face_of(studio: Studio, card: Card, notes: tuple[str, ...] = (), line: Line | None = None) -> CardFace:
    """The face of a card as things stand. Reads the database; call it in a thread."""
    base = CardFace(
        card=card.id,
        phase=Phase.PLANNING,
        locale=card.locale,
        asker=number_of(card.asker),
        words=card.words,
        notes=notes,
    )
    if card.job is not None:
        try:
            job = studio.jobs.get(card.job)
            place = None if job.state.final else (line or studio.line()).places.get(job.id)
            if place and (place.number is None) is not (job.state is JobState.RUNNING):
                place = studio.line().places.get(job.id)  # it was claimed or given back since
            face = _of_job(studio, card, base, job, place)
        except Unreadable as error:
            return replace(base, phase=Phase.FAILED, notes=(str(error),))
        return _ended(card, face)
    if card.outcome is not None:
        return _ended(card, base)
    if card.draft is not None:
        plan = card.draft.plan
        return replace(
            base,
            phase=Phase.DRAFT,
            title=plan.storyboard.title,
            windows=windows_of(plan),
            seed=plan.seed,
            parent=card.draft.parent,
            again_of=card.draft.again_of,
        )
    return replace(base, phase=Phase.REPLACED) if card.closed else base


def _ended(card: Card, face: CardFace) -> CardFace:
    """A face that says what became of its card, where that was noted: of a film that was lost, say."""
    if card.outcome is None:
        return face
    return replace(face, phase=Phase(card.outcome), notes=(card.reason,) if card.reason else face.notes)


def waits(face: CardFace, place: Place) -> bool:
    """Whether a face shows a film that waits, and it does."""
    return face.phase is Phase.QUEUED and place.number is not None


def waits_at(face: CardFace, place: Place) -> bool:
    """Whether the place that a face shows is this one, and its moments are off by a minute or a tenth of the wait at
    most: while nobody films, all of them move on."""
    position, ahead, starts, ends = _placed(place)
    near = _near(face.starts, starts, place.estimate.starts) and _near(face.ends, ends, place.estimate.ends)
    return (face.position, face.ahead) == (position, ahead) and near


def _near(shown: int | None, moment: int | None, wait: float | None) -> bool:
    if shown is None or moment is None or wait is None:
        return shown == moment
    return abs(shown - moment) <= max(60.0, wait / 10)


def _placed(place: Place | None) -> tuple[int | None, int, int | None, int | None]:
    """What a face shows of a place: its number, the films ahead, and when it starts and ends."""
    if place is None:
        return None, 0, None, None
    now, estimate = datetime.now(UTC).timestamp(), place.estimate
    starts = _moment(now, estimate.starts) if estimate.starts else None
    return place.number, place.ahead, starts, _moment(now, estimate.ends)


def _of_job(studio: Studio, card: Card, base: CardFace, job: Job, place: Place | None) -> CardFace:
    filmed = [int(event.text) for event in studio.jobs.events(job.id) if event.kind == "window"]
    position, ahead, starts, ends = _placed(place)
    left = studio.takes.made_by(job.id) if job.state.final else None
    newest = _newest(studio, job, filmed)
    return replace(
        base,
        phase=_phase(card, job),
        job=job.id,
        title=job.plan.storyboard.title,
        windows=windows_of(job.plan, max(filmed, default=0), job.progress),
        progress=job.progress,
        position=position,
        ahead=ahead,
        starts=starts,
        ends=ends,
        seed=job.plan.seed,
        error=stopped_text(job, max(filmed, default=0), card.locale),
        take=left.id if left else None,
        link=_link(card),
        filmed=newest,
        preview=_under_way(studio, job, newest) or (Preview(newest) if newest else None),
        elapsed=left.film.render_seconds if left else None,
        begun=round(job.started.timestamp()) if job.started and job.state is JobState.RUNNING else None,
        parent=job.errand.parent,
        again_of=job.errand.again_of,
        restricted=job.errand.restricted,
    )


def _newest(studio: Studio, job: Job, filmed: list[int]) -> int:
    """The newest finished window that can be looked at: a render's files are there while it lasts."""
    renders = studio.settings.renders
    there = [window for window in filmed if segment_file(renders, job.id, window).is_file()]
    return max(there, default=0)


def _under_way(studio: Studio, job: Job, filmed: int) -> Preview | None:
    """The picture of the newest window under way of which its worker has drawn one: of the one that is denoised, or of
    the one before while that is developed.

    NOTE: what lies in a job's folder is the job's from its first progress on; before, it may be that of a job that had
    its number in another database.
    """
    progress = job.progress
    if job.state is not JobState.RUNNING or progress is None or progress.stage not in DRAWN:
        return None
    for window in range(progress.window, filmed, -1):
        with suppress(FileNotFoundError):
            return Preview(window, preview_file(studio.settings.renders, job.id, window).stat().st_mtime_ns)
    return None


def _link(card: Card) -> str:
    """Where the take's message is; "" before there is one."""
    if card.take_message is None or not card.take_message.isdecimal():
        return ""
    return link_to(number_of(card.place) if card.place else None, card.channel, card.take_message)


def _phase(card: Card, job: Job) -> Phase:
    match job.state:
        case JobState.QUEUED:
            return Phase.QUEUED
        case JobState.RUNNING:
            joining = job.progress and job.progress.stage is Stage.JOINING
            return Phase.JOINING if joining else Phase.RENDERING
        case JobState.DONE:
            return Phase.DONE if card.take_message else Phase.UPLOADING
        case JobState.FAILED:
            return Phase.FAILED
        case _:
            return Phase.CANCELLED


def windows_of(plan: Plan, filmed: int = 0, progress: Progress | None = None) -> tuple[WindowFace, ...]:
    """The windows of a plan in seconds of the whole film. `filmed` is the newest finished one, and `progress` names the
    one that is denoised, both counted from 1; what lies between them is being developed."""
    under_way = progress.window if progress and progress.stage is not Stage.RESTORING else 0
    faces = []
    for index, window in enumerate(plan.storyboard.windows, start=1):
        number = plan.source.head_windows + index
        begins, ends = shown_seconds(number, plan.discard_frames)
        faces.append(
            WindowFace(
                number=number,
                begins=begins,
                ends=ends,
                scene=window.scene,
                beats=tuple(
                    (film_time(number, beat.seconds, plan.discard_frames), beat.action) for beat in window.beats
                ),
                camera=window.camera,
                done=index <= filmed,
                running=filmed < index <= under_way,
            )
        )
    return tuple(faces)


def _moment(now: float, seconds: float | None) -> int | None:
    """A Unix time some seconds ahead, to ten seconds: it is shown by the minute."""
    return None if seconds is None else round((now + seconds) / 10) * 10
