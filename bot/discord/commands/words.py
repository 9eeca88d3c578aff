"""How commands are called: names and descriptions come from the catalogue, where a translator finds them by `key`."""

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.discord.texts import FALLBACK, say

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

    Talk = discord.Interaction[LongtakeClient]
else:
    Talk = discord.Interaction
Callback = Callable[..., Coroutine[Any, Any, None]]
Command = app_commands.Command[Any, ..., None]


def phrase(key: str) -> locale_str:
    """A text of the catalogue in English; the translator knows it by its key."""
    return locale_str(say(FALLBACK, key), key=key)


def command(path: str, group: app_commands.Group | None = None) -> Callable[[Callback], Command]:
    """A slash command. Its name, description and options are in the catalogue under command.<path>."""

    def made(callback: Callback) -> Command:
        options = list(inspect.signature(callback).parameters)[1:]
        under = f"command.{path}"
        if options:
            described = {name: phrase(f"{under}.option.{name}.description") for name in options}
            callback = app_commands.describe(**described)(callback)
            callback = app_commands.rename(**{n: phrase(f"{under}.option.{n}.name") for n in options})(callback)
        make = (group or app_commands).command
        return make(name=phrase(f"{under}.name"), description=phrase(f"{under}.description"))(callback)

    return made


def choices(**values: tuple[str, ...]) -> Callable[[Callback], Callback]:
    """Options with few values; what they are called is in the catalogue under choice.<option>.<value>."""
    listed = {
        option: [app_commands.Choice(name=phrase(f"choice.{option}.{value}"), value=value) for value in allowed]
        for option, allowed in values.items()
    }
    return app_commands.choices(**listed)


def menu(path: str, callback: Callback) -> app_commands.ContextMenu:
    """A command on a message."""
    return app_commands.ContextMenu(name=phrase(f"command.menu.{path}.name"), callback=callback)
