"""The studio's figures in words, for `longtake doctor`; /metrics tells the same ones to machines (bot/health.py)."""

from collections.abc import Iterator

from bot.progress import clock
from storage.figures import Figures
from storage.schema import JobState

MANY_FAILURES = 0.2  # of what ended lately


def figure_rows(figures: Figures) -> dict[str, str]:
    """Names and values, as a check-up lists them."""
    waited = f", the oldest for {clock(figures.oldest_wait_seconds)}" if figures.queued else ""
    ended = ", ".join(f"{number} {state}" for state, number in figures.ended.items() if number)
    windows = [
        f"{model} {size} {took.median:.1f} s (median of {took.windows})"
        for (model, size), took in figures.window_seconds.items()
    ]
    return {
        "queue": f"{figures.queued} waiting{waited}; {figures.running} being filmed",
        "last 24 hours": ended or "nothing ended",
        "failures": "; ".join(f"{number} x {reason}" for reason, number in figures.failures.items()) or "none",
        "a window took": ", ".join(windows) or "none was filmed in the last 24 hours",
    }


def concerns(figures: Figures) -> Iterator[str]:
    """Sentences on what its owner should look at."""
    if figures.queued and not figures.workers:
        waited = clock(figures.oldest_wait_seconds)
        yield f"{figures.queued} jobs wait, the oldest for {waited}, and no worker lives: start longtake worker."
    failed, ended = figures.ended.get(JobState.FAILED, 0), sum(figures.ended.values())
    if failed and failed > MANY_FAILURES * ended:
        reason, number = next(iter(figures.failures.items()))
        yield f"{failed} of {ended} jobs failed in the last 24 hours, {number} of them so: {reason}"
