"""Commands that film or plan: /film, /continue, /again, /plan, /cancel, /show."""

import asyncio
from dataclasses import replace

import discord
from discord import app_commands

from bot.discord.answering import LONGEST, answering, ask_of, tell
from bot.discord.commands.pick import cancellable, loras, own_cards, styles, take_of, takes_here
from bot.discord.commands.words import Talk, choices, command
from bot.discord.delivery import TABLE_SHARE
from bot.discord.texts import say
from bot.studio import Studio
from planner.presets import find_preset
from planner.wishes import ASPECTS, BEST, FASTEST
from storage.schema import UserError
from storage.sizes import fit_area

SHAPES = {"wide": "landscape", "square": "square", "tall": "portrait"}
Picture = discord.Attachment | None
Story = app_commands.Range[str, 1, 4000]
Seconds = app_commands.Range[float, 1.0, 600.0]
Settings = app_commands.Range[str, 0, 1000]  # "motion_amplitude=1.15 magcache=1.75", see planner/parameters.py
Seed = app_commands.Range[int, 0, 2**53]  # what Discord can hold of a whole number


@command("film")
@choices(shape=tuple(SHAPES), quality=("draft", "full"))
@app_commands.autocomplete(style=styles, lora=loras)
async def film(
    interaction: Talk,
    story: Story,
    image1: Picture = None,
    image2: Picture = None,
    image3: Picture = None,
    image4: Picture = None,
    seconds: Seconds | None = None,
    shape: str | None = None,
    style: str | None = None,
    lora: app_commands.Range[str, 1, 100] | None = None,
    seed: Seed | None = None,
    quality: str | None = None,
    settings: Settings = "",
    takes: app_commands.Range[int, 1, 4] = 1,
) -> None:
    """A film from words and pictures."""
    async with answering(interaction, "done.planned"):
        studio = interaction.client.studio
        preset = _preset(studio, quality)
        ask = replace(
            ask_of(interaction, story),
            attachments=tuple(filter(None, (image1, image2, image3, image4))),
            seconds=seconds,
            size=_size(preset or studio.preset.name, shape),
            style=style,
            lora=lora,
            seed=seed,
            preset=preset,
            settings=settings,
        )
        await interaction.client.front.film(ask, takes)


@command("continue")
@app_commands.autocomplete(take=takes_here)
async def proceed(
    interaction: Talk,
    happens: app_commands.Range[str, 0, 4000] = "",
    take: int | None = None,
    image: Picture = None,
    seconds: Seconds | None = None,
    settings: Settings = "",
) -> None:
    """What comes after a take."""
    async with answering(interaction, "done.planned"):
        pictures = (image,) if image else ()
        ask = replace(ask_of(interaction, happens), attachments=pictures, seconds=seconds, settings=settings)
        await interaction.client.front.proceed(ask, await take_of(interaction, ask, take))


@command("again")
@app_commands.autocomplete(take=takes_here)
async def again(interaction: Talk, take: int | None = None, seed: Seed | None = None, settings: Settings = "") -> None:
    """A take once more, with other seeds."""
    async with answering(interaction, "done.again"):
        ask = replace(ask_of(interaction), seed=seed, settings=settings)
        await interaction.client.front.again(ask, await take_of(interaction, ask, take))


@command("plan")
async def plan(
    interaction: Talk,
    story: Story,
    image1: Picture = None,
    image2: Picture = None,
    image3: Picture = None,
    image4: Picture = None,
    settings: Settings = "",
) -> None:
    """A plan to look at; it costs nothing."""
    async with answering(interaction):
        pictures = tuple(filter(None, (image1, image2, image3, image4)))
        ask = replace(ask_of(interaction, story), attachments=pictures, settings=settings)
        lines = await interaction.client.front.sketch(ask)
        await tell(interaction, "\n".join(lines)[:LONGEST] or say(ask.locale, "done.planned"))


@command("cancel")
@app_commands.autocomplete(film=own_cards)
async def cancel(interaction: Talk, film: int | None = None) -> None:
    """Cancel a film; without a number one's newest here."""
    async with answering(interaction, "done.cancelled"):
        ask, studio = ask_of(interaction), interaction.client.studio
        if film is None:
            own = await asyncio.to_thread(cancellable, studio, ask.asker_key)
            card = next((c for c in own if c.channel == ask.channel_key), None)
        else:
            card = studio.cards.get(film)
        if card is None or card.closed:
            raise UserError(say(ask.locale, "error.nothing_to_cancel"))
        await interaction.client.front.cancel(ask, card)


@command("show")
@app_commands.autocomplete(take=takes_here)
async def show(interaction: Talk, take: int) -> None:
    """Post a take here once more."""
    async with answering(interaction, "done.shown"):
        ask = ask_of(interaction)
        most = round(TABLE_SHARE * interaction.filesize_limit)  # Discord's own number for here and now
        await interaction.client.front.show(ask, await take_of(interaction, ask, take), most)


def _preset(studio: Studio, quality: str | None) -> str | None:
    """The preset of a quality, for the studio's own model."""
    if quality is None:
        return None
    return (FASTEST if quality == "draft" else BEST)[studio.preset.model]


def _size(preset: str, shape: str | None) -> tuple[int, int] | None:
    """The size of a shape; None follows the picture."""
    if shape is None:
        return None
    size = fit_area(*ASPECTS[SHAPES[shape]], find_preset(preset).budget)
    return size.width, size.height


COMMANDS = (film, proceed, again, plan, cancel, show)
