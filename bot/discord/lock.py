"""One bot a data folder: two would answer everything twice."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.schema import UserError


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the folder; UserError if another bot does. The system frees it when a process ends, however it ends."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "bot.lock").open("a+") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise UserError(f"A bot runs on {data_dir.resolve()} already: end that one first.") from error
        yield


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
