"""The use cases: what every face (command line, Discord, web) may do, and the only place for limits."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.crew import Crew
from bot.intake import Intake
from bot.settings import BotSettings
from planner.compiler import reseed
from planner.director import direct, sketch
from planner.intent import Context
from planner.presets import find_preset
from storage.database import Database
from storage.jobs import Jobs
from storage.media import Media
from storage.schema import Errand, IntentKind, Job, Plan, Request, Seed, Size, Storyboard, Take, UserError
from storage.sizes import GRID, LONGEST_ASPECT
from storage.takes import Takes
from storage.timeline import WINDOW_SECONDS, film_seconds
from storage.workers import Workers

SHORTEST_SIDE, LONGEST_SIDE = 64, 1920  # pixels that a person may ask for
SEEDS = 10**9  # that we draw from: short enough to be typed
WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Wish:
    """What a face hands over: words, files that are still outside, and numbers that nobody has checked."""

    text: str
    channel: str
    requester: str
    images: Sequence[Path] = ()
    video: Path | None = None
    keep_frames: int | None = None
    seconds: float | None = None
    size: tuple[int, int] | None = None
    seed: int | None = None
    preset: str | None = None  # a way to film; None is the studio's own
    take: int | None = None  # the take that is answered; None is the channel's last one
    message: str | None = None


@dataclass(frozen=True)
class Proposal:
    """A plan that may be submitted, and what the person should know about it."""

    plan: Plan
    errand: Errand
    notes: tuple[str, ...]


class Studio:
    """One a process; may be used from several threads."""

    def __init__(self, settings: BotSettings) -> None:
        self.settings = settings
        self.preset = find_preset(settings.preset)
        database = Database.open(settings.database)
        self.jobs = Jobs(database)
        self.takes = Takes(database)
        self.media = Media(settings.media)
        self.workers = Workers(database)
        self._crew = Crew(self.workers, settings.data_dir)
        self._intake = Intake(settings, self.media)

    # ---- from words to a plan ----

    def film(self, wish: Wish) -> Proposal:
        """A film that starts from a picture."""
        return self._proposal(wish, IntentKind.FILM, Context())

    def proceed(self, wish: Wish) -> Proposal:
        """What comes after a video file, or after a take: the one that is answered, or the channel's last."""
        take = None if wish.video else self.take(wish)
        return self._proposal(wish, IntentKind.CONTINUE, Context(replied=take), parent=take)

    def again(self, wish: Wish) -> Proposal:
        """The plan of a take with new seeds."""
        first = self.take(wish)
        plan = reseed(first.plan, _new_seed() if wish.seed is None else _checked_seed(wish.seed))
        self.media.require(plan.media)
        note = f"Another take of take {first.id}, with seed {plan.seed}."
        return Proposal(plan, self._errand(wish, parent=first.errand.parent, again_of=first.id), (note,))

    def sketch(self, wish: Wish) -> tuple[Storyboard, tuple[str, ...]]:
        """A storyboard to look at, and notes on it. Pictures may be missing."""
        request, notes = self._request(wish)
        storyboard, credit = sketch(request)
        self._require_length(film_seconds(len(storyboard.windows)))
        return storyboard, (*notes, credit)

    # ---- from a plan to a take ----

    def submit(self, proposal: Proposal) -> Job:
        """Queue a plan."""
        return self.jobs.enqueue(proposal.plan, proposal.errand)

    def watch(self, job: int) -> Iterator[Job]:
        """The job whenever something has changed, until it is done, failed or cancelled.

        While it waits and nobody works, a worker is started.
        """
        seen = None
        while seen is None or not seen.state.final:
            now = self.jobs.get(job)
            if now != seen:
                yield now
            seen = now
            if not now.state.final:
                self._crew.ensure()
                time.sleep(WATCH_SECONDS)

    def cancel(self, job: int) -> Job:
        """Cancel a job that is queued or running."""
        return self.jobs.cancel(job)

    def take(self, wish: Wish) -> Take:
        """The take that a wish means."""
        if wish.take is not None:
            return self.takes.get(wish.take)
        last = self.takes.last(wish.channel)
        if last is None:
            raise UserError(f"There is no take in {wish.channel} yet: film one first.")
        return last

    # ---- inside ----

    def _proposal(self, wish: Wish, kind: IntentKind, context: Context, parent: Take | None = None) -> Proposal:
        request, notes = self._request(wish)
        preset = find_preset(wish.preset) if wish.preset else self.preset
        direction = direct(request, context, preset, _new_seed(), kind=kind)
        assert direction.plan is not None, "to film and to continue give a plan"
        self._require_length(direction.plan.new_seconds)
        self.media.require(direction.plan.media)
        errand = self._errand(wish, parent=parent.id if parent else None)
        return Proposal(direction.plan, errand, (*notes, *direction.notes))

    def _request(self, wish: Wish) -> tuple[Request, tuple[str, ...]]:
        """A wish whose numbers are checked and whose files are in the media store. Files come last: they are kept."""
        limits = self.settings
        if len(wish.text) > limits.max_story:
            raise UserError(f"The story has {len(wish.text)} characters: {limits.max_story} at most, please.")
        if wish.seconds is not None and not 0 < wish.seconds <= limits.max_seconds:
            raise UserError(
                f"A film of {wish.seconds:g} seconds cannot be made: more than 0 and at most {limits.max_seconds:g}."
            )
        if len(wish.images) > limits.max_pictures:
            raise UserError(f"{len(wish.images)} pictures are too many: {limits.max_pictures} at most, please.")
        size, notes = _checked_size(wish.size)
        request = Request(
            text=wish.text,
            channel=wish.channel,
            requester=wish.requester,
            seconds=wish.seconds,
            size=size,
            seed=None if wish.seed is None else _checked_seed(wish.seed),
            keep_frames=_checked_keep_frames(wish),
            images=tuple(self._intake.picture(path) for path in wish.images),
            clip=self._intake.clip(wish.video, wish.keep_frames) if wish.video else None,
            replies_to=wish.take,
        )
        return request, notes

    def _require_length(self, seconds: float) -> None:
        """What a story asks for by itself is limited like what an option asks for, but for the rounding to windows."""
        longest = self.settings.max_seconds
        if seconds > longest + WINDOW_SECONDS:
            raise UserError(f"The story needs {seconds:.0f} seconds of film: {longest:g} at most, please.")

    def _errand(self, wish: Wish, parent: int | None = None, again_of: int | None = None) -> Errand:
        return Errand(
            channel=wish.channel, requester=wish.requester, parent=parent, again_of=again_of, message=wish.message
        )


