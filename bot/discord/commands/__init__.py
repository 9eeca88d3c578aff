"""Slash commands and message commands; each translates its options to an Ask and calls the front desk."""

from typing import TYPE_CHECKING

from bot.discord.commands.sync import sync_if_changed

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient


async def install(client: "LongtakeClient") -> None:
    """Add every command to the client's tree, and tell Discord if the tree has changed."""
    await sync_if_changed(client.tree, client.studio)
