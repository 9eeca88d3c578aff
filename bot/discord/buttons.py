"""Buttons that outlive a restart: what they do and to what is in their custom id, the rest is in storage."""

import re
from typing import Self

import discord

from bot.discord.answering import served
from bot.discord.texts import say

STYLES = {
    "film": discord.ButtonStyle.success,
    "retry": discord.ButtonStyle.primary,
    "continue": discord.ButtonStyle.primary,
    "cancel": discord.ButtonStyle.danger,
    "delete": discord.ButtonStyle.danger,
}
EMOJI = {
    "again": "🔁",
    "continue": "▶️",
    "details": "ℹ️",
    "send": "📩",
    "delete": "🗑️",
    "film": "🎬",
    "edit": "✏️",
    "cancel": "⏹️",
    "retry": "🔁",
}


class PressButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"longtake:(?P<kind>card|take):(?P<act>[a-z]+):(?P<number>[0-9]{1,18})",
):
    """Something to do with a card or a take."""

    def __init__(self, kind: str, act: str, number: int, item: discord.ui.Button[discord.ui.View]) -> None:
        super().__init__(item)
        self.kind, self.act, self.number = kind, act, number

    @classmethod
    def labelled(cls, kind: str, act: str, number: int, locale: str) -> Self:
        """The button of a "card" or a "take"."""
        button: discord.ui.Button[discord.ui.View] = discord.ui.Button(
            label=say(locale, f"button.{act}"),
            style=STYLES.get(act, discord.ButtonStyle.secondary),
            emoji=EMOJI.get(act),
            custom_id=f"longtake:{kind}:{act}:{number}",
        )
        return cls(kind, act, number, button)

    @classmethod
    async def from_custom_id(
        cls, _: discord.Interaction, item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """A button that somebody pressed, of a message of any age."""
        return cls(match["kind"], match["act"], int(match["number"]), item)  # type: ignore[arg-type]

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Whether we serve this server at all, also if we did when the button was posted."""
        return await served(interaction)

    async def callback(self, interaction: discord.Interaction) -> None:
        """Hand over to who knows what to do."""
        await interaction.client.pressed(interaction, self.kind, self.act, self.number)  # type: ignore[attr-defined]
