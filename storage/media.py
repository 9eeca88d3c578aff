"""Files by content: the SHA-256 of a file's bytes is its name, so a file never changes and is kept once.

root/ab/abcdef...     a file, whole and on the disk's platter before it got this name
root/incoming/...     files that are being written; what a killed process left here is swept
root/damaged/...      files that were not what their name says, set aside by a check
"""

import errno
import hashlib
import io
import os
import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from storage.disk import needs_room, sync_folder
from storage.schema import MediaId, UserError

_CHUNK_BYTES = 2**20


class Media:
    """The media store under `root`; any number of processes may add and read at once. DiskFull without room."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def add_file(self, source: Path, *, move: bool = False) -> MediaId:
        """Keep a copy of a file, or with `move` the file itself, which is then gone from where it was."""
        if move:
            return self._move(source.resolve())  # resolved, because a link must not take a file's place
        with source.open("rb") as stream:
            return self._add(stream)

    def share(self, other: "Media", media: MediaId) -> None:
        """Have a file of another store: as a link to the same bytes where that can be, else as a copy.

        FileNotFoundError when it is gone there, ValueError when a copy of it is not what its name says.
        """
        incoming, source = self._incoming / uuid.uuid4().hex, other.path(media)
        try:
            os.link(source, incoming)
        except OSError:  # another disk, or one without links
            if (copied := self.add_file(source)) != media:
                self.remove(copied)
                raise ValueError(f"the file {media} is damaged") from None
        else:
            self._publish(incoming, media)

    def set_aside(self, media: MediaId) -> Path:
        """Move a damaged file out of the way, to where a person can look at it. -> its place"""
        aside = self.root / "damaged" / media
        aside.parent.mkdir(exist_ok=True)
        self._place(media).replace(aside)
        return aside

    def add_bytes(self, data: bytes) -> MediaId:
        """Keep `data` as a file."""
        return self._add(io.BytesIO(data))

    def require(self, wanted: Iterable[MediaId]) -> None:
        """UserError when one of the files that a film needs is gone: people delete, and disks are cleaned."""
        if not all(self._place(media).is_file() for media in wanted):
            raise UserError("A file that the film needs is not in the media store any more.")

    def has(self, media: MediaId) -> bool:
        """Whether the file is there."""
        return self._place(media).is_file()

    def intact(self, media: MediaId) -> bool:
        """Whether the file is there and still what its name says. Reads all of it."""
        try:
            with self._place(media).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == media
        except OSError:  # not there, or the disk cannot read it any more
            return False

    def size(self, media: MediaId) -> int:
        """Bytes of a file; 0 when it is gone."""
        try:
            return self._place(media).stat().st_size
        except FileNotFoundError:
            return 0

    def bytes_kept(self) -> int:
        """Bytes of all files together."""
        return sum(map(self.size, self.all()))

    def path(self, media: MediaId) -> Path:
        """Where the file is, to be read and never written."""
        place = self._place(media)
        if not place.is_file():
            raise FileNotFoundError(errno.ENOENT, "the media store has no such file", str(place))
        return place

    def open(self, media: MediaId) -> BinaryIO:
        """The file, open for reading."""
        return self.path(media).open("rb")

    def all(self) -> list[MediaId]:
        """Every file that is kept."""
        return [file.name for file in self.root.glob("??/*") if re.fullmatch(r"[0-9a-f]{64}", file.name)]

    def remove(self, media: MediaId) -> None:
        """Delete a file that nobody needs any more; one that is gone already is no error."""
        self._place(media).unlink(missing_ok=True)

    def sweep(self, older_than: float) -> int:
        """Remove files that writers left unfinished and did not touch for `older_than` seconds; returns how many."""
        leftovers = [file for file in self._incoming.iterdir() if time.time() - _modified(file) > older_than]
        for file in leftovers:
            file.unlink(missing_ok=True)
        return len(leftovers)

    def _add(self, stream: BinaryIO) -> MediaId:
        incoming = self._incoming / uuid.uuid4().hex
        try:
            digest = hashlib.sha256()
            with needs_room(), incoming.open("xb") as file:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            return self._publish(incoming, digest.hexdigest())
        finally:
            incoming.unlink(missing_ok=True)

    def _move(self, source: Path) -> MediaId:
        with source.open("r+b") as file:
            media = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        try:
            return self._publish(source, media)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        media = self.add_file(source)  # another disk: a rename cannot reach it
        source.unlink()
        return media

    def _publish(self, file: Path, media: MediaId) -> MediaId:
        """Give a finished file its name in one step. A file that is there already is the same one, and is replaced."""
        place = self._place(media)
        with needs_room():
            place.parent.mkdir(exist_ok=True)
            file.replace(place)
            sync_folder(place.parent)
            sync_folder(self.root)
        return media

    def _place(self, media: MediaId) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", media):
            raise ValueError(f"a media id is 64 hexadecimal digits, got {media!r}")
        return self.root / media[:2] / media


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # finished or swept in the meantime
        return time.time()
