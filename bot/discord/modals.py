"""Forms that a person fills in."""

from dataclasses import replace
from typing import TYPE_CHECKING

import discord

from bot.discord.answering import answering, ask_of
from bot.discord.safe import one_line
from bot.discord.texts import say
from storage.schema import Take, UserError

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient


class ContinueModal(discord.ui.Modal):
    """What happens next, how long, and perhaps a picture."""

    def __init__(self, client: "LongtakeClient", take: Take, locale: str) -> None:
        super().__init__(title=say(locale, "continue.title", take=take.id))
        self._client, self._take = client, take
        self.words = discord.ui.TextInput[discord.ui.Modal](
            style=discord.TextStyle.paragraph, required=False, max_length=1000
        )
        self.seconds = discord.ui.TextInput[discord.ui.Modal](required=False, max_length=5)
        self.picture = discord.ui.FileUpload[discord.ui.Modal](required=False, max_values=1)
        for key, field in (("words", self.words), ("seconds", self.seconds), ("picture", self.picture)):
            self.add_item(discord.ui.Label(text=say(locale, f"continue.{key}"), component=field))

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        """Film on."""
        async with answering(interaction, "done.planned"):
            ask = ask_of(interaction, self.words.value)
            ask = replace(
                ask, attachments=tuple(self.picture.values), seconds=seconds_of(self.seconds.value, ask.locale)
            )
            await self._client.front.proceed(ask, self._take)


def seconds_of(text: str, locale: str) -> float | None:
    """A number of seconds as a person types it."""
    bare = text.strip().rstrip("s").strip().replace(",", ".")
    if not bare:
        return None
    try:
        return float(bare)
    except ValueError as error:
        raise UserError(say(locale, "error.no_seconds", text=one_line(text, 10))) from error
