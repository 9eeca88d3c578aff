"""The tree of commands: who may call any, and what is said when one goes wrong."""

import logging

import discord
from discord import app_commands

from bot.discord.answering import sentence_of, served, tell
from bot.discord.texts import say

log = logging.getLogger(__name__)


class Tree(app_commands.CommandTree[discord.Client]):
    """In servers and in direct messages, installed by servers."""

    def __init__(self, client: discord.Client) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=False),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Whether we serve this server at all."""
        return await served(interaction)

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError, /) -> None:
        """Say what happened; a refused check has said so itself."""
        if isinstance(error, app_commands.CheckFailure):
            return
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        if interaction.type is discord.InteractionType.autocomplete:
            log.error("an autocomplete failed", exc_info=cause)
            return
        if not interaction.response.is_done():
            await interaction.response.defer(ephemeral=True, thinking=True)
        if isinstance(cause, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
            log.warning("Discord shows a command that we do not have: %s", cause)
            await tell(interaction, say(str(interaction.locale), "error.unknown_command"))
            return
        await tell(interaction, sentence_of(cause, str(interaction.locale)))
