"""Commands on oneself: /me, /privacy, /mydata, /help."""

import asyncio
import json
from io import BytesIO
from typing import Any

import discord
from discord import app_commands

from bot.discord.answering import answering, ask_of, tell
from bot.discord.commands.pick import styles
from bot.discord.commands.words import Talk, command, phrase
from bot.discord.export import export_of
from bot.discord.safe import one_line
from bot.discord.texts import say
from storage.schema import Person, UserError

mydata = app_commands.Group(name=phrase("command.mydata.name"), description=phrase("command.mydata.description"))


@command("me")
@app_commands.autocomplete(style=styles)
async def me(
    interaction: Talk,
    approve: bool | None = None,
    style: str | None = None,
    seconds: app_commands.Range[float, 1.0, 600.0] | None = None,
    notify: bool | None = None,
    reset: bool = False,
) -> None:
    """What a person had and may have, and their defaults, which this also sets."""
    async with answering(interaction):
        ask, studio = ask_of(interaction), interaction.client.studio
        policy, key = interaction.client.front.policy(ask), ask.asker_key
        if style is not None and style not in {known.name for known in policy.styles}:
            raise UserError(say(ask.locale, "error.no_style", style=one_line(style, 40)))
        given = {"approve": approve, "style": style, "seconds": seconds, "notify": notify}
        told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        before = Person() if reset else studio.manners.person(key)
        wants = Person.model_validate({**before.model_dump(), **told})
        if wants != before or reset:
            studio.manners.keep_person(key, wants)
        used, frees = studio.quota.used_minutes(key), studio.quota.frees(key)
        lines = [
            say(ask.locale, "me.used", used=f"{used:.1f}", limit=f"{policy.minutes_per_day:g}",
                left=f"{max(0.0, policy.minutes_per_day - used):.1f}"),
            *([say(ask.locale, "me.frees", when=discord.utils.format_dt(frees, "R"))] if frees else []),
            say(ask.locale, "me.waiting", waiting=studio.quota.waiting(key), limit=policy.queue_per_person),
            say(ask.locale, "me.keeps", kept=len(studio.takes.pinned_by(key)), limit=studio.settings.max_pins),
            *defaults_of(wants, ask.locale),
        ]  # fmt: skip
        await tell(interaction, "\n".join(lines))


@command("privacy")
async def privacy(interaction: Talk) -> None:
    """What is stored, why, and for how long."""
    async with answering(interaction):
        locale, days = str(interaction.locale), interaction.client.settings.retention_days
        kept = say(locale, "privacy.days", days=days) if days else say(locale, "privacy.kept")
        await tell(interaction, say(locale, "privacy.text", kept=kept))


@command("mydata.export", mydata)
async def export(interaction: Talk) -> None:
    """Everything that is stored of a person, as a file."""
    async with answering(interaction):
        ask = ask_of(interaction)
        told = await asyncio.to_thread(export_of, interaction.client.studio, ask.asker_key)
        data = BytesIO(json.dumps(told, indent=1, ensure_ascii=False).encode())
        await tell(interaction, say(ask.locale, "mydata.export"), file=discord.File(data, "longtake-my-data.json"))


@command("mydata.delete", mydata)
async def delete(interaction: Talk, sure: bool) -> None:
    """Delete everything that is stored of a person."""
    async with answering(interaction):
        ask, client = ask_of(interaction), interaction.client
        if not sure:
            raise UserError(say(ask.locale, "mydata.not_sure"))
        gone = await client.front.forget(ask)
        lines = [say(ask.locale, "mydata.deleted", takes=len(gone.takes), cards=len(gone.cards), files=gone.files)]
        if gone.continued or gone.kept_files:
            numbers = ", ".join(map(str, gone.continued)) or "-"
            lines.append(say(ask.locale, "mydata.kept", takes=numbers, files=gone.kept_files))
        if client.front.banned_anywhere(ask.asker_key):
            lines.append(say(ask.locale, "mydata.ban_kept"))
        await tell(interaction, "\n".join(lines))
        client.do(client.board.take_down(gone))


@command("help")
async def help_(interaction: Talk) -> None:
    """What can be done, in short."""
    async with answering(interaction):
        locale = str(interaction.locale)
        user = interaction.client.user
        await tell(interaction, say(locale, "help.text", bot=user.mention if user else "@Longtake"))


def defaults_of(wants: Person, locale: str) -> list[str]:
    """A person's defaults in sentences."""
    words = {True: "me.yes", False: "me.no", None: "me.as_here"}
    return [
        say(
            locale,
            "me.defaults",
            approve=say(locale, words[wants.approve]),
            style=one_line(wants.style, 40) if wants.style else say(locale, "me.none"),
            seconds=f"{wants.seconds:g}" if wants.seconds else say(locale, "me.none"),
            notify=say(locale, words[wants.notify]),
        )
    ]


COMMANDS = (me, privacy, help_, mydata)
