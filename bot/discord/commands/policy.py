"""How a policy is changed and told."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.discord.answering import answering, ask_of, tell
from bot.discord.commands.words import Talk
from bot.discord.keys import number_of
from bot.discord.log_channel import report
from bot.discord.safe import one_line
from bot.discord.texts import say
from storage.schema import Policy, UserError

Changed = Callable[[Policy], Mapping[str, Any]]


def require_manager(interaction: Talk) -> None:
    """UserError for who may not manage the server. Discord shows the commands to whom a server's admins like."""
    if interaction.guild is None or not interaction.permissions.manage_guild:
        raise UserError(say(str(interaction.locale), "error.not_a_manager"))


def with_key(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    """A list that has a key, once."""
    return tuple(dict.fromkeys((*keys, key)))


def without_key(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    """A list that has not."""
    return tuple(other for other in keys if other != key)


async def change(interaction: Talk, changed: Changed) -> None:
    """Change a server's policy, and tell what holds now."""
    async with answering(interaction):
        require_manager(interaction)
        ask, manners = ask_of(interaction), interaction.client.studio.manners
        before = interaction.client.front.policy(ask)
        policy = Policy.model_validate({**before.model_dump(), **changed(before)})
        manners.keep_policy(ask.place, policy)
        lines = told(policy, ask.locale)
        await tell(interaction, "\n".join(lines))
        news = [line for line in lines if line not in told(before, ask.locale)]
        if news:
            await report(
                interaction.client,
                interaction.client.studio,
                ask.place,
                f"{interaction.user.mention}: {' '.join(news)}",
            )


def told(policy: Policy, locale: str) -> list[str]:
    """A policy in sentences."""

    def listed(keys: tuple[str, ...], mark: str) -> str:
        return ", ".join(f"<{mark}{number_of(key)}>" for key in keys) or say(locale, "policy.all")

    def switch(on: bool) -> str:
        return say(locale, "policy.on" if on else "policy.off")

    seconds = f"{policy.max_seconds:g} s" if policy.max_seconds else say(locale, "policy.studio")
    names = ", ".join(one_line(f"{s.name} ({s.lora})" if s.lora else s.name, 140) for s in policy.styles)
    lines = [
        say(locale, "policy.channels", channels=listed(policy.channels, "#")),
        say(locale, "policy.roles", roles=listed(policy.roles, "@&")),
        say(locale, "policy.limits", waiting=policy.queue_per_person, minutes=f"{policy.minutes_per_day:g}",
            seconds=seconds),
        say(locale, "policy.who", who_continues=say(locale, f"choice.who.{policy.continue_by}"),
            who_cancels=say(locale, f"choice.who.{policy.cancel_by}")),
        say(locale, "policy.restricted", what=say(locale, f"choice.policy.{policy.restricted}")),
        say(locale, "policy.switches", approve=switch(policy.approve), windows=switch(policy.post_windows)),
        say(locale, "policy.styles", styles=names or "-"),
    ]  # fmt: skip
    if policy.refused_channels:
        lines.append(say(locale, "policy.refused", channels=listed(policy.refused_channels, "#")))
    if policy.banned:
        lines.append(say(locale, "policy.banned", people=listed(policy.banned, "@")))
    if policy.log_channel:
        lines.append(say(locale, "policy.log", channel=listed((policy.log_channel,), "#")))
    if policy.paused:
        lines.append(say(locale, "policy.paused"))
    return lines
