"""The gallery of a channel's takes: pages whose buttons outlive a restart, since what they show is in their id."""

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import discord

from bot.discord.answering import ask_of, refuse, served
from bot.discord.keys import key_of, link_to, number_of
from bot.discord.safe import one_line
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Take

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

A_PAGE = 8  # takes
LONGEST_TITLE = 32  # letters: eight lines, every letter of a title escaped and Discord's longest ids, fit a message
MOST = 400  # takes that are looked through


@dataclass(frozen=True)
class Page:
    """A page of a gallery."""

    order: str  # newest or tree
    channel: int
    person: int  # whose; 0 is everybody's
    number: int  # from 0


def turn_button(page: Page, key: str, locale: str, disabled: bool = False) -> "PageButton":
    """A button that leads to a page."""
    return PageButton(
        page,
        discord.ui.Button(
            label=say(locale, key),
            disabled=disabled,
            custom_id=f"longtake:page:{page.order}:{page.channel}:{page.person}:{page.number}",
        ),
    )


class PageButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"longtake:page:(?P<order>newest|tree):(?P<channel>[0-9]{1,20}):(?P<person>[0-9]{1,20}):(?P<number>[0-9]{1,9})",
):
    """Turn to a page."""

    def __init__(self, page: Page, item: discord.ui.Button[discord.ui.View]) -> None:
        super().__init__(item)
        self.page = page

    @classmethod
    async def from_custom_id(
        cls, _: discord.Interaction, item: discord.ui.Item[discord.ui.View], match: re.Match[str], /
    ) -> Self:
        """A button that somebody pressed, of a gallery of any age."""
        page = Page(match["order"], int(match["channel"]), int(match["person"]), int(match["number"]))
        return cls(page, item)  # type: ignore[arg-type]

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Whether we serve this server at all, also if we did when the button was posted."""
        return await served(interaction)

    async def callback(self, interaction: discord.Interaction) -> None:
        """Show the page instead, to who may still see its channel."""
        client: LongtakeClient = interaction.client  # type: ignore[assignment]
        ask = ask_of(interaction)
        if not client.front.sees(ask, key_of(self.page.channel)):
            await refuse(interaction, say(ask.locale, "error.gallery_closed"))
            return
        text, view = await gallery(client, self.page, ask.locale)
        await interaction.response.edit_message(content=text, view=view)


async def gallery(client: "LongtakeClient", page: Page, locale: str) -> tuple[str, discord.ui.View]:
    """A page of a channel's takes and the buttons to the others."""
    rows = await asyncio.to_thread(_rows, client.studio, page)
    last = max(0, (len(rows) - 1) // A_PAGE)
    page = replace(page, number=min(page.number, last))
    channel = client.get_channel(page.channel)
    guild = getattr(getattr(channel, "guild", None), "id", None)
    shown = rows[page.number * A_PAGE : (page.number + 1) * A_PAGE]
    lines = [_line(client.studio, take, depth, guild) for depth, take in shown]
    head = say(locale, f"gallery.{page.order}", count=len(rows), page=page.number + 1, pages=last + 1)
    view = discord.ui.View(timeout=None)
    if last:
        view.add_item(
            turn_button(replace(page, number=max(0, page.number - 1)), "button.newer", locale, not page.number)
        )
        further = replace(page, number=page.number + 1)
        view.add_item(turn_button(further, "button.older", locale, page.number == last))
    other = replace(page, order="tree" if page.order == "newest" else "newest", number=0)
    view.add_item(turn_button(other, f"button.{other.order}", locale))
    return "\n".join([head, *lines]) if rows else say(locale, "gallery.empty"), view


def _rows(studio: Studio, page: Page) -> list[tuple[int, Take]]:
    channel = key_of(page.channel)
    if page.order == "tree":
        rows = studio.takes.tree(channel)
    else:
        rows = [(0, take) for take in studio.takes.history(channel, MOST)]
    return [(depth, take) for depth, take in rows if not page.person or take.errand.requester == key_of(page.person)]


def _line(studio: Studio, take: Take, depth: int, guild: int | None) -> str:
    message = next(iter(studio.takes.messages(take.id)), None)
    number = f"[{take.id}]({link_to(guild, take.errand.channel, message)})" if message else str(take.id)
    title = one_line(take.plan.storyboard.title, LONGEST_TITLE)
    when, owner = discord.utils.format_dt(take.created, "R"), f"<@{number_of(take.errand.requester)}>"
    kept = " · 📌" if take.pinned else ""
    told = f"**{number}** {title} · {take.film.seconds:.1f} s · {owner} · {when}{kept}"
    return "  " * min(depth, 6) + ("└ " if depth else "") + told
