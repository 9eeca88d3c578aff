"""Files that a person hands in: looked at, and kept in the media store if they are what they should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import PIL.Image

from bot.settings import BotSettings
from storage.footage import kept_frames, probe
from storage.media import Media
from storage.pictures import is_picture, load_picture
from storage.schema import Clip, Guide, Image, MediaId, Size, UserError

LONGEST_SIDE = 2560  # pixels that are kept of a picture; no size that is filmed shows more
SHORTEST_CLIP = 9  # frames: what the tail of a video is made from


class Intake:
    """Takes pictures and videos in. Whatever is wrong with a file is a UserError that names it."""

    def __init__(self, settings: BotSettings, media: Media) -> None:
        self._most_pixels = round(settings.max_megapixels * 1e6)
        self._media = media

    def picture(self, path: Path) -> Image:
        """Keep a picture: upright, as plain RGB without metadata, at most 2560 pixels long."""
        with named(path):
            picture = load_picture(path, self._most_pixels)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        png = BytesIO()
        picture.save(png, "PNG", compress_level=1)
        media = self._media.add_bytes(png.getvalue())
        return Image(media=media, name=path.name, width=picture.width, height=picture.height)

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
            still = is_picture(mask)
        return Guide(video=kept, mask=self.picture(mask).media if still else self._video(mask))

    def _video(self, path: Path) -> MediaId:
        with named(path):
            probe(path)
        return self._media.add_file(path)

    def clip(self, path: Path, keep_frames: int | None) -> Clip:
        """Keep a video that is to be continued, as it is."""
        with named(path):
            facts = probe(path)
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
