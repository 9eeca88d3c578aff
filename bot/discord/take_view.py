"""A take in the channel: one line, the film, and its buttons."""

import discord

from bot.discord.buttons import TakeButton
from bot.discord.texts import say
from bot.progress import clock
from storage.schema import Take

ACTS = ("continue", "again", "edit", "details", "delete")


def film_name(take: Take) -> str:
    """The file's name; ours, since titles may hold anything."""
    return f"take-{take.id}.mp4"


def take_text(take: Take, locale: str) -> str:
    """One line on a take."""
    return say(
        locale,
        "take.line",
        take=take.id,
        title=discord.utils.escape_markdown(take.plan.storyboard.title),
        seconds=f"{take.film.seconds:.1f}",
        took=clock(take.film.render_seconds),
    )


def take_view(take: Take, locale: str) -> discord.ui.View:
    """The buttons of a take; they outlive a restart."""
    view = discord.ui.View(timeout=None)
    for act in ACTS:
        view.add_item(TakeButton.labelled(act, take.id, locale))
    return view
