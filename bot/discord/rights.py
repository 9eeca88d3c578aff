"""Who may do what, where. Every use case asks here, whatever a button or a command still promised."""

import discord

from bot.discord.ask import Ask
from bot.discord.keys import Place, key_of, number_of
from bot.discord.settings import DiscordSettings
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Card, Policy, Take, UserError

GuildPlace = discord.abc.GuildChannel | discord.Thread
NEEDED = ("view_channel", "send_messages", "embed_links", "attach_files", "read_message_history")


class Rights:
    """The rights of askers, and ours."""

    def __init__(self, studio: Studio, settings: DiscordSettings) -> None:
        self.studio = studio
        self.settings = settings

    def policy(self, ask: Ask) -> Policy:
        """What holds where something is asked."""
        ours = {
            "server_queue": self.settings.discord_server_queue or None,
            "server_minutes": self.settings.discord_server_minutes or None,
        }
        return self.decided(ask).model_copy(update=ours if ask.place else {})

    def decided(self, ask: Ask) -> Policy:
        """The part of it that a server decides."""
        default = Policy(approve=self.settings.discord_approve, continue_by="anyone" if ask.place else "owner")
        return self.studio.manners.policy(ask.place, default) if ask.place else default

    def admit(self, ask: Ask) -> Policy:
        """The policy; UserError if nothing may be asked here by this person, or if we could not answer."""
        policy, locale = self.policy(ask), ask.locale
        self.studio.quota.require_welcome(ask.asker_key, policy)
        parent = getattr(ask.channel, "parent_id", None)
        here = {ask.channel_key, *([key_of(parent)] if parent else [])}
        if (policy.channels and not here & set(policy.channels)) or here & set(policy.refused_channels):
            raise UserError(say(locale, "error.channel_refused"))
        roles = {key_of(role) for role in getattr(ask.asker, "roles", ())}
        if policy.roles and not roles & set(policy.roles) and not ask.moderates:
            raise UserError(say(locale, "error.role_missing"))
        if missing := missing_rights(ask.channel):
            raise UserError(say(locale, "error.rights_missing", channel=ask.channel_link, rights=", ".join(missing)))
        return policy

    def admit_request(self, ask: Ask) -> Policy:
        """The same for something that has to be read and planned, of which a person has so many an hour."""
        policy = self.admit(ask)
        self.studio.quota.count_request(ask.asker_key, ask.event, policy)
        return policy

    def require_continue(self, ask: Ask, take: Take) -> None:
        """UserError unless the asker may film on from a take, or film it again, here."""
        self.require_seen(ask, take)
        own = take.errand.requester == ask.asker_key
        if self.policy(ask).continue_by == "owner" and not own and not self.cleans(ask, take.errand.channel):
            raise UserError(say(ask.locale, "error.not_yours_to_continue", take=take.id))

    def require_seen(self, ask: Ask, take: Take) -> None:
        """UserError for a take of a channel that the asker cannot see."""
        if take.errand.channel != ask.channel_key and not self.sees(ask, take.errand.channel):
            raise UserError(say(ask.locale, "error.take_elsewhere", take=take.id))

    def sees(self, ask: Ask, channel: str) -> bool:
        """Whether the asker can see a channel of the server on which is asked. Of a private thread only its
        moderators can be told for sure."""
        if channel == ask.channel_key:
            return True
        place = _place(ask, channel)
        if place is None:
            return False
        may = place.permissions_for(ask.asker)  # type: ignore[arg-type]
        private = isinstance(place, discord.Thread) and place.is_private()
        return may.view_channel and may.read_message_history and (not private or may.manage_threads)

    def cleans(self, ask: Ask, channel: str) -> bool:
        """Whether the asker may clean up after others in a channel of the server on which is asked."""
        if channel == ask.channel_key:
            return ask.moderates
        place = _place(ask, channel)
        if place is None or not isinstance(ask.asker, discord.Member):
            return False
        return place.permissions_for(ask.asker).manage_messages

    def require_own_take(self, ask: Ask, take: Take, act: str) -> None:
        """UserError unless the asker asked for a take, or moderates where it was made."""
        if take.errand.requester != ask.asker_key and not self.cleans(ask, take.errand.channel):
            owner = f"<@{number_of(take.errand.requester)}>"
            raise UserError(say(ask.locale, f"error.not_yours_to_{act}", owner=owner))

    def require_own(self, ask: Ask, card: Card, act: str) -> None:
        """UserError unless the asker may do this to a card. Moderators may where they are."""
        here = card.channel == ask.channel_key
        anyone = here and act == "cancel" and self.policy(ask).cancel_by == "anyone"
        if card.asker != ask.asker_key and not (here and ask.moderates) and not anyone:
            raise UserError(say(ask.locale, f"error.not_yours_to_{act}", owner=f"<@{number_of(card.asker)}>"))


def _place(ask: Ask, channel: str) -> GuildPlace | None:
    """A channel of the server on which is asked."""
    return ask.guild.get_channel_or_thread(number_of(channel)) if ask.guild else None


def missing_rights(channel: Place) -> list[str]:
    """What we lack in a channel, in Discord's words."""
    if isinstance(channel, discord.DMChannel):
        return []
    own = channel.permissions_for(channel.guild.me)
    needed = ["send_messages_in_threads" if n == "send_messages" and isinstance(channel, discord.Thread) else n
              for n in NEEDED]  # fmt: skip
    return [name.replace("_", " ").title() for name in needed if not getattr(own, name)]
