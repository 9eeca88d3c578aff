"""What stopped a film, as its card says it."""

from bot.discord.texts import say
from storage.schema import Job, JobState


def stopped_text(job: Job, filmed: int, locale: str) -> str:
    """Where the engine stopped and what is kept, in sentences; "" for a job that nothing went wrong with.

    `filmed` windows of the plan are finished. They are kept for the next attempt; after the last one they are not.
    """
    if not job.error or job.state is JobState.DONE:
        return ""
    windows = len(job.plan.windows)
    where = say(locale, "stopped.at", window=min(filmed + 1, windows), windows=windows)
    kept = (
        "" if job.state is JobState.FAILED or not filmed else say(locale, f"stopped.kept_{min(filmed, 2)}", last=filmed)
    )
    return " ".join(filter(None, [where, kept, job.error]))
