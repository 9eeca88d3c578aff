"""The main path of the planner: request -> intent -> brief -> storyboard -> plan.

The storyboarder is the one seam: rules here, a language model where there is one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.anchors import one_a_window
from planner.brief import Brief, Look, OnPlanning, Storyboarder
from planner.compiler import Facts, compile_plan, reseed, retune, rewrite, styled, triggers_of
from planner.intent import Context, as_told
from planner.loras import offers_of
from planner.notes import length_note, notes_on
from planner.pacing import count_windows
from planner.presets import Preset
from planner.rules import RuleDirector
from planner.story import read_story
from planner.tuning import tune, tuned
from planner.wishes import Filming, grant, mannered
from storage.loras import LoraLibrary
from storage.schema import (
    Clip,
    ContinueTake,
    Draft,
    Image,
    Intent,
    IntentKind,
    Plan,
    Request,
    Seed,
    StartImage,
    Storyboard,
    Take,
    UserError,
    Wishes,
)
from storage.sizes import fit_area
from storage.timeline import FPS, continuation_windows_for, windows_for

RULES = RuleDirector()
FILMED = (IntentKind.FILM, IntentKind.CONTINUE, IntentKind.ANOTHER_TAKE, IntentKind.REVISE)
LookAt = Callable[[Image], Look]
NO_STORY = "Say what should happen in the film: one sentence is enough."


def by_name(image: Image) -> Look:
    """What a picture's record says of it."""
    return Look(image.name, image.width, image.height)


@dataclass(frozen=True)
class Direction:
    """What the director made of a request. Storyboard and plan are None where there is nothing to film."""

    intent: Intent
    storyboard: Storyboard | None = None
    plan: Plan | None = None
    notes: tuple[str, ...] = ()  # sentences for the person
    images: tuple[Image, ...] = ()  # that the storyboard numbers


