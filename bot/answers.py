"""Answers to questions, from facts alone: the queue, the takes and what they took, the settings. Nothing is guessed."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.progress import clock, progress_text
from bot.settings import BotSettings
from planner.parameters import written
from planner.presets import PRESETS, Preset
from planner.wishes import AREAS, BEST, FASTEST
from storage.schema import Intent, IntentKind, Job, Take, Wishes

HELP = (
    "Send a picture and say what should happen: “15 s of my dog, he jumps at 8 seconds, slow zoom out”.",
    "Then talk: “make it sunset”, “now he meets a crab”, “in the second window he sits down instead”, “film it”.",
    "Behind a finished film: what happens next, “again” for another take, “again but calmer” for a change.",
    "Pictures are numbered as they were sent: “end on picture 2”. Settings are words too: “vertical, best quality”.",
    "Ask “status”, “settings” or “cancel” at any time.",
)


@dataclass(frozen=True)
class Facts:
    """What a question can be answered from."""

    settings: BotSettings
    preset: Preset
    planner: str
    wishes: Wishes  # of the channel
    jobs: tuple[tuple[Job, int | None], ...]  # of the channel, each with its place in the queue
    waiting: int  # jobs of all channels that are queued or running
    takes: tuple[Take, ...]  # of the channel, newest first
    loras: tuple[str, ...] = ()  # titles of those in the library


def answer(intent: Intent, facts: Facts) -> tuple[str, ...]:
    """Sentences that answer a question."""
    match intent.kind:
        case IntentKind.STATUS:
            return (*_queue(facts), *_pace(facts))
        case IntentKind.SETTINGS:
            return _settings(facts)
        case _:
            return HELP


def cancelled(jobs: Sequence[int]) -> str:
    """The sentence that says which jobs are cancelled."""
    numbers = ", ".join(map(str, jobs))
    return f"Job {numbers} is cancelled." if len(jobs) == 1 else f"Jobs {numbers} are cancelled."


def _queue(facts: Facts) -> list[str]:
    """Where the channel's jobs are."""
    lines = [f"Job {job.id}, “{job.plan.storyboard.title}”: {progress_text(job, place)}." for job, place in facts.jobs]
    if not lines:
        others = "Nothing of this channel is being filmed"
        lines = [f"{others}; {facts.waiting} of other channels." if facts.waiting else f"{others}."]
    if facts.takes:
        newest = facts.takes[0]
        lines.append(f"The last take here is number {newest.id}, {newest.film.seconds:.2f} s.")
    return lines


def _pace(facts: Facts) -> list[str]:
    """How long a window takes, measured, and what would be faster."""
    sampling, name = facts.preset.sampling, facts.preset.name
    runs = sum(1 + (_guidance(facts.preset, sigma) > 1) for sigma in sampling.sigmas[:-1])
    lines = [f"A window of 5 s is {sampling.steps} steps with preset {name}, {runs} runs of the network."]
    alike = [take for take in facts.takes if take.plan.sampling == sampling]
    if alike:
        seconds = sum(take.film.render_seconds for take in alike) / sum(len(take.plan.windows) for take in alike)
        lines.append(f"The last {len(alike)} takes like that took {clock(seconds)} a window.")
    else:
        lines.append("No take here was filmed with it yet, so its time was not measured.")
    faster = PRESETS[FASTEST[facts.preset.model]]
    if faster.sampling.steps < sampling.steps:
        lines.append(f"Say “faster” for preset {faster.name}: {faster.sampling.steps} steps.")
    return lines


def _guidance(preset: Preset, sigma: float) -> float:
    return next(phase.guidance for phase in preset.sampling.phases if sigma > phase.above or phase.above == 0)


def _settings(facts: Facts) -> tuple[str, ...]:
    """What films are made with, and the limits."""
    preset, limits = facts.preset, facts.settings
    fast, best = FASTEST[preset.model], BEST[preset.model]
    sizes = "" if preset.model == "demo" else f" “480p” and “720p” are {AREAS[480]} and {AREAS[720]}."
    own = facts.wishes.untuned.model_dump(exclude_defaults=True, mode="json")
    words = [*(f"{name} {value}" for name, value in own.items()), *filter(None, [written(facts.wishes.tuning)])]
    said = f"Set for this channel: {', '.join(words)}." if words else ""
    return (
        f"Preset {preset.name}: model {preset.model}, about {preset.budget} in the picture's shape, 16 frames a "
        f"second, {preset.sampling.steps} steps.{sizes}",
        f"“faster” is preset {fast}, “best quality” is preset {best}. “vertical”, “square”, “less shaky”, “stronger "
        "motion”, “seed 42”, “32 fps”, “twice as large”, “add film grain” and “with 20 steps” are understood as well.",
        *([said] if said else []),
        *([f"LoRAs, “in the style of …”: {', '.join(facts.loras)}."] if facts.loras else []),
        f"A film has at most {limits.max_seconds:g} s, a request at most {limits.max_pictures} pictures.",
        facts.planner,
    )
