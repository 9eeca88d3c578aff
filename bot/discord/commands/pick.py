"""What is offered while somebody types, and what they picked."""

import asyncio

from discord import app_commands

from bot.discord.answering import ask_of
from bot.discord.ask import Ask
from bot.discord.commands.words import Talk
from bot.discord.keys import key_of
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Card, Take, UserError

MOST = 25  # choices that Discord shows
LONGEST = 100  # characters of one


async def takes_here(interaction: Talk, current: str) -> list[app_commands.Choice[int]]:
    """The channel's takes whose number or title has what is typed, newest first."""
    history = interaction.client.studio.takes.history
    takes = await asyncio.to_thread(history, key_of(interaction.channel_id or 0), MOST)
    named = ((f"{take.id} · {take.plan.storyboard.title}"[:LONGEST], take.id) for take in takes)
    return [app_commands.Choice(name=name, value=number) for name, number in named if _fits(current, name)]


async def own_cards(interaction: Talk, current: str) -> list[app_commands.Choice[int]]:
    """The asker's films that are not done, and plans that wait, wherever they were asked for."""
    studio = interaction.client.studio
    cards = await asyncio.to_thread(cancellable, studio, key_of(interaction.user))
    named = ((f"{card.id} · {_title(studio, card)}"[:LONGEST], card.id) for card in cards)
    return [app_commands.Choice(name=name, value=number) for name, number in named if _fits(current, name)][:MOST]


async def styles(interaction: Talk, current: str) -> list[app_commands.Choice[str]]:
    """The server's styles."""
    policy = interaction.client.front.policy(ask_of(interaction))
    return [app_commands.Choice(name=s.name, value=s.name) for s in policy.styles if _fits(current, s.name)][:MOST]


async def loras(interaction: Talk, current: str) -> list[app_commands.Choice[str]]:
    """The LoRAs of the library, by name and title."""
    entries = await asyncio.to_thread(interaction.client.studio.library.entries)
    named = ((lora.title if lora.title == lora.name else f"{lora.name} · {lora.title}", lora.name) for lora in entries)
    return [
        app_commands.Choice(name=shown[:LONGEST], value=name)
        for shown, name in named
        if _fits(current, shown) and len(name) <= LONGEST
    ][:MOST]


async def take_of(interaction: Talk, ask: Ask, number: int | None) -> Take:
    """The take of a number, if the asker can see it; without a number the channel's last."""
    studio = interaction.client.studio
    if number is None:
        last = await asyncio.to_thread(studio.takes.last, ask.channel_key)
        if last is None:
            raise UserError(say(ask.locale, "error.no_take_here"))
        return last
    take = await asyncio.to_thread(studio.takes.get, number)
    interaction.client.front.require_seen(ask, take)
    return take


def cancellable(studio: Studio, asker: str) -> list[Card]:
    """A person's requests that are not done, the newest first."""
    return [
        c for c in reversed(studio.cards.open_cards(asker)) if c.job is None or not studio.jobs.get(c.job).state.final
    ]


def _title(studio: Studio, card: Card) -> str:
    if card.job is not None:
        return studio.jobs.get(card.job).plan.storyboard.title
    return card.draft.plan.storyboard.title if card.draft else card.words


def _fits(typed: str, name: str) -> bool:
    return typed.casefold().strip() in name.casefold()
