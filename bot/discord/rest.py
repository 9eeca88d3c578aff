"""Patience: what Discord cannot do just now is tried again, each time later."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import discord

from storage.schema import UserError

log = logging.getLogger(__name__)
LONGEST_REST = 300.0  # seconds
TROUBLE = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError, TimeoutError)
WAITS = (1.0, 3.0, 9.0)  # seconds between tries at something that a person waits for
LONG_WAITS = (*WAITS, 30.0, 60.0, *[LONGEST_REST] * 12)  # an hour: what was asked must not be lost to an outage

T = TypeVar("T")


async def persistently(send: Callable[[], Awaitable[T]], waits: Sequence[float] | None = None) -> T:
    """Do something that a person waits for, again where Discord or the network fails for a moment: after WAITS, unless
    others are given. NOTE: what failed may have been done: give a message a nonce."""
    for wait in WAITS if waits is None else waits:
        try:
            return await send()
        except TROUBLE as error:
            if not passes(error):
                raise
            wait = max(wait, error.retry_after if isinstance(error, discord.RateLimited) else 0.0)  # noqa: PLW2901
            log.info("again in %.0f s: %s: %s", wait, type(error).__name__, error)
            await asyncio.sleep(wait)
    return await send()


def passes(error: Exception) -> bool:
    """Whether trouble ends by itself: 5xx, a rate limit, a lost connection; a refusal does not."""
    refused = isinstance(error, discord.HTTPException) and error.status < 500 and error.status != 429
    return isinstance(error, TROUBLE) and not refused


@dataclass
class Rest:
    """Something that Discord refused for now: it is left alone for a while, each time for longer."""

    until: float = 0.0
    times: int = 0

    @property
    def over(self) -> bool:
        """Whether it may be tried."""
        return time.monotonic() >= self.until

    async def attempt(self, work: Coroutine[Any, Any, None], first: float) -> None:
        """Do it unless it rests. Whatever goes wrong makes it rest, for twice `first` seconds at first."""
        if not self.over:
            work.close()
            return
        try:
            await work
            self.times = 0
        except UserError as error:  # what it follows was forgotten meanwhile
            log.info("a card is not followed any more: %s", error)
        except discord.RateLimited as error:
            self._take(max(first, error.retry_after))
            log.info("a card rests for Discord's rate limit: %.0f s", error.retry_after)
        except TROUBLE as error:
            self._take(first)
            log.warning("Discord is in trouble, a card waits for it: %s: %s", type(error).__name__, error)
        except Exception:  # the outermost place of one card: whatever it does, the others go on
            self._take(first)
            log.exception("a card could not be followed")

    def _take(self, seconds: float) -> None:
        self.times += 1
        self.until = time.monotonic() + max(seconds, min(seconds * 2**self.times, LONGEST_REST))
