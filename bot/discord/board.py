"""The cards: one message a request, edited in place from the first word to the take, and again after a restart."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import discord

from bot.crew import WorkerFailed
from bot.discord.ask import Ask
from bot.discord.card_view import PREVIEW, alt_text, card_view, shows_preview, window_text
from bot.discord.delivery import Delivery
from bot.discord.faces import CardFace, Phase, face_of
from bot.discord.keys import Place, channel_of, number_of
from bot.discord.log_channel import report
from bot.discord.settings import DiscordSettings
from bot.discord.texts import say
from bot.studio import Studio
from storage.footage import last_frame
from storage.forget import Forgotten
from storage.renders import render_folder, segment_name
from storage.schema import Card, JobState, UserError

log = logging.getLogger(__name__)
CARDS_AT_ONCE = 8  # that are edited or delivered


@dataclass
class Shown:
    """What a card's message shows, and what is told beside the facts."""

    face: CardFace | None = None
    at: float = float("-inf")
    notes: tuple[str, ...] = ()
    phase: Phase | None = None  # told, where the facts say less
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Board:
    """Posts cards, keeps them true, and hands over what is filmed."""

    def __init__(self, client: discord.Client, studio: Studio, settings: DiscordSettings) -> None:
        self._client = client
        self._studio = studio
        self._settings = settings
        self.delivery = Delivery(client, studio, settings)
        self._shown: dict[int, Shown] = defaultdict(Shown)
        self._free = asyncio.Semaphore(CARDS_AT_ONCE)
        self._worker_trouble = ""

    async def open(self, ask: Ask) -> Card:
        """A new card in the channel. UserError if nothing may be posted there."""
        card = self._studio.cards.open(
            Card(
                id=0,
                place=ask.place,
                channel=ask.channel_key,
                asker=ask.asker_key,
                asked=ask.event,
                words=ask.text[:300],
                locale=ask.locale,
                opened=discord.utils.utcnow(),
            )
        )
        face = await asyncio.to_thread(face_of, self._studio, card)
        try:
            message = await self._post(ask.channel, ask.message, face)
        except discord.Forbidden as error:
            self._studio.cards.change(card.id, closed=True)
            raise UserError(say(ask.locale, "error.may_not_post")) from error
        self._shown[card.id].face = face
        return self._studio.cards.change(card.id, message=str(message.id))

    async def _post(self, channel: Place, asked: int | None, face: CardFace) -> discord.Message:
        reference = channel.get_partial_message(asked).to_reference(fail_if_not_exists=False) if asked else None
        return await channel.send(view=card_view(face), reference=reference, mention_author=False)  # type: ignore[arg-type]

    def planning(self, card: int, text: str) -> None:
        """What the director is doing; shown at the next turn of the watch."""
        self._shown[card].notes = (text,)

    async def refresh(self, card: int, notes: tuple[str, ...] | None = None) -> None:
        """Show a card as things stand, now."""
        if notes is not None:
            self._shown[card].notes = notes
        if (known := self._studio.cards.get(card)) is not None:
            await self._show(known, at_once=True)

    async def fail(self, card: int, reason: str) -> None:
        """A request that came to nothing: its card says why, and is settled."""
        if self._studio.cards.get(card) is None:
            return
        self._shown[card].notes = (reason,)
        await self._close(card, Phase.FAILED)

    async def drop(self, card: int) -> None:
        """A request that its asker takes back before it is filmed."""
        self._studio.cards.propose(card, None)
        await self._close(card, Phase.CANCELLED)

    async def _close(self, card: int, phase: Phase) -> None:
        self._studio.cards.change(card, closed=True)
        self._shown[card].phase = phase
        await self.refresh(card)

    async def pause(self) -> None:
        """Say on every open card that filming goes on after the restart."""
        for card in await asyncio.to_thread(self._studio.cards.followed):
            self._shown[card.id].phase = Phase.PAUSED
            await self._show(card, at_once=True)

    async def watch(self) -> None:
        """One turn: every card that changes by itself is made true, and what is filmed is handed over."""
        cards = await asyncio.to_thread(self._studio.cards.followed)
        await asyncio.gather(*(self._follow(card) for card in cards))
        await self._keep_working()

    # ---- inside ----

    async def _follow(self, card: Card) -> None:
        async with self._free:
            try:
                await self._show(card)
                if card.job is not None:
                    await self._post_windows(card)
                    await self._settle(card)
            except UserError as error:
                log.info("card %d is not followed any more: %s", card.id, error)
            except discord.RateLimited:
                log.info("card %d waits for Discord's rate limit", card.id)
            except discord.DiscordServerError:
                log.warning("card %d could not be shown: Discord is in trouble", card.id)

    async def _settle(self, card: Card) -> None:
        """Hand over the take of a job that is done, once; a job that came to nothing is only shown."""
        assert card.job is not None
        shown = self._shown[card.id]
        if shown.lock.locked():
            return
        async with shown.lock:
            job = self._studio.jobs.get(card.job)
            if job.state is JobState.DONE and card.take_message is None:
                await self.delivery.hand_over(card, job)
            if job.state is JobState.FAILED:
                line = say(
                    "en", "log.failed", job=job.id, error=job.error or "", channel=f"<#{number_of(card.channel)}>"
                )
                await report(self._client, self._studio, card.place, line)
            if job.state.final:
                await self._show(self._studio.cards.get(card.id) or card, at_once=True)
                self._studio.cards.change(card.id, closed=True)
                del self._shown[card.id]

    async def _show(self, card: Card, at_once: bool = False) -> None:
        """Edit a card's message if it shows something else: a change of state at once, numbers now and then."""
        if card.message is None:
            return
        shown = self._shown[card.id]
        face = await asyncio.to_thread(face_of, self._studio, card, shown.notes)
        face = replace(face, phase=shown.phase or (Phase.REPLACED if _replaced(card) else face.phase))
        if face.phase is Phase.QUEUED and self._worker_trouble:
            face = replace(face, notes=(*face.notes, self._worker_trouble))
        if face == shown.face:
            return
        told = shown.face is None or (face.phase, face.preview) != (shown.face.phase, shown.face.preview)
        if not (told or at_once or time.monotonic() - shown.at >= self._settings.discord_edit_seconds):
            return
        shown.at = time.monotonic()
        shown.face = await self._edit(card, face, shown.face) or shown.face

    async def _edit(self, card: Card, face: CardFace, before: CardFace | None) -> CardFace | None:
        """Edit a card's message; what it then shows, or None if it cannot be edited any more.

        A picture is sent once: an edit that names no attachments leaves those that are there.
        """
        more: dict[str, list[discord.File]] = {}
        if not shows_preview(face):
            more = {"attachments": []} if before is None or shows_preview(before) else {}
        elif before is None or not shows_preview(before) or before.preview != face.preview:
            picture = await asyncio.to_thread(self._preview, face)
            face = face if picture else replace(face, preview=0)
            more = {
                "attachments": [discord.File(BytesIO(picture), PREVIEW, description=alt_text(face))] if picture else []
            }
        channel = await self.channel(card)
        try:
            if channel is not None and card.message is not None:
                await channel.get_partial_message(int(card.message)).edit(view=card_view(face), **more)  # type: ignore[arg-type]
                return face
        except (discord.NotFound, discord.Forbidden):
            log.info("card %d cannot be shown any more", card.id)
        self._studio.cards.change(card.id, message=None)
        return None

    async def _post_windows(self, card: Card) -> None:
        """Post finished windows as they come, where the server wants that; the last one comes with the film.

        A window is noted before it is sent: after a crash in between it is left out, not sent twice.
        """
        assert card.job is not None
        if not card.place or not self._studio.manners.policy(card.place).post_windows:
            return
        face = await asyncio.to_thread(face_of, self._studio, card)
        for number in range(card.windows_posted + 1, min(face.preview, len(face.windows) - 1) + 1):
            self._studio.cards.change(card.id, windows_posted=number)
            file, channel = self._segment(card.job, number), await self.channel(card)
            if channel is None or not file.is_file():
                continue
            text = window_text(face, face.windows[number - 1])
            name = f"job-{card.job}-{segment_name(number)}"
            try:
                await channel.send(text, file=discord.File(file, name), reference=_reference(channel, card))  # type: ignore[arg-type]
            except discord.HTTPException as error:
                log.info("window %d of card %d cannot be posted: %s", number, card.id, error)

    async def channel(self, card: Card) -> Place | None:
        """Where a card is; None if that is gone or closed to us."""
        return await channel_of(self._client, card.channel)

    async def take_down(self, gone: Forgotten) -> None:
        """Delete the messages of what was forgotten, as far as we may."""
        for card in gone.cards:
            self._shown.pop(card, None)
        for key, message in gone.messages:
            channel = await channel_of(self._client, key)
            if channel is not None:
                with contextlib.suppress(discord.NotFound, discord.Forbidden):
                    await channel.get_partial_message(int(message)).delete()

    def knows(self, card: int) -> bool:
        """Whether a card was shown since the bot was started."""
        return card in self._shown

    async def forget(self, card: Card) -> None:
        """Take a card away whose request is heard anew."""
        self._studio.cards.change(card.id, closed=True)
        channel = await self.channel(card)
        if channel is not None and card.message is not None:
            with contextlib.suppress(discord.NotFound, discord.Forbidden):
                await channel.get_partial_message(int(card.message)).delete()

    def _preview(self, face: CardFace) -> bytes | None:
        """The last frame of the newest finished window as a JPEG; None when its file is gone."""
        if face.job is None:
            return None
        window = self._segment(face.job, face.preview)
        return last_frame(window) if window.is_file() else None

    def _segment(self, job: int, window: int) -> Path:
        return render_folder(self._settings.renders, job) / segment_name(window)

    async def _keep_working(self) -> None:
        """A worker is there while something waits."""
        if not self._settings.workers:
            return
        try:
            if await asyncio.to_thread(self._studio.jobs.queue):
                await asyncio.to_thread(self._studio.ensure_worker)
            self._worker_trouble = ""
        except WorkerFailed as error:
            if str(error) != self._worker_trouble:
                log.error("%s", error)
            self._worker_trouble = str(error)


def _reference(channel: Place, card: Card) -> discord.MessageReference | None:
    """An answer to the card; None where it has no message any more."""
    if card.message is None:
        return None
    return channel.get_partial_message(int(card.message)).to_reference(fail_if_not_exists=False)


def _replaced(card: Card) -> bool:
    return card.closed and card.draft is None and card.job is None