@dataclass(frozen=True)
class Director:
    """Plans films: by rules, unless another storyboarder is given. `look` tells what is known of a picture, and the
    storyboarder may choose a LoRA of the library where nobody named one."""

    storyboarder: Storyboarder = RULES
    look: LookAt = by_name
    library: LoraLibrary | None = None

    async def direct(
        self,
        intent: Intent,
        request: Request,
        context: Context,
        terms: Filming,
        on_planning: OnPlanning = lambda _: None,
    ) -> Direction:
        """An intent as a plan, if it is one that is filmed.

        `terms` are the studio's: its preset, and a fresh seed. A seed of the request comes first. A continuation and a
        revision keep the seed of their film: no window repeats another's noise, and only the words change.
        """
        if intent.kind not in FILMED:
            return Direction(intent)
        former = _former(intent, request, context)
        revised = former.plan if former and intent.kind is IntentKind.REVISE else None
        asked_of = replace(terms.preset, budget=revised.size) if revised else terms.preset
        granted = grant(intent.wishes, asked_of, request.size, request.seed, request.tuning)
        if intent.kind is IntentKind.ANOTHER_TAKE and former:
            return _another(intent, former, granted, terms.seed)
        if intent.kind is IntentKind.REVISE and former:
            another_way = intent.wishes.pace is not None or granted.preset.name != terms.preset.name
            return await self._revise(intent, request, former, granted, on_planning, another_way=another_way)
        if isinstance(former, Draft):
            return await self._lengthen(intent, request, former, granted, on_planning)
        return await self._film(intent, request, former, granted, terms.seed, on_planning)

    async def sketch(
        self, request: Request, preset: Preset, on_planning: OnPlanning = lambda _: None
    ) -> tuple[Storyboard, tuple[str, ...]]:
        """The storyboard of a new film, whose pictures may be missing, and notes on it."""
        intent = as_told(IntentKind.FILM, request, Context())
        brief = write_brief(intent, request, None, self._looks(request.numbered))
        told = await self.storyboarder.storyboard(brief, on_planning)
        granted = grant(intent.wishes, preset, request.size, request.seed, request.tuning)
        tuned(granted.preset.sampling, granted.tuning, granted.preset.model)  # says what could not be filmed
        return mannered(told.storyboard, intent.wishes), (*granted.notes, told.credit)

    async def _film(
        self,
        intent: Intent,
        request: Request,
        take: Take | None,
        granted: Filming,
        fresh: Seed | None,
        on_planning: OnPlanning,
    ) -> Direction:
        """A new film, or new windows behind a take or a video."""
        seed = next(s for s in (granted.seed, take.plan.seed if take else None, fresh, 0) if s is not None)
        brief = write_brief(intent, request, take, self._looks(request.numbered))
        loras = take.plan.chosen_loras if take and request.loras is None else request.loras
        offers = offers_of(self.library) if self.library and loras is None else ()
        brief = replace(brief, preset=granted.preset.name, triggers=triggers_of(loras or ()), offers=offers)
        told = await self.storyboarder.storyboard(brief, on_planning)
        if self.library and told.lora:
            loras = await asyncio.to_thread(self.library.choose, told.lora)
        storyboard = mannered(_anchored(told.storyboard, request, take), intent.wishes)
        if len(storyboard.windows) != brief.windows:
            raise ValueError(
                f"the storyboard has {len(storyboard.windows)} windows, the brief asks for {brief.windows}"
            )
        facts = Facts(
            granted.preset, seed, request.images, take, request.clip, request.keep_frames, granted.size, intent.avoid,
            guide=request.guide, loras=loras, discard_frames=granted.tuning.discard_frames,
        )  # fmt: skip
        plan = tune(compile_plan(storyboard, facts), granted.tuning)
        notes = (*notes_on(plan, brief, intent, request, granted.preset), *granted.notes, told.credit)
        return Direction(intent, storyboard, plan, notes, request.images)

    async def _revise(
        self,
        intent: Intent,
        request: Request,
        former: Take | Draft,
        granted: Filming,
        on_planning: OnPlanning,
        *,
        another_way: bool,
    ) -> Direction:
        """The former plan with what the person wants changed: words, length, settings. Its sampler and LoRAs stay where
        nobody asked for `another_way` to film."""
        if request.images:
            raise UserError("A revision keeps the pictures of its film: start a new film to use others.")
        plan, images = former.plan, former.request.images if isinstance(former, Draft) else ()
        windows = len(plan.windows)
        if intent.seconds:
            starts = isinstance(plan.source, StartImage)
            windows = (windows_for if starts else continuation_windows_for)(intent.seconds, plan.discard_frames)
        brief = Brief(
            intent.story, windows, plan.first_window, pictures=len(images), former=plan.storyboard,
            looks=self._looks(images), discard_frames=plan.discard_frames,
        )  # fmt: skip
        storyboard, credit = plan.storyboard, "Only settings were changed."
        if intent.story or windows != len(plan.windows):
            told = await self.storyboarder.storyboard(brief, on_planning)
            storyboard, credit = told.storyboard, told.credit
        if request.loras is not None:
            plan = styled(plan, request.loras)
        revised = rewrite(plan, mannered(storyboard, intent.wishes), images)
        if intent.wishes.untuned != Wishes():
            larger = intent.wishes.lines and fit_area(plan.size.width, plan.size.height, granted.preset.budget)
            revised = retune(revised, granted.preset if another_way else None, granted.size or larger or None)
        asked = granted.tuning.over(former.request.tuning) if isinstance(former, Draft) else granted.tuning
        revised = tune(revised, asked)
        if granted.seed is not None:
            revised = reseed(revised, granted.seed)
        notes = (*notes_on(revised, brief, intent, request, granted.preset), *granted.notes, credit)
        return Direction(intent, revised.storyboard, revised, notes, images)

    async def _lengthen(
        self, intent: Intent, request: Request, draft: Draft, granted: Filming, on_planning: OnPlanning
    ) -> Direction:
        """The draft with windows behind it, which nobody has filmed yet either."""
        plan, before = draft.plan, len(draft.request.images)
        brief = _further(intent, request, plan, _head_seconds(draft) + plan.new_seconds, self._looks(request.numbered))
        told = await self.storyboarder.storyboard(brief, on_planning)
        new = [
            window.model_copy(update={"anchor": window.anchor + before}) if window.anchor else window
            for window in mannered(one_a_window(told.storyboard, request.anchor_numbers), intent.wishes).windows
        ]
        images = (*draft.request.images, *request.images)
        whole = plan.storyboard.model_copy(update={"windows": (*plan.storyboard.windows, *new)})
        longer = rewrite(plan if request.loras is None else styled(plan, request.loras), whole, images)
        longer = tune(longer, granted.tuning)
        return Direction(intent, whole, longer, (length_note(longer), *granted.notes, told.credit), images)

    def _looks(self, images: tuple[Image, ...]) -> tuple[Look, ...]:
        return tuple(self.look(image) for image in images)


