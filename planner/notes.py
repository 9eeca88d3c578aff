"""What the person should know about a plan: its length, and whatever came out other than it was asked for."""

from planner.brief import Brief
from planner.pacing import times_count_from_new_part
from planner.presets import Preset
from planner.story import read_story
from storage.schema import ContinueTake, Intent, Plan, Request, Sampling, StartImage
from storage.timeline import FPS

CROWDED_BEATS = 4  # more than this many in a window cannot be told apart
UNGUIDED = "This model was trained without a negative prompt: guidance and NAG change its films, not for the better."


def length_note(plan: Plan) -> str:
    """How long the film is, or by how much it grows."""
    count = len(plan.windows)
    if isinstance(plan.source, StartImage):
        return f"Length: {plan.new_seconds:.1f} s, {_counted(count, 'window')}."
    added = plan.new_seconds
    if isinstance(plan.source, ContinueTake):
        whole = plan.source.head_frames / FPS + added
        return f"Length: {added:.1f} s more, {whole:.1f} s in all, {_counted(count, 'new window')}."
    return f"Length: {added:.1f} s more, {_counted(count, 'new window')}."


def notes_on(plan: Plan, brief: Brief, intent: Intent, request: Request, preset: Preset) -> list[str]:
    """Sentences about a new plan, the length first."""
    notes = [length_note(plan)]
    clock = brief.clock
    if intent.seconds and not brief.former and clock.end - brief.head_seconds > intent.seconds + clock.stride:
        notes.append(f"Longer than the {intent.seconds:g} s asked for: a time or a picture of the story needs it.")
    if not brief.former and times_count_from_new_part(read_story(brief.story, brief.pictures), brief.head_seconds):
        notes.append("Times count from the start of the new part.")
    unused = [number for number, image in enumerate(request.images, start=1) if image.media not in plan.media]
    if unused:
        numbers = " and ".join(map(str, unused))
        notes.append(f"Picture{'s' if len(unused) > 1 else ''} {numbers} will not be used.")
    beats = max(len(window.beats) for window in plan.storyboard.windows)
    if beats > CROWDED_BEATS:
        notes.append(f"{beats} actions in one window of 5 s are a rush: ask for more seconds.")
    if plan.first_window > 1 and request.size and request.size != plan.size:
        notes.append(f"The size stays {plan.size}, as in the film that goes on.")
    if intent.avoid:
        notes.append(_avoided(intent.avoid, plan.sampling))
    if plan.model == "demo" and (plan.sampling.nag or any(phase.guidance > 1 for phase in plan.sampling.phases)):
        notes.append(UNGUIDED)
    if plan.chosen_loras:
        told = ", ".join(f"{lora.name} ({lora.strength})" for lora in plan.chosen_loras)
        notes.append(f"LoRA{'s' if len(plan.chosen_loras) > 1 else ''} of the library: {told}.")
    if plan.model != preset.model:
        notes.append(f"Filmed with the model {plan.model}, as the film before.")
    return notes


def _avoided(avoid: tuple[str, ...], sampling: Sampling) -> str:
    """Whether what must not be seen can be kept out: only guidance, or NAG, reads a negative prompt."""
    words = ", ".join(avoid)
    if sampling.nag or any(phase.guidance > 1 for phase in sampling.phases):
        return f"In the negative prompt: {words}."
    return f"Not promised: “{words}” cannot be kept out, since this preset reads no negative prompt."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
