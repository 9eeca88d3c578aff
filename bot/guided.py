"""How far a plan follows its guide video, which runs beside the whole film, and what the person is told of that."""

from dataclasses import dataclass

from storage import sandbox
from storage.media import Media
from storage.schema import ContinueTake, Plan, StartImage, UserError
from storage.timeline import DROPPED_FRAMES, FPS, WINDOW_FRAMES, window_begin

GONE = "The guide video cannot be read any more, so this is filmed without it."


@dataclass(frozen=True)
class Guided:
    """A plan with its guide video, if that reaches it, and a sentence on how far it does, or none."""

    plan: Plan
    notes: tuple[str, ...] = ()


def guided(plan: Plan, media: Media) -> Guided:
    """A plan without a guide that ended before it or is lost; else as it is. Reads the guide video once."""
    if plan.guide is None or not plan.guide.leads:
        return Guided(plan)
    alone = plan.model_copy(update={"guide": None})
    try:
        frames = sandbox.probe(media.path(plan.guide.video))[0].frames
        media.require({plan.guide.mask} if plan.guide.mask else set())
    except (UserError, OSError):
        return Guided(alone, (GONE,))
    discarded, last = plan.discard_frames, plan.first_window + len(plan.windows) - 1
    begin = window_begin(plan.first_window, discarded)
    seconds, continues = frames / FPS, isinstance(plan.source, ContinueTake)
    if continues and frames <= begin + DROPPED_FRAMES:  # what overlaps is led to the end, and not shown
        told = f"The guide video has {seconds:.1f} s and ended before the new part, which is filmed without it."
        return Guided(plan if frames > begin else alone, (told,))
    if frames < window_begin(last, discarded) + WINDOW_FRAMES - discarded:
        part = "film" if isinstance(plan.source, StartImage) else "new part"
        told = f"The guide video has {seconds:.1f} s and ends within the {part}: the rest is filmed without it."
        return Guided(plan, (told,))
    return Guided(plan, ("The guide video goes on beside the new part.",) if continues else ())
