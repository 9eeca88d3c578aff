"""The finished film in the channel: small enough for it, once, whatever happens in between.

How small: a boosted server's own limit, which the library knows, or LONGTAKE_DISCORD_UPLOAD_MIB everywhere else. The
library's number for a server without boosts is not used: Discord is moving it (10 MiB, here and there 20), so the
owner of the bot says it. An upload that is refused all the same is made smaller once; then a still stands for the film.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import discord

from bot.discord.keys import Place, channel_of, is_restricted, key_of, number_of, reference_to
from bot.discord.ours import found
from bot.discord.settings import DiscordSettings
from bot.discord.take_view import film_name, take_alt, take_text, take_view
from bot.discord.texts import say
from bot.shrink import Copies
from bot.studio import Studio
from storage.footage import first_frame
from storage.schema import Card, Job, Take, UserError

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

log = logging.getLogger(__name__)
SEEDED = ("🔁", "▶️")
MIB = 2**20
TABLE_SHARE = 0.98  # of a boosted server's limit: what is around the file counts as well
SMALLER = 0.7  # of what was refused
TOO_LARGE = 40005
NO_REFERENCE = (160002, 50035)  # an answer is not allowed, or not to that message
REFUSED = (400, 403, 404)  # what trying again will not change
LONG_SECONDS = 60.0  # nobody waits for so long; a mention calls them back


@dataclass(frozen=True)
class Parcel:
    """A take on its way to a channel."""

    take: Take
    locale: str
    text: str
    most_bytes: int
    reference: discord.MessageReference | None = None
    called: int | None = None  # who is mentioned, by Discord's number
    nonce: str | None = None  # Discord sends none twice within a few minutes


class Delivery:
    """Posts takes."""

    def __init__(self, client: "LongtakeClient", studio: Studio, settings: DiscordSettings) -> None:
        self._client = client
        self._studio = studio
        self._settings = settings
        self.copies = Copies(studio.media, settings.data_dir / "copies")

    async def hand_over(self, card: Card, job: Job) -> None:
        """Post the take that a card's job left once, and note which message shows it. Where nothing may be posted, its
        asker gets it by direct message. What Discord cannot do just now is raised: to try again later is safe."""
        take = await asyncio.to_thread(self._studio.takes.made_by, job.id)
        if take is None:
            raise UserError(say(card.locale, "take.lost"))
        if shown := self._studio.takes.messages(take.id):  # noted, and killed before the card was
            self._studio.cards.change(card.id, take_message=shown[-1])
            return
        since = self._studio.cards.begin_sending(card.id)
        channel = await channel_of(self._client, card.channel)
        message = await self._post(card, job, take, channel, since) if channel else None
        if message is None:
            message = await self._by_dm(card, take, channel, since)
        if message is not None:
            try:
                self._studio.takes.post(take.id, str(message.id), key_of(message.channel))
            except UserError:  # forgotten while it was being sent: nobody could find it here any more
                await message.delete()
                return
            self._studio.cards.change(card.id, take_message=str(message.id))
            self._client.hearing.noted(message.id)
            log.info("take %d is posted", take.id)
            await _seed(message)

    async def show(self, channel: Place, take: Take, locale: str, most_bytes: int | None = None) -> discord.Message:
        """Post a take once more, in any channel; an interaction knows how large a file may be there."""
        most = most_bytes or self.limit_of(channel)
        message = await self._send(channel, Parcel(take, locale, take_text(take, locale), most))
        self._studio.takes.post(take.id, str(message.id), key_of(channel))
        self._client.hearing.noted(message.id)
        return message

    async def send_to(self, person: discord.User | discord.Member, take: Take, locale: str) -> discord.Message:
        """Send a take by direct message."""
        file = await self.copies.fitting(take, self.limit_of(None))
        if file is None:
            raise UserError(say(locale, "sent.too_long", take=take.id))
        try:
            return await person.send(say(locale, "sent.by_dm", take=take.id), file=_film(file, take, None, locale))
        except discord.Forbidden as error:
            raise UserError(say(locale, "sent.closed", take=take.id)) from error

    def limit_of(self, channel: Place | None) -> int:
        """The most bytes of a file in a channel; None is a direct message."""
        guild = None if channel is None or isinstance(channel, discord.DMChannel) else channel.guild
        if guild and guild.filesize_limit > discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES:
            return round(TABLE_SHARE * guild.filesize_limit)
        return round(self._settings.discord_upload_mib * MIB)

    # ---- inside ----

    async def _post(
        self, card: Card, job: Job, take: Take, channel: Place, since: datetime | None
    ) -> discord.Message | None:
        """The message in the channel that shows a take; one that was sent `since` then, if there is one. None if it may
        not be there. NOTE: what was on its way when we were killed may arrive after we looked; the nonce stops that."""
        try:
            if since and (before := await found(channel, "take", take.id, since)):
                return before
            return await self._send(channel, self._parcel(card, job, take, channel))
        except discord.HTTPException as error:
            if error.status not in REFUSED:
                raise
            log.info("take %d may not be posted: %s", take.id, error)
            return None

    def _parcel(self, card: Card, job: Job, take: Take, channel: Place) -> Parcel:
        """The film below what asked for it. Who waited long is called back, unless they do not want to be."""
        kind, _, number = card.asked.partition(":")
        waited = (job.finished - job.created).total_seconds() if job.finished else 0.0
        long = max(waited, take.film.render_seconds) > LONG_SECONDS
        called = number_of(card.asker) if long and self._studio.manners.person(card.asker).notify else None
        text = take_text(take, card.locale)
        return Parcel(
            take=take,
            locale=card.locale,
            text=f"<@{called}> {text}" if called else text,
            most_bytes=self.limit_of(channel),
            reference=reference_to(channel, number if kind == "message" else None),
            called=called,
            nonce=f"take-{take.id}-{int(take.created.timestamp())}"[:25],
        )

    async def _send(self, channel: Place, parcel: Parcel) -> discord.Message:
        """Send the film; smaller if that is refused; at last a still."""
        most, take = parcel.most_bytes, parcel.take
        for _ in range(2):
            file = await self.copies.fitting(take, most)
            if file is None:
                break
            try:
                film = partial(_film, file, take, channel, parcel.locale)
                return await _sent(channel, parcel, parcel.text, film)
            except discord.HTTPException as error:
                if error.status != 413 and error.code != TOO_LARGE:
                    raise
            size = file.stat().st_size
            log.warning("take %d was refused with %d bytes", take.id, size)
            most = min(round(SMALLER * size), self.limit_of(None))
        text = f"{parcel.text}\n{say(parcel.locale, 'take.too_long')}"
        still = await asyncio.to_thread(first_frame, self._studio.media.path(take.film.video))
        alt = say(parcel.locale, "take.still_alt", take=take.id, title=take.plan.storyboard.title)[:1000]
        return await _sent(
            channel,
            parcel,
            text,
            lambda: discord.File(
                BytesIO(still), f"take-{take.id}.jpg", spoiler=_hidden(take, channel), description=alt
            ),
        )

    async def _by_dm(
        self, card: Card, take: Take, channel: Place | None, since: datetime | None
    ) -> discord.Message | None:
        """The film for its asker alone, and a word in the channel if words are allowed there."""
        said, message = "take.sent_by_dm", None
        try:
            person = await self._client.fetch_user(number_of(card.asker))
            if since:
                message = await found(await person.create_dm(), "take", take.id, since, film_name(take))
            message = message or await self.send_to(person, take, card.locale)
        except (discord.NotFound, discord.Forbidden, UserError) as error:
            log.info("take %d is kept, and nobody got it: %s", take.id, error)
            said = "take.kept"
        if channel is None:
            return message
        text = f"{take_text(take, card.locale)}\n{say(card.locale, said, take=take.id)}"
        try:
            return await channel.send(text, view=take_view(take, card.locale))
        except (discord.Forbidden, discord.NotFound):
            return message


async def _sent(channel: Place, parcel: Parcel, text: str, file: Callable[[], discord.File]) -> discord.Message:
    """One message with a file; an answer if that is possible."""
    called = [discord.Object(parcel.called)] if parcel.called else False
    mentions = discord.AllowedMentions(everyone=False, roles=False, replied_user=False, users=called)
    for reference in (parcel.reference, None):
        try:
            return await channel.send(
                text,
                file=file(),
                view=take_view(parcel.take, parcel.locale),
                allowed_mentions=mentions,
                nonce=parcel.nonce,  # type: ignore[arg-type]
                reference=reference,  # type: ignore[arg-type]
            )
        except discord.HTTPException as error:
            if reference is None or error.code not in NO_REFERENCE:
                raise
    raise AssertionError("the last try returns or raises")


def _film(file: Path, take: Take, channel: Place | None, locale: str) -> discord.File:
    """A take's video, as it is sent."""
    return discord.File(file, film_name(take), spoiler=_hidden(take, channel), description=take_alt(take, locale))


def _hidden(take: Take, channel: Place | None) -> bool:
    """Whether a take is put behind a spoiler: it is for adults, and the channel is for everybody."""
    return take.errand.restricted and not is_restricted(channel)


async def _seed(message: discord.Message) -> None:
    """The two reactions that people use most, ready to be pressed."""
    for emoji in SEEDED:
        try:
            await message.add_reaction(emoji)
        except (discord.HTTPException, discord.RateLimited) as error:
            log.info("message %d got no %s: %s", message.id, emoji, error)
            return
