"""/longtake: what the owners of a server decide. Discord shows it to who may manage the server, and we check it."""

import asyncio

import discord
from discord import app_commands

from bot.discord.answering import answering, ask_of, tell
from bot.discord.commands.pick import loras
from bot.discord.commands.policy import change, require_manager, told, with_key, without_key
from bot.discord.commands.words import Talk, choices, command, phrase
from bot.discord.keys import key_of
from bot.discord.log_channel import report
from bot.discord.texts import say
from storage.schema import Style, UserError

Channel = app_commands.AppCommandChannel | app_commands.AppCommandThread
MOST_STYLES = 25

longtake = app_commands.Group(
    name=phrase("command.longtake.name"),
    description=phrase("command.longtake.description"),
    allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
    default_permissions=discord.Permissions(manage_guild=True),
)


def _group(name: str) -> app_commands.Group:
    path = f"command.longtake.{name}"
    return app_commands.Group(name=phrase(f"{path}.name"), description=phrase(f"{path}.description"), parent=longtake)


channels, roles, styles_ = _group("channels"), _group("roles"), _group("styles")
who_may = _group("who-may")


@command("longtake.status", longtake)
async def status(interaction: Talk) -> None:
    """The queue, the workers, and what holds here."""
    async with answering(interaction):
        require_manager(interaction)
        ask, studio = ask_of(interaction), interaction.client.studio
        (running, queued), workers = await asyncio.to_thread(lambda: (studio.jobs.counts(), studio.workers.alive()))
        line = say(ask.locale, "status.line", running=running, waiting=queued, workers=len(workers))
        await tell(interaction, "\n".join([line, *told(interaction.client.front.policy(ask), ask.locale)]))


@command("longtake.channels.allow", channels)
async def allow_channel(interaction: Talk, channel: Channel) -> None:
    """Film in this channel; once one is allowed, in no other."""
    key = key_of(channel)
    await change(
        interaction,
        lambda p: {
            "channels": with_key(p.channels, key),
            "refused_channels": without_key(p.refused_channels, key),
        },
    )


@command("longtake.channels.deny", channels)
async def deny_channel(interaction: Talk, channel: Channel) -> None:
    """Do not film in this channel."""
    key = key_of(channel)
    await change(
        interaction,
        lambda p: {
            "refused_channels": with_key(p.refused_channels, key),
            "channels": without_key(p.channels, key),
        },
    )


@command("longtake.channels.clear", channels)
async def clear_channels(interaction: Talk) -> None:
    """Film in every channel."""
    await change(interaction, lambda _: {"channels": (), "refused_channels": ()})


@command("longtake.roles.allow", roles)
async def allow_role(interaction: Talk, role: discord.Role) -> None:
    """People of this role may ask for films; once one is allowed, nobody else may."""
    await change(interaction, lambda p: {"roles": with_key(p.roles, key_of(role))})


@command("longtake.roles.clear", roles)
async def clear_roles(interaction: Talk) -> None:
    """Everybody may ask for films."""
    await change(interaction, lambda _: {"roles": ()})


@command("longtake.limits", longtake)
async def limits(
    interaction: Talk,
    waiting: app_commands.Range[int, 1, 50] | None = None,
    minutes: app_commands.Range[float, 0.1, 1440.0] | None = None,
    seconds: app_commands.Range[float, 1.0, 3600.0] | None = None,
    requests: app_commands.Range[int, 1, 1000] | None = None,
) -> None:
    """How much a person may ask for."""
    given = {
        "queue_per_person": waiting,
        "minutes_per_day": minutes,
        "max_seconds": seconds,
        "requests_per_hour": requests,
    }
    await change(interaction, lambda _: {name: value for name, value in given.items() if value is not None})


