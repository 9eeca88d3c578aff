"""The disk: how much room it has, what happens when it has none, and files that are whole or not there."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, or the largest file that is allowed
# A quota and a limit read as IOERR_WRITE, which says no more than that. SHMSIZE: a database that nobody has open.
SQLITE_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
GIB = 2**30
WAITS = "The disk is full; it goes on by itself when there is room."
NEARLY_FULL = "The disk is nearly full, so nothing is filmed just now. It goes on by itself when there is room."


class DiskFull(OSError):
    """Something could not be written for want of room. Nothing that was there before is lost, and to do it again when
    there is room is safe. The text is shown to the person as it is."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __str__(self) -> str:
        return "The disk is full, so nothing can be kept just now. Ask again when there is room."


def lacks_room(error: BaseException) -> bool:
    """Whether an error of the system, of FFmpeg or of SQLite says that the disk takes no more."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode in SQLITE_NO_ROOM
    return isinstance(error, OSError) and error.errno in NO_ROOM


@contextmanager
def needs_room() -> Iterator[None]:
    """DiskFull for whatever the block cannot write for want of room; other errors stay what they are."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if not lacks_room(error):
            raise
        raise DiskFull from error


@contextmanager
def whole(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A path to write to, which becomes `path` when all is written and on the disk's platter. DiskFull without room.

    What is not `lasting` is not waited for, and may be gone after a power cut.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with needs_room():
            yield partial
            if lasting:
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
            partial.replace(path)
        if lasting:
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk; Windows cannot, and writes it in order by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Disk:
    """The disk under `folder`. No film is begun while less than `margin_gib` is free, so that what is begun ends."""

    folder: Path
    margin_gib: float

    @property
    def free_gib(self) -> float:
        """What is free for us."""
        return shutil.disk_usage(self.folder).free / GIB

    @property
    def short(self) -> bool:
        """Whether there is too little room to begin anything."""
        return self.free_gib < self.margin_gib

    @property
    def trouble(self) -> str:
        """Why nothing is begun, to a person; "" while there is room."""
        return NEARLY_FULL if self.short else ""
