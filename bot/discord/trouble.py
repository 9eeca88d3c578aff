"""What stopped a film, as its card says it."""

from bot.discord.texts import say
from storage.schema import Job, JobState


def stopped_text(job: Job, filmed: int, locale: str) -> str:
    """Where the engine stopped and what is kept, in sentences; "" for a job that nothing went wrong with.

    `filmed` windows of the plan are finished, and kept for the next attempt, or for who tries again.
    """
    if not job.error or job.state is JobState.DONE:
        return ""
    windows = len(job.plan.windows)
    where = say(locale, "stopped.at", window=min(filmed + 1, windows), windows=windows)
    kept = say(locale, f"stopped.kept_{min(filmed, 2)}", last=filmed) if filmed else ""
    return " ".join(filter(None, [where, kept, job.error]))
