"""Waiting in tests: for a condition, never for a time. The limit is there to end a test that would wait for ever."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LIMIT_SECONDS = 180.0  # a loaded machine may need as long for a film, and more than a few for the start of a process
EVERY_SECONDS = 0.01


async def until(condition: Callable[[], Any], seconds: float = LIMIT_SECONDS) -> None:
    """Wait for something to be true, while the event loop goes on. TimeoutError if it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        _require_before(deadline)
        await asyncio.sleep(EVERY_SECONDS)


def wait_until(condition: Callable[[], Any], seconds: float = LIMIT_SECONDS) -> None:
    """Wait for something to be true. TimeoutError if it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        _require_before(deadline)
        time.sleep(EVERY_SECONDS)


def _require_before(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("waited in vain")


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port on which nobody listens, and which no one else is given meanwhile.

    NOTE: who asks for it by its number may listen. On Linux a socket that is bound and does not listen is only in the
    way of sockets without SO_REUSEADDR, and every server of asyncio sets that.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
