"""A card as Discord shows it (Components V2), from its face."""

import discord

from bot.discord.buttons import CardButton
from bot.discord.faces import CardFace, Phase
from bot.discord.texts import say

PREVIEW = "preview.jpg"
BAR = 12  # segments
COLOURS = {
    Phase.DRAFT: 0x5865F2, Phase.RENDERING: 0xFEE75C, Phase.JOINING: 0xFEE75C, Phase.UPLOADING: 0xFEE75C,
    Phase.DONE: 0x57F287, Phase.FAILED: 0xED4245,
}  # fmt: skip


def card_view(face: CardFace) -> discord.ui.LayoutView:
    """The message of a card."""
    view = discord.ui.LayoutView(timeout=None)
    box: discord.ui.Container[discord.ui.LayoutView] = discord.ui.Container(accent_colour=COLOURS.get(face.phase))
    box.add_item(discord.ui.TextDisplay(heading(face)))
    view.add_item(box)
    if buttons := buttons_of(face):
        row: discord.ui.ActionRow[discord.ui.LayoutView] = discord.ui.ActionRow()
        for act in buttons:
            row.add_item(CardButton.labelled(act, face.card, face.locale))
        box.add_item(row)
    return view


def heading(face: CardFace) -> str:
    """The first lines."""
    head = say(face.locale, f"card.{face.phase}", title=face.title, take=face.take)
    now = {Phase.FAILED: "stopped.now_what", Phase.QUEUED: "stopped.again", Phase.RENDERING: "stopped.again"}
    after = say(face.locale, now[face.phase]) if face.error and face.phase in now else ""
    return "\n".join(filter(None, [head, *face.notes, face.error, after]))


def buttons_of(face: CardFace) -> tuple[str, ...]:
    """What can be done with a card in its phase."""
    match face.phase:
        case Phase.DRAFT:
            return ("film", "edit", "cancel")
        case Phase.PLANNING:
            return ("cancel",)
        case Phase.QUEUED | Phase.RENDERING:
            return ("cancel", "plan")
        case _:
            return ()
