"""The main path of the planner: request -> intent -> brief -> storyboard -> plan.

The storyboarder is the one seam: rules here, a language model where there is one.
"""

from dataclasses import dataclass

from planner.brief import Brief, Storyboarder
from planner.compiler import Facts, compile_plan, reseed, rewrite
from planner.intent import Context, as_told, understand
from planner.notes import length_note, notes_on
from planner.pacing import count_windows
from planner.presets import Preset
from planner.rules import RuleDirector
from planner.story import read_story
from storage.schema import Clip, Intent, IntentKind, Plan, Request, Seed, StartImage, Storyboard, Take, UserError
from storage.timeline import FPS, continuation_windows_for, windows_for

RULES = RuleDirector()


@dataclass(frozen=True)
class Direction:
    """What the director made of a request. Storyboard and plan are None where there is nothing to film."""

    intent: Intent
    storyboard: Storyboard | None = None
    plan: Plan | None = None
    notes: tuple[str, ...] = ()  # sentences for the person


def direct(
    request: Request,
    context: Context,
    preset: Preset,
    seed: Seed,
    storyboarder: Storyboarder = RULES,
    kind: IntentKind | None = None,
) -> Direction:
    """A request as a plan, or as an intent that needs none. `kind` is what a command says outright.

    `seed` is a fresh one; a seed of the request comes first. A continuation and a revision keep the seed of their
    film: no window repeats another's noise, and only the words change.
    """
    intent = understand(request, context) if kind is None else as_told(kind, request, context)
    if intent.kind not in (IntentKind.FILM, IntentKind.CONTINUE, IntentKind.ANOTHER_TAKE, IntentKind.REVISE):
        return Direction(intent)
    take = _take_meant(intent, request, context)

    if intent.kind is IntentKind.ANOTHER_TAKE and take:
        plan = reseed(take.plan, seed if request.seed is None else request.seed)
        return Direction(intent, plan.storyboard, plan, (length_note(plan), "The same plan with other seeds."))

    seed = next(s for s in (request.seed, take.plan.seed if take else None, seed) if s is not None)
    brief = write_brief(intent, request, take)
    storyboard = storyboarder.storyboard(brief)
    if len(storyboard.windows) != brief.windows:
        raise ValueError(f"the storyboard has {len(storyboard.windows)} windows, the brief asks for {brief.windows}")
    if intent.kind is IntentKind.REVISE and take:
        plan = reseed(rewrite(take.plan, storyboard), seed)
    else:
        facts = Facts(preset, seed, request.images, take, request.clip, request.keep_frames, request.size)
        plan = compile_plan(storyboard, facts)
    return Direction(intent, storyboard, plan, (*notes_on(plan, brief, intent, request, preset), storyboarder.credit))


def sketch(request: Request, storyboarder: Storyboarder = RULES) -> tuple[Storyboard, str]:
    """The storyboard of a new film, whose pictures may be missing, and who planned it."""
    intent = as_told(IntentKind.FILM, request, Context())
    return storyboarder.storyboard(write_brief(intent, request, None)), storyboarder.credit


def write_brief(intent: Intent, request: Request, take: Take | None) -> Brief:
    """The facts that a storyboard must fit: how many windows, after what, with how many pictures."""
    if intent.kind is IntentKind.REVISE and take:
        return _revision(intent, request, take)
    if intent.kind is IntentKind.FILM and not intent.story:
        raise UserError("Say what should happen in the film: one sentence is enough.")
    head_seconds = take.film.seconds if take else _kept_seconds(request.clip, request.keep_frames)
    pictures = len(request.images)
    windows = count_windows(read_story(intent.story, pictures), intent.seconds, head_seconds, pictures)
    if take is None:
        return Brief(intent.story, windows, head_seconds=head_seconds, pictures=pictures)
    ended = take.plan.storyboard.windows
    state = next((window.beats[-1].action for window in reversed(ended) if window.beats), "")
    return Brief(intent.story, windows, take.windows + 1, head_seconds, pictures, ended[-1].scene, state)


def _revision(intent: Intent, request: Request, take: Take) -> Brief:
    if request.images:
        raise UserError("A revision keeps the pictures of its film: start a new film to use others.")
    former, windows = take.plan.storyboard, len(take.plan.windows)
    if intent.seconds:
        starts = isinstance(take.plan.source, StartImage)
        windows = windows_for(intent.seconds) if starts else continuation_windows_for(intent.seconds)
    return Brief(intent.story, windows, take.plan.first_window, former=former)


def _take_meant(intent: Intent, request: Request, context: Context) -> Take | None:
    """The take that is continued, filmed again or revised. A new film and a continued clip have none."""
    if intent.kind is IntentKind.FILM or request.clip:
        return None
    if request.replies_to is not None and context.replied is None:
        raise UserError("The film that your message answers is not there any more.")
    if context.take is None:
        raise UserError("There is no film in this channel yet: send a picture and say what should happen.")
    return context.take


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
