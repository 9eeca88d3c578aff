"""Buttons of cards and takes. The label on a button may be old: every press is checked against what is stored."""

from typing import TYPE_CHECKING

import discord

from bot.discord.answering import answering, ask_of, refuse, tell
from bot.discord.details import details_of, plan_text
from bot.discord.editor import edit_card, edit_take
from bot.discord.modals import ContinueModal
from bot.discord.texts import say
from storage.schema import UserError

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient


async def press_card(client: "LongtakeClient", interaction: discord.Interaction, act: str, number: int) -> None:
    """A button of a card."""
    front, ask = client.front, ask_of(interaction)
    card = client.studio.cards.get(number)
    if card is None:
        await refuse(interaction, say(ask.locale, "error.card_forgotten"))
        return
    if act == "edit":
        await edit_card(client, interaction, card)
        return
    done = {"film": "done.queued", "cancel": "done.cancelled", "retry": "done.retried"}.get(act, "")
    async with answering(interaction, done):
        match act:
            case "film":
                await front.approve(ask, card)
            case "cancel":
                await front.cancel(ask, card)
            case "retry":
                await front.retry(ask, card)
            case "plan":
                await tell(interaction, plan_text(client.studio, card, ask.locale))


async def press_take(client: "LongtakeClient", interaction: discord.Interaction, act: str, number: int) -> None:
    """A button of a take."""
    front, ask = client.front, ask_of(interaction)
    try:
        take = client.studio.takes.get(number)
        if act == "continue":
            front.require_continue(ask, take)
            await interaction.response.send_modal(ContinueModal(client, take, ask.locale))
            return
        if act == "edit":
            front.require_continue(ask, take)
            await edit_take(client, interaction, take)
            return
    except UserError as error:
        await refuse(interaction, str(error))
        return
    done = {"again": "done.again", "delete": "done.deleted", "send": "done.sent"}.get(act, "")
    async with answering(interaction, done):
        match act:
            case "again":
                await front.again(ask, take)
            case "delete":
                await front.delete(ask, take)
            case "send":
                await front.send_to(ask, take)
            case "details":
                await tell(interaction, details_of(take, ask.locale))
