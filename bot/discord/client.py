"""The bot in Discord: what happens there is translated to an Ask, and the front desk does the rest."""

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import Any

import discord
from discord.ext import tasks

from bot.discord import commands
from bot.discord.answering import LONGEST
from bot.discord.ask import Ask
from bot.discord.board import Board
from bot.discord.buttons import PressButton
from bot.discord.cdn import Cdn
from bot.discord.commands.tree import Tree
from bot.discord.door import Door
from bot.discord.front import Front
from bot.discord.gap import Gap
from bot.discord.hearing import Hearing
from bot.discord.keys import key_of, locale_of, place_of
from bot.discord.presses import press_card, press_take
from bot.discord.reactions import ACTS, Reaction
from bot.discord.rest import passes, persistently
from bot.discord.settings import DiscordSettings
from bot.discord.shown import card_of
from bot.discord.texts import say
from bot.discord.texts.translator import CatalogueTranslator
from bot.studio import Studio
from storage.disk import DiskFull

log = logging.getLogger(__name__)
WATCH_SECONDS = 1.0


class LongtakeClient(discord.Client):
    """One a process. Everything that must outlive it is in storage."""

    def __init__(self, studio: Studio, settings: DiscordSettings, cdn: Cdn | None = None) -> None:
        intents = discord.Intents(guilds=True, messages=True, reactions=True)
        intents.message_content = settings.discord_message_content
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=30.0,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
        )
        self.studio = studio
        self.settings = settings
        self.board = Board(self, studio, settings)
        self.front = Front(studio, settings, self.board, cdn or Cdn())
        self.door = Door(self, settings)
        self.tree = Tree(self)
        self.listening = False  # is what happens in Discord told to us?
        self._work: set[asyncio.Task[None]] = set()
        self.hearing = Hearing(self)
        self.gap = Gap(self)

    async def setup_hook(self) -> None:
        """Once, before the first event."""
        self.add_dynamic_items(PressButton)
        await self.tree.set_translator(CatalogueTranslator())
        await commands.install(self)
        self.do(self.studio.prepare())
        self.watching.start()
        self.tidying.start()

    async def close(self) -> None:
        """End in order: nothing is followed or heard any more. What was being heard is heard again after the next
        start."""
        self.watching.cancel()
        self.tidying.cancel()
        self.board.stop()
        for task in self._work:
            task.cancel()
        await super().close()

    @tasks.loop(seconds=WATCH_SECONDS)
    async def watching(self) -> None:
        """Keep the cards true."""
        try:
            await self.board.watch()
        except Exception:  # the outermost place: one bad turn must not end the watch
            log.exception("a turn of the watch failed")

    @tasks.loop(hours=1)
    async def tidying(self) -> None:
        """Forget what was kept for long enough."""
        try:
            await asyncio.to_thread(self.studio.tidy)
        except Exception:  # the outermost place: the next hour is another chance
            log.exception("tidying failed")

    # ---- events ----

    async def on_connect(self) -> None:
        """A new session; what happens in it comes after this."""
        self.listening = True
        self.gap.open()

    async def on_resumed(self) -> None:
        """The session goes on; what was missed has come."""
        self.listening = True

    async def on_disconnect(self) -> None:
        """The connection is gone, for a moment or for longer."""
        self.listening = False

    async def on_ready(self) -> None:
        """May come many times. What was missed is looked for."""
        self.do(self.gap.close())

    async def on_message(self, message: discord.Message) -> None:
        """Somebody wrote something."""
        if self.addressed(message) and await self.admits(message):
            try:
                self.hearing.hear(message)
            except DiskFull as error:  # nothing of it could be remembered: who asked asks again
                await self.answer(message, str(error))

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """Somebody reacted."""
        if self.user is None or payload.user_id == self.user.id or payload.emoji.name not in ACTS:
            return
        if await self.door.admits(payload.guild_id, payload.user_id):
            self.hearing.see(Reaction.of(payload), payload.member)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """Somebody deleted a message."""
        await self.hearing.unsaid(f"message:{payload.message_id}", key_of(payload.channel_id))

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """A moderator deleted many."""
        for message in payload.message_ids:
            await self.hearing.unsaid(f"message:{message}", key_of(payload.channel_id))

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """A server does not want us any more; nothing of it is kept."""
        await asyncio.to_thread(self.studio.forget.place, place_of(guild))

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """Somebody took a reaction back."""
        if payload.emoji.name in ACTS:
            await self.hearing.unsee(Reaction.of(payload))

    async def on_error(self, event_method: str, /, *_: Any, **__: Any) -> None:
        """What an event did wrong goes to the log, whole."""
        log.exception("the event %s failed", event_method)

    async def pressed(self, interaction: discord.Interaction, kind: str, act: str, number: int) -> None:
        """A button of a card or of a take."""
        press = press_card if kind == "card" else press_take
        await press(self, interaction, act, number)

    # ---- talk ----

    def addressed(self, message: discord.Message) -> bool:
        """Whether a message speaks to us: in a direct message, by our name, or as an answer to us."""
        if message.author.bot or message.is_system() or self.user is None:
            return False
        if message.guild is None or self.user in message.mentions:
            return True
        if any(role.tags and role.tags.bot_id == self.user.id for role in message.role_mentions):
            return True
        answered = message.reference and message.reference.resolved
        return isinstance(answered, discord.Message) and answered.author.id == self.user.id and bool(message.content)

    async def admits(self, message: discord.Message) -> bool:
        """Whether who wrote a message is let in where they wrote it."""
        return await self.door.admits(message.guild.id if message.guild else None, message.author.id)

    def words_of(self, message: discord.Message) -> str:
        """What a message says, without our name."""
        assert self.user is not None
        names = [self.user.id, *(role.id for role in message.role_mentions if role.tags and role.tags.bot_id)]
        text = re.sub(rf"<@[!&]?(?:{'|'.join(map(str, names))})>", " ", message.content)
        return re.sub(r"[ \t]+", " ", text).strip()

    def ask_of_message(self, message: discord.Message) -> Ask:
        """A message as what it asks. Pictures of a message that it answers count, unless that one is ours; who answers
        their own words that are on their way to a film answers the card of that."""
        assert self.user is not None
        attachments, replied = list(message.attachments), message.reference.message_id if message.reference else None
        answered = message.reference.resolved if message.reference else None
        if isinstance(answered, discord.Message) and answered.author.id != self.user.id:
            if answered.author.id == message.author.id and (card := card_of(self.studio, answered.id)) is not None:
                replied = card
            else:
                attachments += [a for a in answered.attachments if (a.content_type or "").startswith("image/")]
        return Ask(
            event=f"message:{message.id}",
            channel=message.channel,  # type: ignore[arg-type]
            asker=message.author,
            text=self.words_of(message),
            attachments=tuple(attachments),
            message=message.id,
            replied=replied,
            locale=locale_of(message.channel),
        )

    async def answer(self, message: discord.Message, text: str) -> None:
        """Sentences below a message, or where it was; by direct message where we may not write."""
        reference = message.to_reference(fail_if_not_exists=False)
        nonce = f"answer-{message.id}"[:25]  # so that who hears it again does not answer again
        try:
            await persistently(
                lambda: message.channel.send(text[:LONGEST], reference=reference, mention_author=False, nonce=nonce)
            )
        except discord.Forbidden:
            try:
                await message.author.send(say("en", "error.may_not_post"))
            except discord.Forbidden:
                log.info("message %d cannot be answered", message.id)
        except discord.HTTPException as error:
            if passes(error):
                raise
            log.warning("message %d was not answered: %s", message.id, error)

    def do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Something that nobody waits for."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task
