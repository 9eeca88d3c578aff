"""Where a draft lies in a chat while it is being discussed: on a card."""

from dataclasses import dataclass

from storage.cards import Cards
from storage.schema import Card, Draft


@dataclass(frozen=True)
class CardDesk:
    """The draft that is discussed lies on a card; what is made of it goes to a new one."""

    cards: Cards
    former: Card | None
    own: Card | None = None

    def draft(self) -> Draft | None:
        """The former card's."""
        return self.former.draft if self.former else None

    def keep(self, draft: Draft | None) -> None:
        """On the new card; the former one is settled by it. Without a new one, on the former."""
        if self.own:
            self.cards.propose(self.own.id, draft)
        former = self.cards.get(self.former.id) if self.former else None
        if former is None or former.job is not None:
            return  # it was filmed or forgotten while this was planned, and is no longer discussed
        if self.own or draft is None:
            self.cards.propose(former.id, None)
            self.cards.change(former.id, closed=True)
        else:
            self.cards.propose(former.id, draft)

    def take(self) -> Draft | None:
        """From the card."""
        card = self.own or self.former
        return self.cards.take_draft(card.id) if card else None
