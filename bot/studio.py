"""The use cases: what every face (command line, Discord, web) may do, and the only place for limits."""

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Self

from bot.answers import Facts, answer
from bot.crew import Crew
from bot.intake import Intake
from bot.settings import BotSettings
from planner.agent import ModelReader, Reader, RuleReader
from planner.brief import Look, OnPlanning
from planner.director import Direction, Director, by_name
from planner.intent import Context, as_told
from planner.language.model import LanguageModel
from planner.moderation import Case, Moderator, moderator
from planner.presets import Preset, find_preset
from planner.rules import CREDIT
from planner.settings import PlannerSettings, language_model
from planner.wishes import Filming, grant
from planner.writer import ModelDirector
from storage.channels import Channels
from storage.colours import main_colours
from storage.database import Database
from storage.jobs import Jobs
from storage.media import Media
from storage.pictures import load_picture
from storage.schema import (
    Draft,
    Errand,
    Image,
    Intent,
    IntentKind,
    Job,
    JobState,
    Plan,
    Request,
    Seed,
    Size,
    Storyboard,
    Take,
    Timing,
    UserError,
    Wishes,
)
from storage.sizes import GRID, LONGEST_ASPECT
from storage.takes import Takes
from storage.timeline import WINDOW_SECONDS, film_seconds
from storage.workers import Workers

SHORTEST_SIDE, LONGEST_SIDE = 64, 1920  # pixels that a person may ask for
SEEDS = 10**9  # that we draw from: short enough to be typed
WATCH_SECONDS = 0.2
LOOK_PIXELS = 448  # of a picture's longer side, for a language model that sees


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
    timing: str | None = None  # None: as the film that is continued, or as text
    take: int | None = None  # the take that is answered; None is the channel's last one
    message: str | None = None


@dataclass(frozen=True)
class Proposal:
    """A plan that may be submitted, and what the person should know about it."""

    draft: Draft
    errand: Errand
    notes: tuple[str, ...]

    @property
    def plan(self) -> Plan:
        """What would be filmed."""
        return self.draft.plan


@dataclass(frozen=True)
class Reply:
    """What a message is answered with: sentences, and perhaps a draft to look at, or a job that films it."""

    lines: tuple[str, ...]
    draft: Proposal | None = None
    job: Job | None = None


def quietly(_: str) -> None:
    """For who does not want to know what the director is doing."""


