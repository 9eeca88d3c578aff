"""Files that a person hands in: looked at, and kept in the media store if they are what they should be.

What they are says their content, never their name. They are decoded in a process of their own (storage/sandbox.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import PIL.Image

from bot.settings import BotSettings
from storage import sandbox
from storage.footage import kept_frames
from storage.media import Media
from storage.schema import Clip, Guide, Image, MediaId, Size, UserError

LONGEST_SIDE = 2560  # pixels that are kept of a picture; no size that is filmed shows more
SHORTEST_CLIP = 9  # frames: what the tail of a video is made from


@dataclass(frozen=True)
class Photo:
    """A picture that was handed in, as it is kept: a PNG of ours, upright and without metadata."""

    name: str
    png: bytes
    width: int
    height: int
    notes: tuple[str, ...] = ()


class Intake:
    """Takes pictures and videos in. Whatever is wrong with a file is a UserError that names it."""

    def __init__(self, settings: BotSettings, media: Media) -> None:
        self._most_pixels = round(settings.max_megapixels * 1e6)
        self._media = media

    def look(self, path: Path) -> Photo:
        """A picture: upright, as plain RGB without metadata, at most 2560 pixels long. Nothing is kept yet."""
        with named(path):
            upload = sandbox.read_picture(path, self._most_pixels, LONGEST_SIDE)
        png = BytesIO()
        upload.picture.save(png, "PNG", compress_level=1)
        note = f"{path.name} holds several pictures, as animations do: the first one is used."
        width, height = upload.picture.size
        return Photo(path.name, png.getvalue(), width, height, (note,) if upload.animated else ())

    def keep(self, photo: Photo) -> Image:
        """Keep a picture."""
        media = self._media.add_bytes(photo.png)
        return Image(media=media, name=photo.name, width=photo.width, height=photo.height)

    def black(self, size: Size) -> Image:
        """A black picture to start from, as large as the film."""
        png = BytesIO()
        PIL.Image.new("RGB", (size.width, size.height)).save(png, "PNG")
        media = self._media.add_bytes(png.getvalue())
        return Image(media=media, name="black", width=size.width, height=size.height)

    def guide(self, video: Path, mask: Path | None) -> Guide:
        """Keep a video that a film is to follow, as it is, and its mask, which is a picture or a video."""
        kept = self._video(video)
        if mask is None:
            return Guide(video=kept)
        with named(mask):
            still = sandbox.is_picture(mask)
        return Guide(video=kept, mask=self.keep(self.look(mask)).media if still else self._video(mask))

    def _video(self, path: Path) -> MediaId:
        with named(path):
            sandbox.probe(path)
        return self._media.add_file(path)

    def clip(self, path: Path, keep_frames: int | None) -> Clip:
        """Keep a video that is to be continued, as it is."""
        with named(path):
            facts, _ = sandbox.probe(path)
            kept = kept_frames(facts.frames, keep_frames)
        if kept < SHORTEST_CLIP:
            raise UserError(f"{path.name} is too short to continue: it needs {SHORTEST_CLIP} frames and has {kept}.")
        media = self._media.add_file(path)
        return Clip(media=media, name=path.name, width=facts.width, height=facts.height, seconds=facts.seconds)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Complaints about a file begin with its name."""
    if not path.is_file():
        raise UserError(f"{path} is not a file." if path.exists() else f"There is no file {path}.")
    try:
        yield
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error
