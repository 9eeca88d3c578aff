"""What a person and a server may have filmed, so that everybody gets a turn. Film counts when it is delivered."""

import math
from datetime import UTC, datetime, timedelta

from bot.line import Lines
from bot.wish import Wish
from storage.cards import Cards
from storage.forget import Spent
from storage.jobs import Jobs
from storage.requests import Requests
from storage.schema import Policy, UserError
from storage.takes import Takes

DAY = timedelta(hours=24)


class Quota:
    """Of one studio."""

    def __init__(self, jobs: Jobs, takes: Takes, cards: Cards, spent: Spent, requests: Requests, lines: Lines) -> None:
        self._jobs = jobs
        self._takes = takes
        self._cards = cards
        self._spent = spent
        self._requests = requests
        self._lines = lines

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
        return sum(self._jobs.counts(person))

    def require_welcome(self, person: str, policy: Policy) -> None:
        """UserError for who may not ask for anything."""
        if person in policy.banned:
            raise UserError("You may not ask for films on this server; a moderator can change that.")

    def count_request(self, person: str, event: str, policy: Policy) -> None:
        """Count something that has to be read and planned, once an event; UserError if there were too many within an
        hour."""
        full = self._requests.count(person, event, policy.requests_per_hour)
        if full is not None:
            raise UserError(
                f"You asked {full.times} times within an hour; the limit is {policy.requests_per_hour}. Ask again in "
                f"about {minutes(full.wait)}. What is planned already can be filmed with its button."
            )

    def count_again(self, event: str) -> None:
        """An event was taken back: it counts, and made again it counts once more."""
        self._requests.settle(event)

    def require(self, wish: Wish, policy: Policy, new_seconds: float) -> None:
        """UserError if one film more is too many, with what can be done."""
        self.require_welcome(wish.requester, policy)
        if policy.paused:
            raise UserError("Filming is paused on this server; what was asked before is kept. Ask a moderator.")
        if policy.max_seconds is not None and new_seconds > policy.max_seconds * 1.1 + 0.5:
            raise UserError(
                f"That is {new_seconds:.0f} s of film; on this server a film has at most {policy.max_seconds:g} s. "
                "Ask for a shorter one, then continue it."
            )
        self._require_place(wish, policy)
        self._require_minutes(wish, policy, new_seconds)

    # ---- inside ----

    def _require_place(self, wish: Wish, policy: Policy) -> None:
        """UserError if too many films wait: of the person, or of the whole server."""
        waiting = self.waiting(wish.requester)
        if waiting >= policy.queue_per_person:
            frees = self._lines.now().soonest(wish.requester)
            when = f" The next place frees in about {minutes(frees)}." if frees else ""
            raise UserError(
                f"You have {waiting} films waiting; the limit is {policy.queue_per_person}.{when} You can cancel one."
            )
        if policy.server_queue is not None and (waiting := self._cards.waiting(wish.place)) >= policy.server_queue:
            raise UserError(
                f"This server has {waiting} films waiting; the limit is {policy.server_queue}. "
                "Try again when some of them are done."
            )

    def _require_minutes(self, wish: Wish, policy: Policy, new_seconds: float) -> None:
        """UserError if it is too much film for a day: for the person, or for the whole server."""
        used = self.used_minutes(wish.requester)
        if used + new_seconds / 60 > policy.minutes_per_day:
            raise UserError(
                f"You had {used:.1f} minutes of film in the last 24 hours; the limit is {policy.minutes_per_day:g}, "
                f"and this one has {new_seconds / 60:.1f}. It frees up as those get older."
            )
        if policy.server_minutes is None:
            return
        made = self._takes.made_in(wish.place, datetime.now(UTC) - DAY)
        used = sum(take.plan.new_seconds for take in made) / 60
        if used + new_seconds / 60 > policy.server_minutes:
            raise UserError(
                f"This server had {used:.1f} minutes of film in the last 24 hours; the limit is "
                f"{policy.server_minutes:g}, and this one has {new_seconds / 60:.1f}. It frees up as those get older."
            )


def minutes(seconds: float) -> str:
    """A time for people: "40 s", "6 min", "2 h"."""
    if seconds < 55:
        return f"{max(5, math.ceil(seconds / 5) * 5)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 90 * 60 else f"{round(seconds / 3600)} h"
