"""Windows of a film that is not finished: a picture of the newest one, and each of them where that is wanted."""

import asyncio
import logging

import discord

from bot.discord.card_view import window_text
from bot.discord.faces import CardFace, face_of
from bot.discord.keys import channel_of, reference_to
from bot.line import Line
from bot.studio import Studio
from storage.footage import last_frame
from storage.renders import preview_file, segment_file, segment_name
from storage.schema import Card

log = logging.getLogger(__name__)


def picture_of(studio: Studio, face: CardFace) -> bytes | None:
    """The picture that a card shows as a JPEG; None when its file is gone. Blocks; for a thread."""
    if face.job is None or face.preview is None:
        return None
    renders, window = studio.settings.renders, face.preview.window
    try:
        if face.preview.drawn is not None:
            return preview_file(renders, face.job, window).read_bytes()
        return last_frame(segment_file(renders, face.job, window))
    except FileNotFoundError:  # the render has ended
        return None


async def post_windows(client: discord.Client, studio: Studio, card: Card, line: Line | None) -> None:
    """Post the windows that were finished since the last turn; the last one comes with the film.

    A window is noted before it is sent: after a crash in between it is left out, not sent twice.
    """
    if card.job is None or not card.place or not studio.manners.policy(card.place).post_windows:
        return
    face = await asyncio.to_thread(face_of, studio, card, (), line)
    for number in range(card.windows_posted + 1, min(face.filmed, len(face.windows) - 1) + 1):
        studio.cards.change(card.id, windows_posted=number)
        file, channel = segment_file(studio.settings.renders, card.job, number), await channel_of(client, card.channel)
        if channel is None or not file.is_file():
            continue
        film = discord.File(file, f"job-{card.job}-{segment_name(number)}", spoiler=face.restricted)
        text, answered = window_text(face, face.windows[number - 1]), reference_to(channel, card.message)
        try:
            await channel.send(text, file=film, reference=answered)  # type: ignore[arg-type]
        except discord.HTTPException as error:
            log.info("window %d of card %d cannot be posted: %s", number, card.id, error)
