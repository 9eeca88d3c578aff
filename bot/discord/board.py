"""The cards: one message a request, edited in place from the first word to the take, and again after a restart."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING

import discord

from bot.discord.ask import Ask
from bot.discord.card_view import PREVIEW, alt_text, card_view, shows_preview
from bot.discord.delivery import Delivery
from bot.discord.faces import CardFace, Phase, Preview, face_of, waits, waits_at
from bot.discord.keys import Place, channel_of, number_of
from bot.discord.log_channel import report
from bot.discord.opening import Opening
from bot.discord.rest import TROUBLE, Rest
from bot.discord.settings import DiscordSettings
from bot.discord.shift import Shift
from bot.discord.texts import say
from bot.discord.windows import picture_of, post_windows
from bot.line import Line
from bot.studio import Studio
from storage.database import Unreadable
from storage.forget import Forgotten
from storage.logs import about
from storage.schema import Card, Job, JobState, UserError

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

log = logging.getLogger(__name__)
CARDS_AT_ONCE, UPLOADS_AT_ONCE = 16, 3
MOST_SHOWN = 2000  # cards at rest of which it is remembered what they show; any other is edited once more, in vain
DRAWN_SECONDS = 15.0  # at least, between two pictures of windows under way on one card: each is an upload
PAUSE_SECONDS = 2.5  # that saying so may take, of the few that a process has after SIGTERM


@dataclass
class Shown:
    """What a card's message shows, and what is told beside the facts."""

    face: CardFace | None = None
    at: float = float("-inf")
    pictured: float = float("-inf")  # when a picture was sent last
    notes: tuple[str, ...] = ()
    paused: bool = False
    stirred: bool = False  # something happened to its job that it may not show yet
    shows: Rest = field(default_factory=Rest)
    hands: Rest = field(default_factory=Rest)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # edits come one after the other


