"""How an interaction is answered: at once, only while its token is valid, and never with a traceback."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import discord

from bot.discord.ask import Ask
from bot.discord.texts import say
from storage.disk import DiskFull
from storage.schema import UserError

log = logging.getLogger(__name__)
LONGEST = 2000  # characters of a message


def ask_of(interaction: discord.Interaction, text: str = "") -> Ask:
    """What a command or a button asks; options are filled in by who knows them."""
    assert interaction.channel is not None, "an interaction of ours has a channel"
    return Ask(
        event=f"interaction:{interaction.id}",
        channel=interaction.channel,  # type: ignore[arg-type]
        asker=interaction.user,
        text=text,
        locale=str(interaction.locale),
    )


@asynccontextmanager
async def answering(interaction: discord.Interaction, done: str = "") -> AsyncIterator[None]:
    """Acknowledge privately, do the block, and say `done`, a key of the catalogue; what goes wrong is said instead."""
    locale = str(interaction.locale)
    if not interaction.response.is_done():
        await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the outermost place: whatever one press does, the bot goes on
        await tell(interaction, sentence_of(error, locale))
    else:
        if done:
            await tell(interaction, say(locale, done))


def sentence_of(error: Exception, locale: str, key: str = "error.trouble") -> str:
    """An error as a person may read it. What is nobody's mistake gets a number that is also in the log."""
    if isinstance(error, UserError | DiskFull):
        return str(error)
    if isinstance(error, discord.Forbidden):
        return say(locale, "error.may_not_post")
    number = secrets.token_hex(2).upper()
    log.error("trouble %s", number, exc_info=error)
    return say(locale, key, number=number)


async def served(interaction: discord.Interaction) -> bool:
    """Whether who calls a command or presses a button is let in where they are; they are told if not."""
    if await interaction.client.door.admits(interaction.guild_id, interaction.user.id):  # type: ignore[attr-defined]
        return True
    if interaction.type is not discord.InteractionType.autocomplete:
        await refuse(interaction, say(str(interaction.locale), "error.server_refused"))
    return False


async def refuse(interaction: discord.Interaction, text: str) -> None:
    """Say privately why nothing is done, as the first answer."""
    await interaction.response.send_message(text, ephemeral=True)


async def tell(interaction: discord.Interaction, text: str, **more: object) -> None:
    """Say something privately; the token may have died meanwhile."""
    try:
        await interaction.followup.send(text[:LONGEST], ephemeral=True, **more)  # type: ignore[call-overload]
    except (discord.NotFound, discord.HTTPException) as error:
        log.info("an answer came too late: %s", error)
