"""The video of a take, for who wants to have it."""

from pathlib import Path

from storage.media import Media
from storage.schema import Take, UserError


def video_of(media: Media, take: Take) -> Path:
    """The file, whole; UserError says what became of one that is not. Reads all of it, to be sure."""
    if media.intact(take.film.video):
        return media.path(take.film.video)
    again = f"Its plan is kept: “again” with seed {take.plan.seed} films the same once more."
    if media.has(take.film.video):
        raise UserError(f"The video of take {take.id} is damaged. {again}")
    if take.evicted:
        raise UserError(f"The video of take {take.id} was removed to save room. {again}")
    raise UserError(f"The video of take {take.id} is not there any more. {again}")
