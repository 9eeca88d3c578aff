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
    """One line on a take: title, length, time and descent; more for what a person would wonder about."""
    line = say(
        locale,
        "take.line",
        take=take.id,
        title=one_line(take.plan.storyboard.title, LONGEST_TITLE),
        seconds=f"{take.film.seconds:.1f}",
        took=clock(take.film.render_seconds),
    )
    line = " · ".join(filter(None, (line, lineage(locale, take.errand.parent, take.errand.again_of))))
    windows = len(take.plan.windows)
    lines = [line]
    if take.missing_windows:
        lines.append(say(locale, "take.partial", windows=windows, all=windows + take.missing_windows))
    if take.film.short_of_memory:
        lines.append(say(locale, "take.short_of_memory"))
    if not take.film.trained:
        lines.append(say(locale, "take.untrained"))
    return "\n".join(lines)


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
