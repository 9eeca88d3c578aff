"""Discord is told of the commands only when they have changed: it allows few changes a day."""

import hashlib
import json
import logging

from discord import app_commands

from bot.studio import Studio

log = logging.getLogger(__name__)
SYNCED = "synced"


async def sync_if_changed(tree: app_commands.CommandTree, studio: Studio) -> bool:
    """Whether Discord was told."""
    translator = tree.translator
    told = [
        await command.get_translated_payload(tree, translator) if translator else command.to_dict(tree)
        for command in tree.get_commands()
    ]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    key = f"{SYNCED}:{tree.client.application_id}"
    if studio.manners.note(key) == digest:
        return False
    await tree.sync()
    studio.manners.keep_note(key, digest)
    log.info("Discord was told of %d commands", len(told))
    return True