@command("longtake.styles.add", styles_)
@app_commands.autocomplete(lora=loras)
async def add_style(
    interaction: Talk,
    name: app_commands.Range[str, 1, 32],
    words: app_commands.Range[str, 1, 300],
    lora: app_commands.Range[str, 1, 100] | None = None,
) -> None:
    """A style: words that are added to a story, and a LoRA of the library."""

    def added(known: tuple[Style, ...]) -> tuple[Style, ...]:
        others = tuple(style for style in known if style.name != name)
        if len(others) >= MOST_STYLES:
            raise UserError(say(str(interaction.locale), "error.too_many_styles", most=MOST_STYLES))
        found = interaction.client.studio.library.find(lora).name if lora else ""
        return (*others, Style(name=name, words=words, lora=found))

    await change(interaction, lambda p: {"styles": added(p.styles)})


@command("longtake.styles.remove", styles_)
async def remove_style(interaction: Talk, name: str) -> None:
    """Forget a style."""
    await change(interaction, lambda p: {"styles": tuple(style for style in p.styles if style.name != name)})


@command("longtake.restricted", longtake)
@choices(policy=("refuse", "spoiler"))
async def restricted(interaction: Talk, policy: str) -> None:
    """What happens outside age-restricted channels to what belongs into them."""
    await change(interaction, lambda _: {"restricted": policy})


@command("longtake.who-may.continue", who_may)
@choices(who=("anyone", "owner"))
async def who_continues(interaction: Talk, who: str) -> None:
    """Who may continue a take or film it again."""
    await change(interaction, lambda _: {"continue_by": who})


@command("longtake.who-may.cancel", who_may)
@choices(who=("owner", "anyone"))
async def who_cancels(interaction: Talk, who: str) -> None:
    """Who may cancel a film; moderators always may."""
    await change(interaction, lambda _: {"cancel_by": who})


@command("longtake.ban", longtake)
async def ban(interaction: Talk, person: discord.User) -> None:
    """This person may not ask for films."""
    await change(interaction, lambda p: {"banned": with_key(p.banned, key_of(person))})


@command("longtake.unban", longtake)
async def unban(interaction: Talk, person: discord.User) -> None:
    """This person may ask for films again."""
    await change(interaction, lambda p: {"banned": without_key(p.banned, key_of(person))})


@command("longtake.pause", longtake)
async def pause(interaction: Talk) -> None:
    """Take no new films for a while; what is queued is filmed."""
    await change(interaction, lambda _: {"paused": True})


@command("longtake.resume", longtake)
async def resume(interaction: Talk) -> None:
    """Take new films again."""
    await change(interaction, lambda _: {"paused": False})


@command("longtake.approve", longtake)
async def approve(interaction: Talk, wanted: bool) -> None:
    """Whether plans are shown before they are filmed."""
    await change(interaction, lambda _: {"approve": wanted})


@command("longtake.post-windows", longtake)
async def post_windows(interaction: Talk, wanted: bool) -> None:
    """Whether every finished window is posted as it comes."""
    await change(interaction, lambda _: {"post_windows": wanted})


@command("longtake.log-channel", longtake)
async def log_channel(interaction: Talk, channel: discord.TextChannel | None = None) -> None:
    """Where troubles and changes of these settings are reported; without a channel nowhere."""
    await change(interaction, lambda _: {"log_channel": key_of(channel) if channel else None})


@command("longtake.purge", longtake)
async def purge(interaction: Talk, days: app_commands.Range[int, 0, 3650], sure: bool) -> None:
    """Delete the server's films and requests that are older than so many days."""
    async with answering(interaction):
        require_manager(interaction)
        ask, client = ask_of(interaction), interaction.client
        if not sure:
            raise UserError(say(ask.locale, "mydata.not_sure"))
        gone = await asyncio.to_thread(client.studio.forget.older_than, days * 86400.0, ask.place)
        line = say(ask.locale, "mydata.deleted", takes=len(gone.takes), cards=len(gone.cards), files=gone.files)
        await tell(interaction, line)
        await report(client, client.studio, ask.place, f"{interaction.user.mention}: {line}")
        client.do(client.board.take_down(gone))


COMMANDS = (longtake,)
