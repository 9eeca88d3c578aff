"""The use cases: what every face (command line, Discord, web) may do, and the only place for limits.

What people say in a conversation is bot/conversation.py's, which stands on these.
"""

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Self

from bot.crew import Crew
from bot.guided import guided
from bot.intake import Intake, Photo
from bot.line import Line, Lines
from bot.proposal import Proposal, draft_of
from bot.quota import Quota
from bot.settings import BotSettings
from bot.wish import Wish, checked_guide, checked_keep_frames, checked_seed, checked_size, require_place
from planner.agent import ModelReader, Reader, RuleReader
from planner.brief import Look, OnPlanning
from planner.compiler import compile_prompt, triggers_of
from planner.director import Director, by_name
from planner.intent import Context, as_told
from planner.language.model import LanguageModel, ModelFailed
from planner.loras import asked_lora, take_loras
from planner.moderation import Case, Moderator, moderator
from planner.parameters import read_tuning
from planner.presets import Preset, find_preset
from planner.prompting import system_message
from planner.settings import PlannerSettings, language_model
from planner.wishes import Filming
from planner.writer import ModelDirector
from storage.cards import Cards, Manners, Seen
from storage.channels import Channels
from storage.colours import main_colours
from storage.database import Database
from storage.eviction import Eviction
from storage.figures import Figures, read_figures
from storage.forget import Forget, Spent
from storage.jobs import Jobs
from storage.loras import LoraLibrary
from storage.media import Media
from storage.pictures import load_picture
from storage.requests import Requests
from storage.schema import (
    Draft,
    Errand,
    Image,
    Intent,
    IntentKind,
    Job,
    Plan,
    Request,
    Seed,
    Storyboard,
    Take,
    Timing,
    UserError,
)
from storage.takes import Takes
from storage.timeline import WINDOW_SECONDS, film_seconds
from storage.workers import Workers

SEEDS = 10**9  # that we draw from: short enough to be typed
WATCH_SECONDS = 0.2
STRAY_SECONDS = 3600.0  # after which a picture that nothing names was sent in vain
READERS = 2  # of files, at once
LOOK_PIXELS = 448  # of a picture's longer side, for a language model that sees


def quietly(_: str) -> None:
    """For who does not want to know what the director is doing."""


