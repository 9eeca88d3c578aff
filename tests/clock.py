"""A clock that tests move."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Stands still until it is moved."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