def _new_seed() -> Seed:
    return secrets.randbelow(SEEDS)


def _checked_seed(seed: int) -> Seed:
    if not 0 <= seed < 2**63:
        raise UserError(f"A seed is a number from 0 to {2**63 - 1}, not {seed}.")
    return seed


def _checked_keep_frames(wish: Wish) -> int | None:
    if wish.keep_frames is not None and wish.video is None:
        raise UserError("Frames can be kept of a video file only: name one.")
    if wish.keep_frames == 0:
        raise UserError("To keep 0 frames leaves nothing to continue: leave it out to keep all.")
    return wish.keep_frames


def _checked_size(size: tuple[int, int] | None) -> tuple[Size | None, tuple[str, ...]]:
    """The nearest size that the network can film, and a note if that is another one."""
    if size is None:
        return None, ()
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in size):
        raise UserError(
            f"A size of {size[0]}x{size[1]} cannot be filmed: each side has {SHORTEST_SIDE} to {LONGEST_SIDE} pixels."
        )
    if max(size) > LONGEST_ASPECT * min(size):
        raise UserError(f"A size of {size[0]}x{size[1]} is too narrow to film: at most {LONGEST_ASPECT} : 1, please.")
    width, height = (round(side / GRID) * GRID for side in size)
    fits = Size(width=width, height=height)
    if (width, height) == size:
        return fits, ()
    return fits, (f"Size: {fits}, the nearest to {size[0]}x{size[1]} in multiples of {GRID}.",)
