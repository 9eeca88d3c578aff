"""How much a language model is asked for: one that never answers freely is dictated, and asked anew now and then."""

from dataclasses import dataclass

MISSES, RETRY = 3, 10  # after so many useless answers in a row, only every tenth request is asked freely


@dataclass
class Trust:
    """In one kind of answer."""

    misses: int = 0  # requests in a row without a useful free answer

    def worth_asking(self) -> bool:
        """Whether a free answer is worth its time."""
        return self.misses < MISSES or self.misses % RETRY == 0

    def note(self, *, useful: bool) -> None:
        """A request is through: with a useful free answer, or without."""
        self.misses = 0 if useful else self.misses + 1
