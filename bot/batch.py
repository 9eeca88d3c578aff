"""Several films at once: pictures and stories in pairs, and a plan with several seeds. Each is a job of its own."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from bot.proposal import Proposal
from bot.wish import Wish
from planner.compiler import reseed
from storage.schema import Seed, UserError

MOST_FILMS = 25  # as many as the source repeats


class Pairing(StrEnum):
    """Which picture goes with which line of the story."""

    ALL = "all"
    MATCHED = "matched"


def paired(wish: Wish, pairing: Pairing) -> list[Wish]:
    """A wish for each pair of a start picture and a line of the story; lines that begin with # say nothing.

    ALL goes through the lines for the first picture, then for the second. MATCHED pairs them in
    order; where one side has fewer, each of its items serves several of the other side in a row.
    """
    lines = [line.strip() for line in wish.text.splitlines()]
    stories = [line for line in lines if line and not line.startswith("#")]
    if not stories or not wish.images:
        raise UserError("Pairs are made of pictures and lines of the story: give at least one of each.")
    pairs = [(image, story) for image in wish.images for story in stories]
    if pairing is Pairing.MATCHED:
        pairs = _matched(list(wish.images), stories)
    if len(pairs) > MOST_FILMS:
        raise UserError(f"These pairs make {len(pairs)} films: {MOST_FILMS} at most, please.")
    return [replace(wish, images=(image,), text=story) for image, story in pairs]


def repeated(proposals: Iterable[Proposal], times: int, fresh: Callable[[], Seed]) -> list[Proposal]:
    """Each plan `times` times: first as it is, then with fresh seeds."""
    films = [
        again for proposal in proposals for again in (proposal, *(_with(proposal, fresh()) for _ in range(times - 1)))
    ]
    if len(films) > MOST_FILMS:
        raise UserError(f"That makes {len(films)} films: {MOST_FILMS} at most, please.")
    return films


def _matched(images: list[Path], stories: list[str]) -> list[tuple[Path, str]]:
    more, fewer = max(len(images), len(stories)), min(len(images), len(stories))
    if more % fewer:
        raise UserError(
            f"{len(images)} pictures and {len(stories)} stories do not match: one must be a multiple of the other."
        )
    return [(images[number * len(images) // more], stories[number * len(stories) // more]) for number in range(more)]


def _with(proposal: Proposal, seed: Seed) -> Proposal:
    plan = reseed(proposal.plan, seed)
    return replace(proposal, draft=proposal.draft.model_copy(update={"plan": plan}))
