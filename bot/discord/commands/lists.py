"""Commands that look around: /queue and /takes."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import discord

from bot.discord.answering import LONGEST, answering, ask_of, tell
from bot.discord.ask import Ask
from bot.discord.card_view import LONGEST_TITLE
from bot.discord.commands.gallery import Page, gallery
from bot.discord.commands.words import Talk, choices, command
from bot.discord.front import Front
from bot.discord.keys import key_of, number_of
from bot.discord.safe import one_line
from bot.discord.texts import say
from bot.line import Place
from storage.schema import Card, UserError

MOST_JOBS = 20


@command("queue")
async def queue(interaction: Talk) -> None:
    """What is filmed on this server, and what waits."""
    async with answering(interaction):
        ask = ask_of(interaction)
        lines = await asyncio.to_thread(queue_lines, interaction.client.front, ask)
        await tell(interaction, "\n".join(lines)[:LONGEST] or say(ask.locale, "queue.empty"))


@command("takes")
@choices(order=("newest", "tree"))
async def takes(interaction: Talk, order: str = "newest", person: discord.User | None = None) -> None:
    """The takes of a channel, page by page."""
    async with answering(interaction):
        ask = ask_of(interaction)
        page = Page(order, ask.channel.id, person.id if person else 0, 0)
        text, view = await gallery(interaction.client, page, ask.locale)
        await tell(interaction, text, view=view)


def queue_lines(front: Front, ask: Ask) -> list[str]:
    """The jobs of a server, or of a direct message, in the order in which they are filmed. Titles of channels that the
    asker cannot see are not told."""
    studio = front.studio
    places, cards = studio.line().places, studio.cards.following(ask.place)
    here = {job: card for job, card in cards.items() if ask.guild or card.channel == ask.channel_key}
    own = [place for place in places.values() if place.job in here]
    lines: list[str] = []
    for place in own[:MOST_JOBS]:
        with suppress(UserError):  # it is forgotten since
            lines.append(_line(front, ask, here[place.job], place))
    if others := len(places) - len(own):
        lines.append(say(ask.locale, "queue.others", count=others))
    return lines


def _line(front: Front, ask: Ask, card: Card, place: Place) -> str:
    job, locale, ends = front.studio.jobs.get(place.job), ask.locale, place.estimate.ends
    when = ""
    if ends is not None:
        then = discord.utils.format_dt(discord.utils.utcnow() + timedelta(seconds=ends), "R")
        when = say(locale, "queue.ends", when=then)
    if place.number is None:
        windows, progress = len(job.plan.windows), job.progress
        where = say(locale, "queue.running", window=progress.window if progress else 1, windows=windows)
    else:
        where = say(locale, "queue.waits", place=place.number)
    title = say(locale, "queue.elsewhere")
    if front.sees(ask, card.channel):
        title = f"**{one_line(job.plan.storyboard.title, LONGEST_TITLE)}** <#{number_of(card.channel)}>"
    own = " ⭐" if card.asker == key_of(ask.asker) else ""
    return f"{where} · {title}{own}{when}"


COMMANDS = (queue, takes)
