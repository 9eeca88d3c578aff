"""What is wrong, or soon will be, as a list of findings: each finder looks at one thing and says what can be done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.figures import concerns
from bot.studio import Studio
from storage.check import Check
from storage.disk import GIB


@dataclass(frozen=True)
class Finding:
    """One sentence or two for who runs Longtake. A grave one stops films or loses something."""

    text: str
    grave: bool = True


Finder = Callable[[Studio], Iterator[Finding]]


def room(studio: Studio) -> Iterator[Finding]:
    """Whether anything can be kept."""
    disk = studio.settings.disk
    if disk.short:
        yield Finding(
            f"The disk is nearly full: {disk.free_gib:.2f} GiB are free, and below {disk.margin_gib:g} "
            "(LONGTAKE_DISK_MARGIN_GB) nothing is filmed. It goes on by itself when there is room; LONGTAKE_MEDIA_GB "
            "removes old videos by itself."
        )


def budget(studio: Studio) -> Iterator[Finding]:
    """Whether the media store keeps to what it may have."""
    most, kept = studio.settings.media_gb, studio.media.bytes_kept() / GIB
    if most and kept > most:
        yield Finding(
            f"The media store has {kept:.2f} GiB, over its budget of {most:g} (LONGTAKE_MEDIA_GB): what is left is "
            "pinned, needed by a job, a tail or a picture, or new.",
            grave=False,
        )


def files(studio: Studio) -> Iterator[Finding]:
    """Whether the files of takes and jobs are there; whether they are whole, `longtake check` says."""
    missing = Check(studio.database, studio.media).missing()
    if missing:
        owners = ", ".join(dict.fromkeys(owner for owner, _ in missing[:5]))
        more = " and others" if len(missing) > 5 else ""
        yield Finding(f"Files that are not in the media store: {len(missing)}, needed by {owners}{more}.")


def rows(studio: Studio) -> Iterator[Finding]:
    """Whether the newest jobs can be read."""
    if strange := Check(studio.database, studio.media).unreadable():
        numbers = ", ".join(map(str, strange[:5])) + (" and others" if len(strange) > 5 else "")
        yield Finding(
            f"Jobs that another version of Longtake wrote and this one cannot read: {numbers}. Lists leave them out.",
            grave=False,
        )


def work(studio: Studio) -> Iterator[Finding]:
    """Whether jobs wait in vain or fail."""
    yield from (Finding(text) for text in concerns(studio.figures()))


FINDERS: tuple[Finder, ...] = (room, budget, files, rows, work)


def findings(studio: Studio) -> list[Finding]:
    """What all finders find."""
    return [finding for finder in FINDERS for finding in finder(studio)]
