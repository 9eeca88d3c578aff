"""What is deleted in Discord: a film, a message that asked, everything of a person."""

import asyncio

from bot.discord.ask import Ask
from bot.discord.board import Board
from bot.discord.rights import Rights
from bot.discord.settings import DiscordSettings
from bot.studio import Studio
from storage.forget import Forgotten
from storage.schema import JobState, Take


class Forgetting(Rights):
    """Deletes from storage, and from the channel."""

    def __init__(self, studio: Studio, settings: DiscordSettings, board: Board) -> None:
        super().__init__(studio, settings)
        self.board = board

    async def delete(self, ask: Ask, take: Take) -> Forgotten:
        """Take a film out of the channel and of storage; what continues it stays."""
        self.require_own_take(ask, take, "delete")
        gone = await asyncio.to_thread(self.studio.forget.take, take.id)
        await self.board.take_down(gone)
        return gone

    async def unsaid(self, event: str) -> None:
        """Somebody deleted the message that asked: what is not being filmed yet is forgotten, its pictures as well."""
        card = self.studio.cards.by_event(event)
        if card is None:
            return
        if card.job is not None:
            state = self.studio.jobs.get(card.job).state
            if state in (JobState.RUNNING, JobState.DONE):
                return
            if state is JobState.QUEUED:
                self.studio.cancel(card.job)
        await self.board.take_down(await asyncio.to_thread(self.studio.forget.card, card.id))

    async def forget(self, ask: Ask) -> Forgotten:
        """Delete everything of a person, at their word. What is being filmed for them is cancelled."""
        gone = await asyncio.to_thread(self.studio.forget.person, ask.asker_key)
        await asyncio.to_thread(self.studio.tidy)
        return gone

    def banned_anywhere(self, person: str) -> bool:
        """Whether a server keeps a ban of a person, which outlives the deletion of their data."""
        return self.studio.manners.banned(person)