class Studio:
    """One a process; may be used from several threads. Planning is asynchronous: a language model takes time."""

    def __init__(self, settings: BotSettings, planner: PlannerSettings | None = None) -> None:
        self.settings = settings
        self.preset = find_preset(settings.preset)
        planner = planner or PlannerSettings.model_construct()
        self.moderator: Moderator = moderator(planner.blocklist, planner.moderation, planner.restricted_words)
        self.model: LanguageModel | None = language_model(planner)
        self.database = database = Database.open(settings.database)
        self.jobs = Jobs(database)
        self.takes = Takes(database)
        self.media = Media(settings.media)
        self.workers = Workers(database)
        self.channels = Channels(database)
        self.cards = Cards(database)
        self.seen = Seen(database)
        self.manners = Manners(database)
        self.requests = Requests(database)
        self.lines = Lines(self.jobs, self.takes)
        self.quota = Quota(self.jobs, self.takes, self.cards, Spent(database), self.requests, self.lines)
        self.forget = Forget(database, self.media, settings.renders, settings.data_dir / "copies")
        self.eviction = Eviction(database, self.media, settings.media_gb)
        self.library = LoraLibrary(settings.lora_dir)
        self._crew = Crew(self.workers, settings.data_dir)
        self._intake = Intake(settings, self.media)
        self._readers = ThreadPoolExecutor(READERS, "reader")
        self._director = Director(library=self.library)
        self.reader: Reader = RuleReader()
        if self.model:
            self._director = Director(ModelDirector(self.model, planner.llm_seconds), self._look, self.library)
            self.reader = ModelReader(self.model)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.model:
            await self.model.close()

    async def prepare(self) -> None:
        """Let a language model read its guide before anybody waits for it. If it cannot, the first question says so."""
        if self.model:
            with contextlib.suppress(ModelFailed):
                await self.model.ready(system_message())

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

    async def sketch(
        self, wish: Wish, on_planning: OnPlanning = quietly
    ) -> tuple[Storyboard, tuple[str, ...], tuple[str, ...]]:
        """A storyboard to look at, its prompts, and notes on it. Pictures may be missing."""
        request, notes = await self.received(wish)
        storyboard, more = await self._director.sketch(request, self._preset(wish), on_planning)
        self._require_length(film_seconds(len(storyboard.windows)))
        triggers = triggers_of(request.loras or ())
        prompts = tuple(compile_prompt(window, triggers) for window in storyboard.windows)
        return storyboard, prompts, (*notes, *more)

    # ---- from a plan to a take ----

    def submit(self, proposal: Proposal, card: int | None = None) -> Job:
        """Queue a plan; with `card`, that card follows it from the same moment on."""
        return self.jobs.enqueue(proposal.plan, proposal.errand, card)

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

    def line(self) -> Line:
        """Who is filmed and who waits, as things stand."""
        return self.lines.now()

    def figures(self) -> Figures:
        """How the studio does."""
        return read_figures(self.database)

    def ensure_worker(self) -> None:
        """Start a worker unless one lives; WorkerFailed if none stays alive."""
        self._crew.ensure()

    def cancel(self, job: int, by: str = "") -> Job:
        """Cancel a job that is queued or running; `by` names the message that said so."""
        return self.jobs.cancel(job, by)

    def keep(self, take: Take, person: str) -> bool:
        """Keep a take's video for a person, whatever room it needs; False if they keep as many as they may."""
        return self.takes.pin(take.id, person, self.settings.max_pins)

    def tidy(self) -> None:
        """Forget what is older than the owner wants it kept, pictures that no request names, and videos over budget."""
        if self.settings.retention_days:
            self.forget.older_than(self.settings.retention_days * 86400.0)
        self.forget.strays(STRAY_SECONDS)
        self.requests.forget()
        self.eviction.evict()

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
        request, notes = await self.received(wish)
        proposal = await self.propose(wish, request, as_told(kind, request, context), context, on_planning)
        return replace(proposal, notes=(*notes, *proposal.notes))

    async def propose(
        self, wish: Wish, request: Request, intent: Intent, context: Context, on_planning: OnPlanning
    ) -> Proposal:
        """The plan of an intent that is filmed, within the limits."""
        if intent.kind in (IntentKind.FILM, IntentKind.CONTINUE):
            intent = intent.model_copy(update={"wishes": intent.wishes.over(self.channels.wishes(wish.channel))})
        terms = Filming(self._preset(wish), seed=new_seed())
        direction = await self._director.direct(intent, request, context, terms, on_planning)
        plan = direction.plan
        assert plan is not None, "an intent to film gives a plan"
        if wish.timing:
            plan = plan.model_copy(update={"timing": Timing(wish.timing)})
        led = await asyncio.get_running_loop().run_in_executor(self._readers, guided, plan, self.media)
        plan = led.plan
        self._require_length(plan.new_seconds)
        if wish.policy:
            self.quota.require(wish, wish.policy, plan.new_seconds)
        again = self.require_files(plan)
        draft = self.judged(wish, draft_of(replace(direction, plan=plan), request, context))
        return Proposal(draft, self.errand(wish, draft), (*again, *led.notes, *direction.notes))

    def require_files(self, plan: Plan) -> tuple[str, ...]:
        """UserError when a file that a plan needs is gone for good; a note when one is filmed again first."""
        gone = {media: self.takes.by_video(media) for media in plan.media if not self.media.has(media)}
        self.media.require(media for media, take in gone.items() if take is None)
        told = "The video of take {} was removed to save room, so it is filmed again first."
        return tuple(told.format(take.id) for take in gone.values() if take)

    def judged(self, wish: Wish, draft: Draft) -> Draft:
        """A draft that may be filmed where the wish was made, marked if it belongs into age-restricted channels."""
        words = " ".join(window.prompt for window in draft.plan.windows)
        restricted = self.moderator.require(self._case(wish, words)) or draft.request.restricted
        require_place(wish, restricted)
        return draft.model_copy(update={"request": draft.request.model_copy(update={"restricted": restricted})})

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

    async def received(self, wish: Wish) -> tuple[Request, tuple[str, ...]]:
        """The same as `request`. Files are read by few threads, so that nobody else's work waits behind slow ones."""
        threads = self._readers if wish.images or wish.video else None
        return await asyncio.get_running_loop().run_in_executor(threads, self.request, wish)

    def request(self, wish: Wish) -> tuple[Request, tuple[str, ...]]:
        """A wish whose numbers are checked and whose files are in the media store. Files come last: they are kept."""
        self._require_limits(wish)
        tuning = read_tuning(wish.settings)
        checked_guide(wish)
        photos = [self._intake.look(path) for path in (*wish.images, *wish.anchors)]
        restricted = self._judged_as_said(wish, photos)
        require_place(wish, restricted)
        size, notes = checked_size(wish.size)
        loras, text = take_loras(wish.text, self.library)
        if wish.loras:  # an option comes before words
            loras = tuple(dict.fromkeys(lora for asked in wish.loras for lora in asked_lora(asked, self.library)))
        request = Request(
            text=text,
            channel=wish.channel,
            requester=wish.requester,
            seconds=wish.seconds,
            size=size,
            seed=None if wish.seed is None else checked_seed(wish.seed),
            keep_frames=checked_keep_frames(wish),
            images=(
                *([self._intake.black(size or self._preset(wish).budget)] if wish.black else []),
                *map(self._intake.keep, photos),
            ),
            anchors=len(wish.anchors),
            clip=self._intake.clip(wish.video, wish.keep_frames) if wish.video else None,
            guide=self._intake.guide(wish.guide, wish.guide_mask) if wish.guide else None,
            tuning=tuning,
            replies_to=wish.take,
            restricted=restricted,
            loras=loras,
        )
        return request, (*notes, *(note for photo in photos for note in photo.notes))

    def _require_limits(self, wish: Wish) -> None:
        """UserError when a wish is larger than the owner allows."""
        limits = self.settings
        if len(wish.text) > limits.max_story:
            raise UserError(f"The story has {len(wish.text)} characters: {limits.max_story} at most, please.")
        if wish.seconds is not None and not 0 < wish.seconds <= limits.max_seconds:
            raise UserError(
                f"A film of {wish.seconds:g} seconds cannot be made: more than 0 and at most {limits.max_seconds:g}."
            )
        pictures = len(wish.images) + len(wish.anchors)
        if pictures > limits.max_pictures:
            raise UserError(f"{pictures} pictures are too many: {limits.max_pictures} at most, please.")

    def _judged_as_said(self, wish: Wish, photos: Sequence[Photo]) -> bool:
        """Whether what a person said and showed belongs into age-restricted channels. The judge gets the pictures as
        they would be kept, in files that are gone afterwards."""
        said = " ".join([wish.text, *(path.name for path in (*wish.images, *([wish.video] if wish.video else [])))])
        with tempfile.TemporaryDirectory(prefix="longtake-") as folder:
            files = [Path(folder, f"{number}.png") for number, _ in enumerate(photos, start=1)]
            for file, photo in zip(files, photos, strict=True):
                file.write_bytes(photo.png)
            return self.moderator.require(self._case(wish, said, files))

    def _case(self, wish: Wish, words: str, pictures: Sequence[Path] = ()) -> Case:
        return Case(words, wish.channel, wish.requester, tuple(pictures), wish.age_restricted)

    def _require_length(self, seconds: float) -> None:
        """What a story asks for by itself is limited like what an option asks for, but for the rounding to windows."""
        longest = self.settings.max_seconds
        if seconds > longest + WINDOW_SECONDS:
            raise UserError(f"The story needs {seconds:.0f} seconds of film: {longest:g} at most, please.")

    def errand(self, wish: Wish, draft: Draft) -> Errand:
        """Who wants a draft filmed, where, and what it descends from."""
        return Errand(
            channel=wish.channel,
            requester=wish.requester,
            parent=draft.parent,
            again_of=draft.again_of,
            message=wish.message,
            restricted=draft.request.restricted,
        )


def new_seed() -> Seed:
    """A seed that nobody asked for."""
    return secrets.randbelow(SEEDS)
