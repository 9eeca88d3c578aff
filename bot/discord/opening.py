"""The first post of a card: once a request, however often it is tried, and whoever is killed meanwhile."""

import asyncio
from typing import TYPE_CHECKING

import discord

from bot.discord.ask import Ask
from bot.discord.card_view import card_view
from bot.discord.faces import CardFace, face_of
from bot.discord.keys import Place, channel_of, reference_to
from bot.discord.ours import found
from bot.discord.rest import passes, persistently
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Card, UserError

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

KEPT_WORDS = 300  # letters of what was asked, on a card


class Opening:
    """Opens cards, and knows which requests are being understood or planned in this process."""

    def __init__(self, client: "LongtakeClient", studio: Studio) -> None:
        self._client = client
        self._studio = studio
        self._directed: set[int] = set()

    async def open(self, ask: Ask) -> tuple[Card, CardFace | None]:
        """The card of what is asked, and what it shows if it is posted now; an earlier one is taken up. UserError if
        nothing may be posted there."""
        card = self.begun(ask.event)
        if card is not None:
            await self.look_for(card)
        card = (card and self._studio.cards.get(card.id)) or self._new(ask)
        self._directed.add(card.id)
        if card.message is not None:
            return card, None
        face = await asyncio.to_thread(face_of, self._studio, card)
        try:
            message = await persistently(lambda: self._post(ask.channel, ask.message, card, face))
        except Exception as error:
            if not passes(error):
                self._studio.cards.change(card.id, closed=True)  # nobody sees it, so nobody could settle it
            self.directed(card)
            if isinstance(error, discord.Forbidden):
                raise UserError(say(ask.locale, "error.may_not_post")) from error
            raise
        return self._noted(card, message), face

    def begun(self, event: str) -> Card | None:
        """The card of an event of which nothing came yet."""
        card = self._studio.cards.by_event(event)
        return card if card and card.job is None and card.draft is None and not card.closed else None

    async def look_for(self, card: Card) -> None:
        """Note the message of a card that may have been sent and not noted before we were killed."""
        channel = None if card.message else await channel_of(self._client, card.channel)
        sent = await found(channel, "card", card.id, card.opened) if channel else None
        if sent is not None:
            self._noted(card, sent)

    def directs(self, card: int) -> bool:
        """Whether a card's request is being understood or planned in this process."""
        return card in self._directed

    def directed(self, card: Card) -> None:
        """What a card asked is planned, or came to nothing."""
        self._directed.discard(card.id)

    def _noted(self, card: Card, message: discord.Message) -> Card:
        """The card, which knows its message; reactions may have been there first."""
        card = self._studio.cards.change(card.id, message=str(message.id))
        self._client.hearing.noted(message.id)
        return card

    def _new(self, ask: Ask) -> Card:
        return self._studio.cards.open(
            Card(
                id=0,
                place=ask.place,
                channel=ask.channel_key,
                asker=ask.asker_key,
                asked=ask.event,
                words=ask.text[:KEPT_WORDS],
                locale=ask.locale,
                opened=discord.utils.utcnow(),
            )
        )

    async def _post(self, channel: Place, asked: int | None, card: Card, face: CardFace) -> discord.Message:
        """NOTE: the nonce is the card's, whoever sends it: one that arrived, and was not noted, is not sent again."""
        reference = reference_to(channel, asked)
        nonce = f"card-{card.id}-{card.opened.timestamp():.0f}"[:25]
        return await channel.send(view=card_view(face), reference=reference, mention_author=False, nonce=nonce)  # type: ignore[arg-type]
