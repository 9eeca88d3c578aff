"""Commands on a message: Continue this take, Film from this message, Take details."""

from dataclasses import replace

import discord

from bot.discord.answering import answering, ask_of, refuse, tell
from bot.discord.commands.words import Talk, menu
from bot.discord.details import details_of
from bot.discord.modals import ContinueModal
from bot.discord.shown import not_filmed, shown_by
from bot.discord.texts import say
from storage.schema import Take, UserError


async def continue_this(interaction: Talk, message: discord.Message) -> None:
    """Ask what happens next in the take of a message."""
    ask, client = ask_of(interaction), interaction.client
    try:
        take = take_at(interaction, message)
        client.front.require_continue(ask, take)
    except UserError as error:
        await refuse(interaction, str(error))
        return
    await interaction.response.send_modal(ContinueModal(client, take, ask.locale))


async def film_from(interaction: Talk, message: discord.Message) -> None:
    """Film what a message says and shows."""
    async with answering(interaction, "done.planned"):
        ask = ask_of(interaction, interaction.client.words_of(message))
        pictures = tuple(a for a in message.attachments if (a.content_type or "").startswith("image/"))
        if not ask.text and not pictures:
            raise UserError(say(ask.locale, "error.nothing_to_film"))
        await interaction.client.front.film(replace(ask, attachments=pictures))


async def details(interaction: Talk, message: discord.Message) -> None:
    """All about the take of a message."""
    async with answering(interaction):
        ask = ask_of(interaction)
        await tell(interaction, details_of(take_at(interaction, message), ask.locale))


def take_at(interaction: Talk, message: discord.Message) -> Take:
    """The take that a message shows, or that its card led to."""
    studio, locale = interaction.client.studio, str(interaction.locale)
    take, card = shown_by(studio, message.id)
    if take is not None:
        return take
    raise not_filmed(studio, card, locale) if card else UserError(say(locale, "error.no_take_on_message"))


def menus() -> tuple[discord.app_commands.ContextMenu, ...]:
    """The commands on messages; a tree needs its own."""
    return (
        menu("continue", continue_this),
        menu("film", film_from),
        menu("details", details),
    )
