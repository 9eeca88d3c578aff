"""The finished film in the channel: small enough for it, once, whatever happens in between."""

import asyncio
import logging

import discord

from bot.discord.keys import Place, channel_of, is_restricted, key_of
from bot.discord.settings import DiscordSettings
from bot.discord.take_view import film_name, take_text, take_view
from bot.discord.texts import say
from bot.studio import Studio
from storage.media import Media
from storage.schema import Card, Job, Take

log = logging.getLogger(__name__)


class Delivery:
    """Posts takes."""

    def __init__(self, client: discord.Client, studio: Studio, settings: DiscordSettings) -> None:
        self._client = client
        self._studio = studio
        self._settings = settings

    async def hand_over(self, card: Card, job: Job) -> None:
        """Post the take of a card's job, and note which message shows it."""
        assert job.take is not None
        take = await asyncio.to_thread(self._studio.takes.get, job.take)
        channel = await channel_of(self._client, card.channel)
        message = await channel.send(  # type: ignore[union-attr]
            take_text(take, card.locale),
            file=_film(self._studio.media, take, channel),
            view=take_view(take, card.locale),
        )
        self._studio.takes.post(take.id, str(message.id))
        self._studio.cards.change(card.id, take_message=str(message.id))

    async def send_to(self, person: discord.User | discord.Member, take: Take, locale: str) -> None:
        """Send a take by direct message."""
        video = self._studio.media.path(take.film.video)
        await person.send(say(locale, "sent.by_dm", take=take.id), file=discord.File(video, film_name(take)))

    async def show(self, channel: Place, take: Take, locale: str) -> None:
        """Post a take once more, in any channel."""
        message = await channel.send(
            take_text(take, locale),
            file=_film(self._studio.media, take, channel),
            view=take_view(take, locale),
        )
        self._studio.takes.post(take.id, str(message.id), key_of(channel))


def _film(media: Media, take: Take, channel: Place | None) -> discord.File:
    """A take's video; behind a spoiler if it is for adults and the channel is for everybody."""
    hidden = take.errand.restricted and not is_restricted(channel)
    return discord.File(media.path(take.film.video), film_name(take), spoiler=hidden)
