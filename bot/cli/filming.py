"""longtake make, continue and again: from what was typed to plans, and from plans to videos."""

import argparse
import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.batch import Pairing, paired, repeated
from bot.cli import display
from bot.cli.deliver import film
from bot.proposal import Proposal
from bot.settings import BotSettings
from bot.studio import Studio, new_seed
from bot.wish import Wish
from planner.brief import OnPlanning
from planner.settings import PlannerSettings
from storage.settings import read_settings

Options = argparse.Namespace
Answered = TypeVar("Answered")


def make(options: Options) -> int:
    """Film a story, or several."""
    asked = wish(options)
    wishes = paired(asked, Pairing(options.pairs)) if options.pairs else [asked]

    async def proposed(studio: Studio, say: OnPlanning) -> list[Proposal]:
        return [await studio.film(each, say) for each in wishes]

    return film_all(options, proposed)


def proceed(options: Options) -> int:
    """Film on."""
    return film_all(options, lambda studio, say: _alone(studio.proceed(wish(options), say)))


def again(options: Options) -> int:
    """Film a plan again."""
    return film_all(options, lambda studio, _: _alone(studio.again(wish(options))))


def film_all(options: Options, ask: Callable[[Studio, OnPlanning], Awaitable[list[Proposal]]]) -> int:
    """Plan, and film each plan as often as it was asked for."""
    studio, proposals = plan_with(options, ask)
    return film(studio, repeated(proposals, options.repeat, new_seed), options, wish(options).files)


async def _alone(proposal: Awaitable[Proposal]) -> list[Proposal]:
    return [await proposal]


def plan_with(options: Options, ask: Callable[[Studio, OnPlanning], Awaitable[Answered]]) -> tuple[Studio, Answered]:
    """The studio, and what its director answers. A language model's process ends with the question."""
    studio = Studio(settings(), read_settings(PlannerSettings))

    async def answered() -> Answered:
        async with studio:
            with display.planning(quiet=options.json or studio.model is None) as say:
                return await ask(studio, say)

    return studio, asyncio.run(answered())


def wish(options: Options) -> Wish:
    """What was typed, as the studio takes it."""
    given = {name: value for name, value in vars(options).items() if name in Wish.__dataclass_fields__}
    return Wish(text=getattr(options, "story", None) or "", requester=getpass.getuser(), **given)


def settings() -> BotSettings:
    """The settings of this folder."""
    return read_settings(BotSettings)
