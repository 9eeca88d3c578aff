"""Windows of a film that is not finished: the newest one's last frame, and each of them where a server wants that."""

import asyncio
import logging
from pathlib import Path

import discord

from bot.discord.card_view import window_text
from bot.discord.faces import CardFace, face_of
from bot.discord.keys import Place, channel_of
from bot.discord.settings import DiscordSettings
from bot.studio import Studio
from storage.footage import last_frame
from storage.renders import render_folder, segment_name
from storage.schema import Card

log = logging.getLogger(__name__)


class Windows:
    """The files of renders, as long as they last."""

    def __init__(self, client: discord.Client, studio: Studio, settings: DiscordSettings) -> None:
        self._client = client
        self._studio = studio
        self._settings = settings

    async def post(self, card: Card) -> None:
        """Post finished windows as they come, where the server wants that; the last one comes with the film.

        A window is noted before it is sent: after a crash in between it is left out, not sent twice.
        """
        assert card.job is not None
        if not card.place or not self._studio.manners.policy(card.place).post_windows:
            return
        face = await asyncio.to_thread(face_of, self._studio, card)
        for number in range(card.windows_posted + 1, min(face.preview, len(face.windows) - 1) + 1):
            self._studio.cards.change(card.id, windows_posted=number)
            file, channel = self._segment(card.job, number), await channel_of(self._client, card.channel)
            if channel is None or not file.is_file():
                continue
            text = window_text(face, face.windows[number - 1])
            name = f"job-{card.job}-{segment_name(number)}"
            video = discord.File(file, name, spoiler=face.restricted)
            try:
                await channel.send(text, file=video, reference=_reference(channel, card))  # type: ignore[arg-type]
            except discord.HTTPException as error:
                log.info("window %d of card %d cannot be posted: %s", number, card.id, error)

    def preview(self, face: CardFace) -> bytes | None:
        """The last frame of the newest finished window as a JPEG; None when its file is gone."""
        if face.job is None:
            return None
        window = self._segment(face.job, face.preview)
        return last_frame(window) if window.is_file() else None

    def _segment(self, job: int, window: int) -> Path:
        return render_folder(self._settings.renders, job) / segment_name(window)


def _reference(channel: Place, card: Card) -> discord.MessageReference | None:
    """An answer to the card; None where it has no message any more."""
    if card.message is None:
        return None
    return channel.get_partial_message(int(card.message)).to_reference(fail_if_not_exists=False)