class Studio:
    """One a process; may be used from several threads. Planning is asynchronous: a language model takes time."""

    def __init__(self, settings: BotSettings, planner: PlannerSettings | None = None) -> None:
        self.settings = settings
        self.preset = find_preset(settings.preset)
        planner = planner or PlannerSettings.model_construct()
        self.moderator: Moderator = moderator(planner.blocklist, planner.moderation)
        self.model: LanguageModel | None = language_model(planner)
        database = Database.open(settings.database)
        self.jobs = Jobs(database)
        self.takes = Takes(database)
        self.media = Media(settings.media)
        self.workers = Workers(database)
        self.channels = Channels(database)
        self._crew = Crew(self.workers, settings.data_dir)
        self._intake = Intake(settings, self.media)
        self._director = Director()
        self._reader: Reader = RuleReader()
        if self.model:
            self._director = Director(ModelDirector(self.model, planner.llm_seconds), self._look)
            self._reader = ModelReader(self.model)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.model:
            await self.model.close()

    # ---- a message ----

    async def talk(self, wish: Wish, on_planning: OnPlanning = quietly) -> Reply:
        """A message as a person writes it, in its context. What it wants filmed becomes the channel's draft, which the
        next messages change, until one of them says "film it"."""
        request, notes = await asyncio.to_thread(self._request, wish)
        context = self._context(wish)
        intent = await self._reader.understand(request, context)
        match intent.kind:
            case IntentKind.APPROVE:
                return self._film_draft(wish)
            case IntentKind.CANCEL:
                return Reply((self._cancel(wish, intent, context),))
            case IntentKind.SETTINGS if intent.wishes != Wishes():
                return Reply(self._remember(wish.channel, intent.wishes))
            case IntentKind.STATUS | IntentKind.SETTINGS | IntentKind.HELP:
                return Reply(answer(intent, self._facts(wish.channel)))
        proposal = await self._proposal(wish, request, intent, context, on_planning)
        if intent.kind is IntentKind.ANOTHER_TAKE and context.take:
            return Reply((*notes, *proposal.notes), job=self.submit(proposal))
        self.channels.keep_draft(wish.channel, proposal.draft)
        return Reply((*notes, *proposal.notes), proposal)

    # ---- from words to a plan ----

    async def film(self, wish: Wish, on_planning: OnPlanning = quietly) -> Proposal:
        """A film that starts from a picture."""
        return await self._told(wish, IntentKind.FILM, Context(), on_planning)

    async def proceed(self, wish: Wish, on_planning: OnPlanning = quietly) -> Proposal:
        """What comes after a video file, or after a take: the one that is answered, or the channel's last."""
        take = None if wish.video else self.take(wish)
        return await self._told(wish, IntentKind.CONTINUE, Context(replied=take), on_planning)

    async def again(self, wish: Wish) -> Proposal:
        """The plan of a take with new seeds."""
        first = self.take(wish)
        return await self._told(wish, IntentKind.ANOTHER_TAKE, Context(replied=first), quietly)

    async def sketch(self, wish: Wish, on_planning: OnPlanning = quietly) -> tuple[Storyboard, tuple[str, ...]]:
        """A storyboard to look at, and notes on it. Pictures may be missing."""
        request, notes = await asyncio.to_thread(self._request, wish)
        storyboard, more = await self._director.sketch(request, self._preset(wish), on_planning)
        self._require_length(film_seconds(len(storyboard.windows)))
        return storyboard, (*notes, *more)

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

    async def _told(self, wish: Wish, kind: IntentKind, context: Context, on_planning: OnPlanning) -> Proposal:
        """What a command says outright."""
        request, notes = await asyncio.to_thread(self._request, wish)
        proposal = await self._proposal(wish, request, as_told(kind, request, context), context, on_planning)
        return replace(proposal, notes=(*notes, *proposal.notes))

    async def _proposal(
        self, wish: Wish, request: Request, intent: Intent, context: Context, on_planning: OnPlanning
    ) -> Proposal:
        """The plan of an intent that is filmed, within the limits."""
        if intent.kind in (IntentKind.FILM, IntentKind.CONTINUE):
            intent = intent.model_copy(update={"wishes": intent.wishes.over(self.channels.wishes(wish.channel))})
        terms = Filming(self._preset(wish), seed=_new_seed())
        direction = await self._director.direct(intent, request, context, terms, on_planning)
        plan = direction.plan
        assert plan is not None, "an intent to film gives a plan"
        if wish.timing:
            plan = plan.model_copy(update={"timing": Timing(wish.timing)})
        self._require_length(plan.new_seconds)
        self.media.require(plan.media)
        words = " ".join(window.prompt for window in plan.windows)
        self.moderator.require(Case(words, wish.channel, wish.requester))
        draft = _draft(replace(direction, plan=plan), request, context)
        return Proposal(draft, self._errand(wish, draft), direction.notes)

    def _context(self, wish: Wish) -> Context:
        """What a message stands beside."""
        replied = self.takes.get(wish.take) if wish.take is not None else None
        return Context(replied, self.takes.last(wish.channel), self.channels.draft(wish.channel))

    def _film_draft(self, wish: Wish) -> Reply:
        draft = self.channels.take_draft(wish.channel)
        if draft is None:
            raise UserError("There is no draft to film any more.")
        self.media.require(draft.plan.media)
        job = self.submit(Proposal(draft, self._errand(wish, draft), ()))
        return Reply((f"Job {job.id} films it.",), job=job)

    def _cancel(self, wish: Wish, intent: Intent, context: Context) -> str:
        """Cancels a job: the one that is named, or the person's newest here. With none, the draft is thrown away."""
        jobs = self.jobs.queue(wish.channel)
        if intent.job is not None and intent.job not in {job.id for job in jobs}:
            raise UserError(f"There is no job {intent.job} to cancel in this channel.")
        own = [
            job.id
            for job in jobs
            if job.id == intent.job or (intent.job is None and job.errand.requester == wish.requester)
        ]
        if own:
            return f"Job {self.cancel(max(own)).id} is cancelled."
        if context.draft:
            self.channels.keep_draft(wish.channel, None)
            return "The draft is thrown away."
        return "There is nothing of yours to cancel here."

    def _remember(self, channel: str, wishes: Wishes) -> tuple[str, ...]:
        """Settings that no film was asked with: they hold for the channel's next films."""
        lasting = wishes.model_copy(update={"seed": None})
        self.channels.keep_wishes(channel, lasting.over(self.channels.wishes(channel)))
        granted = grant(wishes, self.preset, None, None).notes
        return (*granted, "The next films of this channel begin with that.")

    def _facts(self, channel: str) -> Facts:
        jobs = self.jobs.queue(channel)
        return Facts(
            settings=self.settings,
            preset=self.preset,
            planner=f"Planned by {self.model.name}." if self.model else CREDIT,
            wishes=self.channels.wishes(channel),
            jobs=tuple((job, self.jobs.position(job.id) if job.state is JobState.QUEUED else None) for job in jobs),
            waiting=len(self.jobs.queue()),
            takes=tuple(self.takes.history(channel, limit=20)),
        )

    def _look(self, image: Image) -> Look:
        """What a language model is told of a picture; the picture itself, small, for one that sees."""
        picture, known = load_picture(self.media.path(image.media)), by_name(image)
        picture.thumbnail((LOOK_PIXELS, LOOK_PIXELS))
        jpeg = BytesIO()
        if self.model and self.model.sees:
            picture.save(jpeg, "JPEG", quality=85)
        return replace(known, colours=main_colours(picture), jpeg=jpeg.getvalue())

    def _preset(self, wish: Wish) -> Preset:
        return find_preset(wish.preset) if wish.preset else self.preset

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
        names = [path.name for path in (*wish.images, *([wish.video] if wish.video else []))]
        said = " ".join([wish.text, *names])
        self.moderator.require(Case(said, wish.channel, wish.requester, tuple(wish.images)))
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

    def _errand(self, wish: Wish, draft: Draft) -> Errand:
        return Errand(
            channel=wish.channel,
            requester=wish.requester,
            parent=draft.parent,
            again_of=draft.again_of,
            message=wish.message,
        )


def _draft(direction: Direction, request: Request, context: Context) -> Draft:
    """A direction as what is discussed. It stands where its film will stand: behind its parent, or beside a take."""
    assert direction.plan is not None
    intent, take = direction.intent, context.take
    parent = again_of = None
    if intent.kind is IntentKind.FILM or request.clip:
        pass
    elif context.discussed:
        parent, again_of = context.discussed.parent, context.discussed.again_of
    elif take:
        parent = take.id if intent.kind is IntentKind.CONTINUE else take.errand.parent
        again_of = take.id if intent.kind is IntentKind.ANOTHER_TAKE else None
    told = request.model_copy(update={"images": direction.images})
    return Draft(request=told, plan=direction.plan, parent=parent, again_of=again_of)


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
