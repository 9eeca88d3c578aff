"""A take in the channel: one line, the film, and its buttons."""

import discord

from bot.discord.buttons import PressButton
from bot.discord.card_view import LONGEST_TITLE, lineage
from bot.discord.safe import one_line, plain
from bot.discord.texts import say
from bot.progress import clock
from storage.schema import Take

LONGEST_ALT = 1000
ROWS = ("continue", "again", "edit"), ("details", "send", "delete")


def film_name(take: Take) -> str:
    """The file's name; ours, since titles may hold anything."""
    return f"take-{take.id}.mp4"


def take_text(take: Take, locale: str) -> str:
    """One line on a take: title, length, time and descent; a second one if its model is untrained."""
    line = say(
        locale,
        "take.line",
        take=take.id,
        title=one_line(take.plan.storyboard.title, LONGEST_TITLE),
        seconds=f"{take.film.seconds:.1f}",
        took=clock(take.film.render_seconds),
    )
    line = " · ".join(filter(None, (line, lineage(locale, take.errand.parent, take.errand.again_of))))
    return line if take.film.trained else f"{line}\n{say(locale, 'take.untrained')}"


def take_alt(take: Take, locale: str) -> str:
    """What a take shows, for who cannot see it."""
    windows = take.plan.storyboard.windows
    what = "; ".join(beat.action for window in windows for beat in window.beats) or windows[0].scene
    return plain(say(locale, "take.alt", seconds=f"{take.film.seconds:.1f}", what=what), LONGEST_ALT)


def take_view(take: Take, locale: str) -> discord.ui.View:
    """The buttons of a take; they outlive a restart."""
    view = discord.ui.View(timeout=None)
    for row, acts in enumerate(ROWS):
        for act in acts:
            button = PressButton.labelled("take", act, take.id, locale)
            button.row = row
            view.add_item(button)
    return view
