"""What a message of ours shows."""

from collections.abc import Sequence

from bot.discord.safe import one_line
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Card, Job, Take, UserError

LONGEST_TITLE = 100  # letters


def shown_by(studio: Studio, message: int) -> tuple[Take | None, Card | None]:
    """The take that a message shows, or that its card led to, and the card if it is one."""
    take, card = studio.takes.by_message(str(message)), studio.cards.by_message(str(message))
    if take is None and card and card.job is not None:
        take = studio.takes.made_by(card.job)
    return take, card


def card_of(studio: Studio, message: int) -> int | None:
    """The message of the card that a person's message led to, as long as its film is not there; None without one."""
    card = studio.cards.by_event(f"message:{message}")
    return int(card.message) if card and card.message and not card.closed and not card.take_message else None


def not_filmed(studio: Studio, card: Card, locale: str) -> UserError:
    """What is said of a card that has led to no take: it is on its way, or came to nothing."""
    job = studio.jobs.get(card.job) if card.job is not None else None
    if job and not job.state.final:
        return on_its_way(job, locale)
    return UserError(say(locale, "error.never_filmed" if job or card.closed else "error.not_filmed_yet"))


def on_its_way(job: Job, locale: str) -> UserError:
    """What is said to who wants something of a film that waits or is filmed."""
    title = one_line(job.plan.storyboard.title, LONGEST_TITLE)
    return UserError(say(locale, "error.on_its_way", job=job.id, title=title))


def cancelled_text(jobs: Sequence[int], locale: str) -> str:
    """Which jobs are cancelled."""
    return say(locale, "done.cancelled_jobs", jobs=", ".join(say(locale, "card.job", job=job) for job in jobs))


def require_open(card: Card, locale: str) -> None:
    """UserError for a card whose plan was changed or thrown away before it was filmed."""
    if card.job is None and card.closed:
        raise UserError(say(locale, "error.no_draft" if card.outcome else "card.replaced"))
