"""Where a draft lies in a chat while it is being discussed: on a card."""

from dataclasses import dataclass

from bot.proposal import Proposal
from bot.studio import Studio
from storage.cards import Cards
from storage.schema import Card, Draft, Job


@dataclass(frozen=True)
class CardDesk:
    """The draft that is discussed lies on a card; what is made of it goes to a new one."""

    cards: Cards
    former: Card | None
    own: Card | None = None

    def draft(self) -> Draft | None:
        """As it lies there now."""
        card = self._here()
        now = self.cards.get(card.id) if card else None
        return now.draft if now and not now.closed else None

    def keep(self, draft: Draft | None) -> None:
        """On the new card; the former one is settled by it. Without a new one, on the former."""
        former = self.cards.get(self.former.id) if self.former else None
        if self.own:
            self.cards.propose(self.own.id, draft, instead_of=former.id if former else None)
        elif former is None or former.job is not None:
            return  # it was filmed or forgotten while this was planned, and is no longer discussed
        else:
            self.cards.propose(former.id, draft, instead_of=former.id if draft is None else None)

    def film(self, studio: Studio, proposal: Proposal) -> Job:
        """The card follows it."""
        return self.follow(studio, proposal)

    def follow(self, studio: Studio, proposal: Proposal) -> Job:
        """The card follows it, in place of its draft."""
        card = self._here()
        return studio.submit(proposal, card.id if card else None)

    def _here(self) -> Card | None:
        return self.own or self.former
