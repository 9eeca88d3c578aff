"""Logs without secrets: tokens of the bot, of interactions and of webhooks, and signatures of attachments."""

import logging
import re
import sys
from typing import TextIO

_SECRETS = (
    re.compile(r"[\w-]{18,}\.[\w-]{5,}\.[\w-]{20,}"),  # the bot's token, and those inside headers
    re.compile(r"(?<=/)(?<![\w-])[\w-]{40,}(?=[/?\s'\"]|$)"),  # of an interaction or a webhook, in an address
    re.compile(r"(?:(?<=token=)|(?<=token': ')|(?<=token\": \"))[^'\"&\s,]+"),
    re.compile(r"(?<=[?&])(?:ex|is|hm)=[0-9a-f]+"),  # of an attachment
)
HIDDEN = "[hidden]"


class Redacting(logging.Formatter):
    """A formatter that hides what only its owner may know, in messages and in tracebacks."""

    def __init__(self, text: str, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self._secrets = tuple(filter(None, secrets))

    def format(self, record: logging.LogRecord) -> str:
        """The record as a text."""
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        for pattern in _SECRETS:
            line = pattern.sub(HIDDEN, line)
        return line


def log_to(stream: TextIO = sys.stderr, secrets: tuple[str, ...] = ()) -> None:
    """Everything from INFO on, redacted. NOTE: at DEBUG the library writes out whole requests."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s", secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