class Board:
    """Posts cards, keeps them true, and hands over what is filmed."""

    def __init__(self, client: "LongtakeClient", studio: Studio, settings: DiscordSettings) -> None:
        self._client = client
        self._studio = studio
        self.opening = Opening(client, studio)
        self.delivery = Delivery(client, studio, settings)
        self._shown: dict[int, Shown] = defaultdict(Shown)
        self._owed: set[int] = set()  # cards that do not show yet what they should
        self._followed: dict[int, asyncio.Task[None]] = {}
        self._shows = asyncio.Semaphore(CARDS_AT_ONCE)
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._shift = Shift(studio, settings.workers > 0)
        self._first = settings.discord_edit_seconds
        self._event: int | None = None  # the newest one of jobs that was looked at

    async def open(self, ask: Ask) -> Card:
        """The card of what is asked, in the channel: a new one, or the one that an earlier try or life opened for it.
        UserError if nothing may be posted there."""
        card, face = await self.opening.open(ask)
        if face is not None:
            self._shown[card.id].face = face
        return card

    async def abandon(self, event: str) -> None:
        """Take away the card of an event that wants no film after all."""
        if (card := self.opening.begun(event)) is not None:
            await self.forget(card)

    def planning(self, card: int, text: str) -> None:
        """What the director is doing; shown at the next turn of the watch."""
        self._shown[card].notes = (text,)

    async def refresh(self, card: int, notes: tuple[str, ...] | None = None) -> None:
        """Show a card as things stand, now."""
        if notes is not None:
            self._shown[card].notes = notes
        self.owe(card)
        if (known := self._studio.cards.get(card)) is not None:
            await self._shown[card].shows.attempt(self._show(known, at_once=True), self._first)

    def owe(self, card: int) -> None:
        """Have the watch show a card at its next turn, unless it is shown before; also a card that is not followed."""
        self._owed.add(card)

    async def fail(self, card: int, reason: str) -> None:
        """A request that came to nothing: its card says why, and is settled."""
        if self._studio.cards.get(card) is None:
            return
        self._studio.cards.change(card, closed=True, outcome="failed", reason=reason)
        await self.refresh(card)

    async def drop(self, card: int) -> None:
        """A request that its asker takes back before it is filmed."""
        self._studio.cards.change(card, closed=True, outcome="cancelled")
        self._studio.cards.propose(card, None)
        await self.refresh(card)

    async def pause(self) -> None:
        """Follow nothing any more, and say on every open card that it goes on after the restart."""
        self.stop()

        async def tell(card: Card) -> None:
            self._shown[card.id].paused = True
            with contextlib.suppress(*TROUBLE):
                await self._show(card, at_once=True)

        told = [asyncio.ensure_future(tell(card)) for card in await asyncio.to_thread(self._studio.cards.followed)]
        if told:
            _, late = await asyncio.wait(told, timeout=PAUSE_SECONDS)
            for task in late:
                task.cancel()

    def stop(self) -> None:
        """Follow nothing any more."""
        for task in self._followed.values():
            task.cancel()

    async def watch(self) -> None:
        """One turn: every card that changes by itself is made true, and what is filmed is handed over. A card that is
        not done with its last turn, since an upload takes its time, holds up no other one."""
        stirred, self._event = await asyncio.to_thread(self._studio.jobs.happened, self._event)
        changing = await asyncio.to_thread(self._changing)
        for card in changing:
            self._shown[card.id].stirred |= card.job in stirred
        kept = {card.id for card in changing} | self._followed.keys()
        for forgotten in [number for number in self._shown if number not in kept][:-MOST_SHOWN]:
            del self._shown[forgotten]
        cards = [card for card in changing if card.id not in self._followed]
        line = await asyncio.to_thread(self._studio.line) if any(card.job is not None for card in cards) else None
        for card in [card for card in cards if not self._waits(card, line)]:
            task = asyncio.ensure_future(self._follow(card, line))
            self._followed[card.id] = task
            task.add_done_callback(lambda _, number=card.id: self._followed.pop(number))  # type: ignore[misc]
        await self._shift.keep()

    # ---- inside ----

    def _changing(self) -> list[Card]:
        """The cards that change by themselves, and those that are owed an edit."""
        cards = {card.id: card for card in self._studio.cards.followed()}
        for number in self._owed - cards.keys():
            if (card := self._studio.cards.get(number)) is not None:
                cards[number] = card
            else:  # it is forgotten
                self._owed.discard(number)
        return list(cards.values())

    def _waits(self, card: Card, line: Line | None) -> bool:
        """Whether a card shows that its film waits where it waits, or did so a moment ago: nothing is to be done."""
        shown = self._shown[card.id]
        place = line.places.get(card.job) if line and card.job is not None else None
        troubled = shown.shows.times or shown.hands.times
        if not shown.face or not place or shown.stirred or troubled or card.id in self._owed:
            return False
        notes = (*shown.notes, *([self._shift.trouble] if self._shift.trouble else []))
        if card.outcome is not None or not waits(shown.face, place) or shown.face.notes != notes:
            return False
        return time.monotonic() - shown.at < self._first or waits_at(shown.face, place)

    async def _follow(self, card: Card, line: Line | None) -> None:
        """Show a card, and hand over its take: side by side, since an edit that has to wait must not hold up a film."""
        shown = self._shown[card.id]
        with about(card=card.id, job=card.job):
            await asyncio.gather(
                shown.shows.attempt(self._show(card, line=line), self._first),
                shown.hands.attempt(self._hand_over(card, line), self._first),
            )

    async def _hand_over(self, card: Card, line: Line | None) -> None:
        """What is finished of a card's film: windows as they come, then the take."""
        if card.job is None:
            return
        await post_windows(self._client, self._studio, card, line)
        if line is None or card.job not in line.places:  # it waits for nobody any more
            try:
                await self._settle(card, self._studio.jobs.get(card.job))
            except Unreadable as error:  # of another version of Longtake: nobody will film it any more
                await self.fail(card.id, str(error))

    async def _settle(self, card: Card, job: Job) -> None:
        """Hand over what a job that has ended left, once; one that left nothing is only shown."""
        left = await asyncio.to_thread(self._studio.takes.made_by, job.id)
        if (left or job.state is JobState.DONE) and card.take_message is None:
            try:
                async with self._uploads:
                    await self.delivery.hand_over(card, job)
            except (FileNotFoundError, UserError):
                log.exception("the film of job %d is lost", job.id)
                await self.fail(card.id, say(card.locale, "take.lost"))
                return
        if job.state.final and self._shown[card.id].shows.over:
            await self._show(self._studio.cards.get(card.id) or card, at_once=True)
            self._studio.cards.change(card.id, closed=True)
            self._shown.pop(card.id, None)
            if job.state is JobState.FAILED:  # told last: if it cannot be told, the card is settled all the same
                told = say(
                    "en", "log.failed", job=job.id, error=job.error or "", channel=f"<#{number_of(card.channel)}>"
                )
                await report(self._client, self._studio, card.place, told)

    async def _show(self, card: Card, at_once: bool = False, line: Line | None = None) -> None:
        """Edit a card's message if it shows something else: a change of state at once, numbers now and then.

        NOTE: the card is read again when its turn comes; what the caller knows may be old by then.
        """
        shown = self._shown[card.id]
        async with shown.lock:
            card = self._studio.cards.get(card.id) or card
            if card.message is None:
                self._owed.discard(card.id)
                return
            shown.stirred = False
            face = await self._face(card, shown, line)
            if card.closed and face == shown.face:
                self._shown.pop(card.id, None)  # it shows its end; nothing will be told of it any more
            told = shown.face is None or (face.phase, face.filmed) != (shown.face.phase, shown.face.filmed)
            due = told or at_once or time.monotonic() - shown.at >= self._first
            if face == shown.face:
                self._owed.discard(card.id)
            if face == shown.face or not due:
                shown.stirred |= face != shown.face
                return
            shown.at = time.monotonic()
            async with self._shows:
                before = shown.face
                shown.face = await self._edit(card, face, before) or before
                if shown.face is not None and (before is None or shown.face.preview != before.preview):
                    shown.pictured = shown.at
                self._owed.discard(card.id)
                if card.closed:
                    self._shown.pop(card.id, None)

    async def _face(self, card: Card, shown: Shown, line: Line | None) -> CardFace:
        face = await asyncio.to_thread(face_of, self._studio, card, shown.notes, line)
        face = replace(face, preview=_held(face, shown))
        if shown.paused:
            return replace(face, phase=Phase.PAUSED)
        trouble = face.phase is Phase.QUEUED and self._shift.trouble
        return replace(face, notes=(*face.notes, self._shift.trouble)) if trouble else face

    async def _edit(self, card: Card, face: CardFace, before: CardFace | None) -> CardFace | None:
        """Edit a card's message; what it then shows, or None if it cannot be edited any more.

        A picture is sent once: an edit that names no attachments leaves those that are there.
        """
        more: dict[str, list[discord.File]] = {}
        if not shows_preview(face):
            more = {"attachments": []} if before is None or shows_preview(before) else {}
        elif before is None or not shows_preview(before) or before.preview != face.preview:
            picture = await asyncio.to_thread(picture_of, self._studio, face)
            face = face if picture else replace(face, preview=None)
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
                with contextlib.suppress(*TROUBLE):  # one that stays must not keep the others
                    await channel.get_partial_message(int(message)).delete()

    async def forget(self, card: Card) -> None:
        """Take a card away whose request came to nothing and is answered in another way."""
        await self.opening.look_for(card)
        card = self._studio.cards.change(card.id, closed=True)
        channel = await self.channel(card)
        if channel is not None and card.message is not None:
            with contextlib.suppress(discord.NotFound, discord.Forbidden):
                await channel.get_partial_message(int(card.message)).delete()
        self._shown.pop(card.id, None)


def _held(face: CardFace, shown: Shown) -> Preview | None:
    """The picture of a face, or the one that is shown where a newer one of a window under way comes too soon."""
    new, old = face.preview, shown.face.preview if shown.face else None
    waits = new is not None and new.drawn is not None and time.monotonic() - shown.pictured < DRAWN_SECONDS
    return old if waits and old is not None and shown.face and face.filmed == shown.face.filmed else new
