"""All about a take, for who wants to know or to film it elsewhere."""

from bot.discord.safe import one_line
from bot.discord.texts import say
from bot.progress import clock
from bot.studio import Studio
from planner.parameters import written
from planner.tuning import extras_of
from storage.schema import Card, Plan, Storyboard, Take
from storage.timeline import film_time

LONGEST = 1900


def details_of(take: Take, locale: str) -> str:
    """Prompts, seeds, model and time."""
    plan = take.plan
    lines = [
        say(
            locale,
            "details.head",
            take=take.id,
            seconds=f"{take.film.seconds:.2f}",
            size=plan.size,
            model=plan.model,
            steps=plan.sampling.steps,
            seed=plan.seed,
            took=clock(take.film.render_seconds),
        )
    ]
    if extras := extras_of(plan):
        lines.append(f"`{written(extras)}`")
    return cut("\n".join([*lines, *prompts_of(plan)]))


def plan_text(studio: Studio, card: Card, locale: str) -> str:
    """The prompts of a card's plan."""
    plan = card.draft.plan if card.draft else studio.jobs.get(card.job).plan if card.job is not None else None
    return cut("\n".join(prompts_of(plan))) if plan else say(locale, "error.no_draft")


def prompts_of(plan: Plan) -> list[str]:
    """Every window's prompt, as code that shows no mention and no format."""
    return [
        f"**{number}** ({window.seed})\n```\n{window.prompt.replace('```', '´´´')}\n```"
        for number, window in enumerate(plan.windows, start=plan.first_window)
    ]


def storyboard_text(board: Storyboard) -> list[str]:
    """A storyboard that nothing can be filmed from yet, window by window in seconds of the film."""
    lines = [f"**{one_line(board.title, LONGEST)}**"]
    for number, window in enumerate(board.windows, start=1):
        beats = [f"{film_time(number, beat.seconds):.1f} s {beat.action}" for beat in window.beats]
        told = one_line("; ".join(filter(None, [window.scene, *beats, window.camera])), LONGEST)
        lines.append(f"**{number}** {told}")
    return lines


def cut(text: str) -> str:
    """A text that fits into a message."""
    if len(text) <= LONGEST:
        return text
    shown = text[:LONGEST]
    return shown + ("…\n```" if shown.count("```") % 2 else "…")
