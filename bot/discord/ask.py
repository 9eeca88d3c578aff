"""What somebody asks in Discord, before it is a wish: words, attachments, and where and by whom."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import discord
from yarl import URL

from bot.discord.keys import Place, is_restricted, key_of, place_of
from bot.discord.safe import one_line
from storage.schema import UserError

MOST_PICTURES = 4
HOSTS = frozenset({("https", "cdn.discordapp.com"), ("https", "media.discordapp.net")})  # of attachments
PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
_MARKS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"GIF8": "gif"}


@dataclass(frozen=True)
class Ask:
    """Something asked. `event` names what brought it, so that it is answered once."""

    event: str
    channel: Place
    asker: discord.User | discord.Member
    text: str = ""
    attachments: tuple[discord.Attachment, ...] = ()
    message: int | None = None  # that asked; None for a command or a button
    replied: int | None = None  # the message that it answers
    locale: str = "en-US"
    seconds: float | None = None
    size: tuple[int, int] | None = None
    seed: int | None = None
    preset: str | None = None
    style: str | None = None
    settings: str = ""  # NAME=VALUE, as often as wanted
    lora: str | None = None  # of the library

    @property
    def guild(self) -> discord.Guild | None:
        """The server; None in a direct message."""
        return self.channel.guild if not isinstance(self.channel, discord.DMChannel) else None

    @property
    def place(self) -> str:
        """The server's name in storage."""
        return place_of(self.guild)

    @property
    def channel_key(self) -> str:
        """The channel's name in storage."""
        return key_of(self.channel)

    @property
    def channel_link(self) -> str:
        """The channel as a message names it."""
        return f"<#{self.channel.id}>"

    @property
    def asker_key(self) -> str:
        """The asker's name in storage."""
        return key_of(self.asker)

    @property
    def moderates(self) -> bool:
        """Whether the asker may clean up after others here."""
        if not isinstance(self.asker, discord.Member) or isinstance(self.channel, discord.DMChannel):
            return False
        return self.channel.permissions_for(self.asker).manage_messages

    @property
    def restricted(self) -> bool:
        """Whether this is an age-restricted channel; a thread is what its parent is."""
        return is_restricted(self.channel)


@asynccontextmanager
async def pictures_of(attachments: Sequence[discord.Attachment], most_mib: float) -> AsyncIterator[tuple[Path, ...]]:
    """The pictures among attachments as files, for as long as the block lasts. Nothing is read before its size and
    kind are known to be fine; names are ours, since theirs may be anything."""
    wanted = [attachment for attachment in attachments if _is_picture(attachment, most_mib)]
    if len(wanted) > MOST_PICTURES:
        raise UserError(f"{len(wanted)} pictures are too many: send {MOST_PICTURES} at most.")
    with tempfile.TemporaryDirectory(prefix="longtake-") as folder:
        files = [await _fetch(a, Path(folder), number) for number, a in enumerate(wanted, start=1)]
        yield tuple(files)


def _is_picture(attachment: discord.Attachment, most_mib: float) -> bool:
    kind = (attachment.content_type or "").split(";")[0]
    if kind not in PICTURES:
        shown = printable(attachment.filename)
        if kind.startswith("video/"):
            raise UserError(f"I can't continue video files here, so {shown} was not used: reply to one of my films.")
        raise UserError(
            f"I can use PNG, JPEG, WebP or GIF pictures; {shown} is {kind.split('/')[-1].upper() or 'something else'}. "
            "Save it as JPEG and send it again."
        )
    if attachment.size > most_mib * 2**20:
        raise UserError(
            f"{printable(attachment.filename)} has {attachment.size / 2**20:.1f} MB; the most is {most_mib:g} MB. "
            "Send a smaller copy."
        )
    return True


async def _fetch(attachment: discord.Attachment, folder: Path, number: int) -> Path:
    address = URL(attachment.url)
    if (address.scheme, address.host) not in HOSTS:
        raise UserError(
            f"{printable(attachment.filename)} does not lie where Discord keeps files. Send it again, please."
        )
    try:
        data = await attachment.read()
    except discord.HTTPException as error:
        raise UserError(
            f"I could not fetch {printable(attachment.filename)} from Discord. Send it again, please."
        ) from error
    kind = next((suffix for mark, suffix in _MARKS.items() if data.startswith(mark)), None)
    if kind is None:
        raise UserError(
            f"{printable(attachment.filename)} is not the picture that its name says. Save it as JPEG and send "
            "it again."
        )
    file = folder / f"picture {number}.{kind}"
    await asyncio.to_thread(file.write_bytes, data)
    return file


def printable(name: str, longest: int = 40) -> str:
    """A file's name that is safe to show."""
    return one_line(name, longest) or "the file"
