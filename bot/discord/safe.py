"""Words of people, and of directors who repeat them, made fit to be shown: they stay words, whatever they hold."""

import re
import unicodedata

import discord

_MARKDOWN = re.compile(r"[\\*_~`|<>\[\]#]|^[-+=]|:(?=//)")
_SUBTEXT = re.compile("^-#")  # an escape does not keep every reader from taking it for a format
_NUMBERED = re.compile(r"^(\d+)([.)])")
_KEPT = "\u200c\u200d\ufe0f"  # join letters of some scripts, and the parts of an emoji


def one_line(text: str, longest: int) -> str:
    """A text of any origin on one line of at most `longest` letters (its escapes not counted).

    No mention, link, list, heading or other format comes out of it, and no letter that turns the line around.
    """
    return escaped(plain(text, longest))


def escaped(text: str) -> str:
    """A line that Discord shows as it is."""
    text = _MARKDOWN.sub(r"\\\g<0>", discord.utils.escape_mentions(_SUBTEXT.sub("-\u200b#", text)))
    return _NUMBERED.sub(r"\1\\\2", text)


def plain(text: str, longest: int) -> str:
    """The same for places that show no format, as the description of a picture."""
    words = text[: 8 * longest].split()  # what is longer is cut in any case
    return cut(" ".join(filter(None, map(_printable, words))), longest)


def cut(text: str, longest: int) -> str:
    """A text of at most `longest` letters; what is left out is marked."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _printable(word: str) -> str:
    return "".join(each for each in word if each in _KEPT or unicodedata.category(each) not in ("Cc", "Cf", "Cs"))
