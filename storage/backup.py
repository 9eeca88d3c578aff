"""A backup of everything that is kept, made while the bot and the workers go on.

DIR/longtake.db    the database as it was at one moment
DIR/media/         every file that it names; on the same disk as links, which need no room

To restore it, copy both into an empty LONGTAKE_DATA_DIR. Work folders of unfinished jobs are not kept: such a job films
its windows again.
"""

from dataclasses import dataclass
from pathlib import Path

from storage.database import Database
from storage.disk import whole
from storage.forget import NAMING, media_in
from storage.media import Media
from storage.schema import MediaId, UserError

DATABASE, MEDIA = "longtake.db", "media"


@dataclass(frozen=True)
class Backup:
    """What a backup holds. `missing` files are named by rows and were not there, or damaged: evicted, or worse."""

    takes: int
    files: int
    missing: tuple[MediaId, ...]


def backup(database: Database, media: Media, target: Path) -> Backup:
    """Bring the backup in the folder `target` up to now; what is there already is not copied again. DiskFull without
    room: then the former backup's database is as it was.

    Most files come first. Then nobody else may write, and so delete, while the rows and what is new are copied.
    """
    if media.root.resolve() in (target.resolve(), *target.resolve().parents) or (target / MEDIA).resolve() == (
        media.root.resolve()
    ):
        raise UserError(f"A backup cannot be in the folder that it is made of: {target}.")
    store = Media(target / MEDIA)
    _share(store, media, set(media.all()))
    with whole(target / DATABASE) as copy, database.write() as db:
        database.copy(copy)
        named = media_in(db.query(NAMING))
        (takes,) = db.query("SELECT count(*) AS takes FROM takes")
        _share(store, media, named)
    kept = set(store.all())
    for media_id in kept - named:
        store.remove(media_id)
    return Backup(takes["takes"], len(kept & named), tuple(sorted(named - kept)))


def _share(store: Media, media: Media, wanted: set[MediaId]) -> None:
    for media_id in wanted - set(store.all()):
        try:
            store.share(media, media_id)
        except (FileNotFoundError, ValueError):  # forgotten or evicted meanwhile, or damaged: told of as missing
            continue
