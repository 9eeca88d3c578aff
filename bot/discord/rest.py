"""Patience: what Discord cannot do just now is tried again, each time later."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import discord

from storage.schema import UserError

log = logging.getLogger(__name__)
LONGEST_REST = 300.0  # seconds
TROUBLE = (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError)

WAITS = (1.0, 3.0, 9.0)  # seconds between tries at something that a person waits for

T = TypeVar("T")


async def persistently(send: Callable[[], Awaitable[T]]) -> T:
    """Send something that a person waits for, again where Discord or the network fails for a moment. NOTE: a failed
    one may have arrived: give it a nonce."""
    for wait in WAITS:
        try:
            return await send()
        except (discord.DiscordServerError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("again in %.0f s: %s: %s", wait, type(error).__name__, error)
            await asyncio.sleep(wait)
    return await send()


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