def write_brief(intent: Intent, request: Request, take: Take | None, looks: tuple[Look, ...] = ()) -> Brief:
    """The facts that a storyboard must fit: how many windows, after what, with how many pictures. What comes after a
    take discards as many frames as its film does."""
    if intent.kind is IntentKind.FILM and not intent.story:
        raise UserError(NO_STORY)
    if take:
        return _further(intent, request, take.plan, take.film.seconds, looks)
    head_seconds, pictures = _kept_seconds(request.clip, request.keep_frames), len(request.numbered)
    discarded = request.tuning.discard_frames or 0
    windows = count_windows(read_story(intent.story, pictures), intent.seconds, head_seconds, pictures, discarded)
    return Brief(
        intent.story, windows, head_seconds=head_seconds, pictures=pictures, looks=looks, discard_frames=discarded
    )


def _further(intent: Intent, request: Request, plan: Plan, head_seconds: float, looks: tuple[Look, ...]) -> Brief:
    """What comes behind a plan whose film is `head_seconds` long: it begins in the state in which that ends."""
    pictures, ended = len(request.numbered), plan.storyboard.windows
    story, discarded = read_story(intent.story, pictures), plan.discard_frames
    windows = count_windows(story, intent.seconds, head_seconds, pictures, discarded)
    state = next((window.beats[-1].action for window in reversed(ended) if window.beats), "")
    first = plan.first_window + len(plan.windows)
    return Brief(
        intent.story, windows, first, head_seconds, pictures, ended[-1].scene, state, looks=looks,
        discard_frames=discarded,
    )  # fmt: skip


def _anchored(storyboard: Storyboard, request: Request, take: Take | None) -> Storyboard:
    """With the anchors that were given for one window after the other. A picture that starts the film keeps the first
    window: Wan2GP lets the first anchor take its place, which surprises people."""
    starts = take is None and request.clip is None and bool(request.numbered)
    return one_a_window(storyboard, request.anchor_numbers, first=1 if starts else 0)


def _another(intent: Intent, former: Take | Draft, granted: Filming, fresh: Seed | None) -> Direction:
    """The same plan with other noise, and the numbers that were set by name."""
    seed = next(s for s in (granted.seed, fresh, 0) if s is not None)
    plan = tune(reseed(former.plan, seed), granted.tuning)
    images = former.request.images if isinstance(former, Draft) else ()
    notes = (length_note(plan), "The same plan with other seeds.", *granted.notes)
    return Direction(intent, plan.storyboard, plan, notes, images)


def _former(intent: Intent, request: Request, context: Context) -> Take | Draft | None:
    """What is continued, filmed again or revised. A new film and a continued clip have nothing."""
    if intent.kind is IntentKind.FILM or request.clip:
        return None
    if request.replies_to is not None and context.replied is None:
        raise UserError("The film that your message answers is not there any more.")
    if context.subject is None:
        raise UserError("There is no film in this channel yet: send a picture and say what should happen.")
    return context.subject


def _head_seconds(draft: Draft) -> float:
    """Seconds of what a draft continues."""
    if isinstance(draft.plan.source, ContinueTake):
        return draft.plan.source.head_frames / FPS
    return _kept_seconds(draft.request.clip, draft.request.keep_frames)


def _kept_seconds(clip: Clip | None, keep_frames: int | None) -> float:
    """Seconds of a clip that are kept; 0 without a clip."""
    if clip is None:
        return 0.0
    whole = clip.seconds
    kept = whole if keep_frames is None else keep_frames / FPS if keep_frames > 0 else whole + keep_frames / FPS
    if keep_frames == 0 or kept <= 0:
        raise UserError(
            f"Nothing of {clip.name} is left to continue: {keep_frames} frames of its {whole:.1f} s are to be kept."
        )
    return min(kept, whole)
