"""Slash commands and message commands; each translates its options to an Ask and calls the front desk."""

from typing import TYPE_CHECKING

from bot.discord.commands import admin, films, lists, person
from bot.discord.commands.gallery import PageButton
from bot.discord.commands.menus import menus
from bot.discord.commands.sync import sync_if_changed

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient


async def install(client: "LongtakeClient") -> None:
    """Add every command to the client's tree, and tell Discord if the tree has changed."""
    client.add_dynamic_items(PageButton)
    for slash in (*films.COMMANDS, *lists.COMMANDS, *person.COMMANDS, *admin.COMMANDS):
        client.tree.add_command(slash)
    for on_message in menus():
        client.tree.add_command(on_message)
    await sync_if_changed(client.tree, client.studio)
