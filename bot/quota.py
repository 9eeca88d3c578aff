"""What one person may have filmed, so that everybody gets a turn. Film counts when it is delivered, never before."""

import math
from datetime import UTC, datetime, timedelta

from bot.line import Line
from storage.forget import Spent
from storage.jobs import Jobs
from storage.schema import Policy, UserError
from storage.takes import Takes

DAY = timedelta(hours=24)


class Quota:
    """Of one studio."""

    def __init__(self, jobs: Jobs, takes: Takes, spent: Spent) -> None:
        self._spent = spent
        self._jobs = jobs
        self._takes = takes

    def used_minutes(self, person: str) -> float:
        """Minutes of film that a person had in the last 24 hours."""
        since = datetime.now(UTC) - DAY
        made = self._takes.made_for(person, since)
        return (sum(take.plan.new_seconds for take in made) + self._spent.seconds(person, since)) / 60

    def frees(self, person: str) -> datetime | None:
        """When the oldest film that counts stops counting; None if none counts."""
        made = self._takes.made_for(person, datetime.now(UTC) - DAY)
        return made[0].created + DAY if made else None

    def waiting(self, person: str) -> int:
        """A person's films that wait or are being filmed."""
        return sum(job.errand.requester == person for job in self._jobs.queue())

    def require_welcome(self, person: str, policy: Policy) -> None:
        """UserError for who may not ask for anything."""
        if person in policy.banned:
            raise UserError("You may not ask for films on this server; a moderator can change that.")

    def require(self, person: str, policy: Policy, new_seconds: float) -> None:
        """UserError if one film more is too many, with what can be done."""
        self.require_welcome(person, policy)
        if policy.paused:
            raise UserError("Filming is paused on this server; what was asked before is kept. Ask a moderator.")
        if policy.max_seconds is not None and new_seconds > policy.max_seconds * 1.1 + 0.5:
            raise UserError(
                f"That is {new_seconds:.0f} s of film; on this server a film has at most {policy.max_seconds:g} s. "
                "Ask for a shorter one, then continue it."
            )
        waiting = self.waiting(person)
        if waiting >= policy.queue_per_person:
            frees = Line(self._jobs, self._takes).soonest(person)
            when = f" The next place frees in about {minutes(frees)}." if frees else ""
            raise UserError(
                f"You have {waiting} films waiting; the limit is {policy.queue_per_person}.{when} You can cancel one."
            )
        used = self.used_minutes(person)
        if used + new_seconds / 60 > policy.minutes_per_day:
            raise UserError(
                f"You had {used:.1f} minutes of film in the last 24 hours; the limit is {policy.minutes_per_day:g}, "
                f"and this one has {new_seconds / 60:.1f}. It frees up as those get older."
            )


def minutes(seconds: float) -> str:
    """A time for people: "40 s", "6 min", "2 h"."""
    if seconds < 55:
        return f"{max(5, math.ceil(seconds / 5) * 5)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 90 * 60 else f"{round(seconds / 3600)} h"
