"""The log of every process: one line an event, with the job that it is about, and without secrets."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

LogForm = Literal["text", "json"]
HIDDEN = "[hidden]"
_SECRETS = (
    re.compile(r"[\w-]{18,}\.[\w-]{5,}\.[\w-]{20,}"),  # the bot's token, and those inside headers
    re.compile(r"(?<=/)(?<![\w-])[\w-]{40,}(?=[/?\s'\"]|$)"),  # of an interaction or a webhook, in an address
    re.compile(r"(?:(?<=token=)|(?<=token': ')|(?<=token\": \"))[^'\"&\s,]+"),
    re.compile(r"(?<=[?&])(?:ex|is|hm)=[0-9a-f]+"),  # of an attachment
)
_subject: ContextVar[Mapping[str, int | str]] = ContextVar("subject")


@contextmanager
def about(**what: int | str | None) -> Iterator[None]:
    """What is logged inside the block, and in tasks that are begun there, is about this: about(job=12)."""
    known = {name: value for name, value in what.items() if value is not None}
    before = _subject.set({**_subject.get({}), **known})
    try:
        yield
    finally:
        _subject.reset(before)


class OneLine(logging.Formatter):
    """An event as a line for people, or as a JSON object for machines. What only its owner may know is hidden in both,
    in messages and in tracebacks. A traceback takes more lines in the form for people."""

    def __init__(self, form: LogForm = "text", secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._form = form
        self._secrets = tuple(filter(None, secrets))

    def format(self, record: logging.LogRecord) -> str:
        """The record as a text."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        subject, said = _subject.get({}), self._redacted(record.getMessage())
        trace = self._redacted(self.formatException(record.exc_info)) if record.exc_info else ""
        if self._form == "json":
            line = {"at": at, "level": record.levelname, "logger": record.name, **subject, "text": said}
            return json.dumps(line | ({"trace": trace} if trace else {}), ensure_ascii=False)
        named = "".join(f" {name}={value}" for name, value in subject.items())
        return f"{at} {record.levelname} {record.name}{named}: {said}" + (f"\n{trace}" if trace else "")

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern in _SECRETS:
            text = pattern.sub(HIDDEN, text)
        return text


def log_to(stream: TextIO = sys.stderr, form: LogForm = "text", secrets: tuple[str, ...] = ()) -> None:
    """Everything from INFO on, redacted. NOTE: at DEBUG discord.py writes out whole requests."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(form, secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
