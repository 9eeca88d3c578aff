"""What is not filmed here, or not everywhere: lists of words, and a function of the owner's own that judges every
request."""

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from storage.schema import UserError


@dataclass(frozen=True)
class Case:
    """What is judged: words that a person wrote or that a director made of them, and the pictures as they are kept, PNG
    files of ours that are there until the judge has answered."""

    text: str
    channel: str
    requester: str
    pictures: Sequence[Path] = ()
    age_restricted: bool = False  # asked where only adults are


class Restricted:
    """What a judge answers for what belongs into age-restricted channels, and nowhere else."""


Judge = Callable[[Case], str | Restricted | None]  # why not, in one sentence; None lets it pass

REFUSAL = "That is not filmed here."


@dataclass(frozen=True)
class Moderator:
    """Asks the list, then the judge."""

    blocked: re.Pattern[str] | None = None
    judges: tuple[Judge, ...] = field(default=())
    restricted: re.Pattern[str] | None = None

    def require(self, case: Case) -> bool:
        """UserError if the case is not to be filmed; the blocked word is not repeated. Otherwise whether it belongs
        into age-restricted channels."""
        text = _plain(case.text)
        if self.blocked and self.blocked.search(text):
            raise UserError(REFUSAL)
        restricted = bool(self.restricted and self.restricted.search(text))
        for judge in self.judges:
            answer = judge(case)
            if isinstance(answer, str) and answer:
                raise UserError(answer)
            restricted |= isinstance(answer, Restricted)
        return restricted


def moderator(blocklist: str, judge: str, restricted: str = "") -> Moderator:
    """The moderator of the settings: the names of two files of words, and of a function as module:function."""
    return Moderator(
        _words(blocklist, "BLOCKLIST") if blocklist else None,
        (_function(judge),) if judge else (),
        _words(restricted, "RESTRICTED_WORDS") if restricted else None,
    )


def pattern_of(lines: Iterable[str]) -> re.Pattern[str] | None:
    """Words and phrases, one a line, as a pattern of whole words; * stands for any letters, # begins a comment."""
    words = [_plain(line.split("#")[0]).strip() for line in lines]
    patterns = [re.escape(word).replace(r"\*", r"\w*").replace(r"\ ", r"\W+") for word in words if word.strip("* ")]
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)") if patterns else None


def _plain(text: str) -> str:
    """Lower case, without characters that are not seen."""
    return re.sub(r"[\u00ad\u200b-\u200f\u2060\ufeff]", "", text).casefold()


def _words(name: str, setting: str) -> re.Pattern[str] | None:
    try:
        return pattern_of(Path(name).expanduser().read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The setting LONGTAKE_{setting} names {name}, which cannot be read.") from error


def _function(name: str) -> Judge:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"The setting LONGTAKE_MODERATION names {name}, and there is no such function.") from error
    return cast("Judge", found)
