"""longtake talk: a conversation with the director on the command line."""

import argparse
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bot.cli import display
from bot.cli.deliver import deliver, require_free
from bot.cli.exits import EXIT_USER_ERROR, answer, complain, say
from bot.conversation import Conversation, Reply
from bot.studio import Studio
from bot.wish import Wish
from storage.schema import UserError

Options = argparse.Namespace
NAMES = re.compile(r"""(?<!\S)(?:'(?P<single>[^']+)'|"(?P<double>[^"]+)"|(?P<plain>(?:\\.|\S)+))(?!\S) ?""")
PICTURE_FILES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff")


async def converse(studio: Studio, messages: Iterable[str], wish: Wish, options: Options) -> int:
    """One turn after the other; `wish` is what the command line says of all. A turn that fails says so, and the
    conversation goes on."""
    code, conversation = 0, Conversation(studio)
    async with studio:
        for message in messages:
            try:
                pictures, text = pictures_in(message)
                asked = replace(wish, text=text, images=(*wish.images, *pictures))
                wish = replace(wish, images=())  # they came with the first message
                if options.out:
                    require_free(options.out, asked.files)
                with display.planning(quiet=options.json or studio.model is None) as tell:
                    reply = await conversation.talk(asked, tell)
                code = show_reply(studio, reply, options)
            except UserError as error:
                code = complain(str(error), EXIT_USER_ERROR)
    return code


def show_reply(studio: Studio, reply: Reply, options: Options) -> int:
    """Sentences, then the draft to look at, or the film as it is made."""
    if options.json:
        board = reply.draft.plan.storyboard.model_dump(mode="json") if reply.draft else None
        answer({"lines": [*reply.lines], "draft": board, "job": reply.job.id if reply.job else None})
    else:
        display.lines(reply.lines)
    if reply.draft and not options.json:
        display.planned(reply.draft.plan)
        say("\nSay “film it”, or what should be different.")
    return deliver(studio, reply.job, (), options) if reply.job else 0


def pictures_in(message: str) -> tuple[list[Path], str]:
    """Files of pictures that a message names, as a terminal pastes them, and the message without them."""
    pictures: list[Path] = []

    def taken(match: re.Match[str]) -> str:
        quoted, plain = match["single"] or match["double"], match["plain"] or ""
        path = Path(quoted or re.sub(r"\\(.)", r"\1", plain))
        path = path.expanduser() if path.parts[:1] == ("~",) else path
        if path.suffix.lower() not in PICTURE_FILES or not path.is_file():
            return match[0]
        pictures.append(path)
        return ""

    return pictures, NAMES.sub(taken, message).strip()
