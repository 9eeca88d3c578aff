"""Patience: what Discord cannot do just now is tried again, each time later."""

import time
from dataclasses import dataclass

LONGEST_REST = 300.0  # seconds


@dataclass
class Rest:
    """Something that Discord refused for now: it is left alone for a while, each time for longer."""

    until: float = 0.0
    times: int = 0

    @property
    def over(self) -> bool:
        """Whether it may be tried."""
        return time.monotonic() >= self.until

    def take(self, first: float, at_least: float = 0.0) -> None:
        """Leave it alone."""
        self.times += 1
        self.until = time.monotonic() + max(at_least, min(first * 2**self.times, LONGEST_REST))
