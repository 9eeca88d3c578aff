"""LoRAs by words: "in the style of NAME", "with the LoRA NAME at 0.8", "without LoRAs".

Only names that are in the library are taken for LoRAs: "in the style of an old film" is a story.
"""

import re
from collections.abc import Iterable

from planner.brief import Offer
from storage.loras import LibraryLora, LoraLibrary
from storage.schema import Lora, UserError

MOST_OFFERS = 16

_ARTICLE = r"(?:the |a |der |dem |den |das |die |la |le |el |o |l')?"
_WITH = r"(?:with|using|use|in|and|mit|avec|con|com|y|et|und|e) "
_STRENGTH = (
    r"(?: ?(?:@|:|at|mit|à|a|em) ?(?P<strength>-?\d[\d.]*(?:[,;]\d[\d.]*)*(?<![.])(?![\d.]\d|\d|\s?(?:s\b|se|秒))))?"
)
_NONE = re.compile(r"(?<!\w)(?:without|no|ohne|sans|sin|sem) (?:any |the |la |le |el |o )?loras?(?!\w)", re.IGNORECASE)
_UNKNOWN = re.compile(rf"(?<!\w)(?:{_WITH}){_ARTICLE}lora:? [\"“']?(?P<name>[\w.+-]*\w)", re.IGNORECASE)

_DANGLING = re.compile(r"[ ,]+(?:but|and|only|aber|und|mais|et|pero|y|mas|e)$", re.IGNORECASE)
_BARE = re.compile(  # "make it in the style of NAME", without the style
    r"(?:(?:please|pls|bitte|now|and|ok(?:ay)?),? )*(?:make|do|film|shoot|use|mach(?:e)?|dreh(?:e)?|fais|haz|faz)?"
    r"(?:[ -]?(?:it|this|that|all|es|das|le|la|lo|isso))?[.! ]*",
    re.IGNORECASE,
)


def take_loras(text: str, library: LoraLibrary) -> tuple[tuple[Lora, ...] | None, str]:
    """The LoRAs that a text asks for, and the text without them. None: it says nothing of them; (): without any.

    A LoRA that is asked for outright and is not there is a UserError.
    """
    entries = library.entries()
    if not entries and "lora" not in text.casefold():
        return None, text
    chosen: list[Lora] = []
    rest = text
    for pattern in _patterns(entries):
        while match := pattern.search(rest):
            chosen += [lora for lora in library.choose(match["name"], match["strength"]) if lora not in chosen]
            rest = _less(rest, match)
    if chosen:
        return tuple(chosen), _said(rest)
    if match := _NONE.search(rest):
        return (), _said(_less(rest, match))
    if match := _UNKNOWN.search(rest):
        library.find(match["name"])
    return None, text


def asked_lora(asked: str, library: LoraLibrary) -> tuple[Lora, ...]:
    """The LoRAs of an option: NAME, or NAME:STRENGTH; "none" takes away those of the film that goes on."""
    name, _, strength = asked.rpartition(":")
    if asked.strip().casefold() == "none":
        return ()
    if not name or any(lora.is_called(asked) for lora in library.entries()):
        return library.choose(asked.strip())
    if not strength.strip():
        raise UserError(f"A LoRA is asked for as NAME or NAME:STRENGTH, not {asked[:60]}.")
    return library.choose(name.strip(), strength.strip())


def offers_of(library: LoraLibrary) -> tuple[Offer, ...]:
    """The first LoRAs of the library that say what they are for, for a language model to choose from."""
    described = ((lora, lora.sheet.description or lora.sheet.title) for lora in library.entries())
    return tuple(Offer(lora.name, words) for lora, words in described if words)[:MOST_OFFERS]


def _patterns(entries: Iterable[LibraryLora]) -> list[re.Pattern[str]]:
    names = {name for lora in entries for name in (lora.name, lora.sheet.title) if name}
    if not names:
        return []
    called = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    name = rf"[\"“'«]?(?P<name>{called})[\"”'»]?"
    cjk, name = name, rf"{name}(?![\w-])"
    style = (
        rf"(?:in|im|dans|en|con|no|com) {_ARTICLE}(?:style|look|stil|estilo) (?:of |von |de |du |d'|do |da )?{_ARTICLE}"
    )
    return [
        re.compile(rf"(?<!\w)(?:{_WITH})?{_ARTICLE}lora:? {name}{_STRENGTH}", re.IGNORECASE),
        re.compile(rf"(?<!\w)(?:{_WITH}){_ARTICLE}{name} lora{_STRENGTH}", re.IGNORECASE),
        re.compile(rf"(?<!\w){style}{name}{_STRENGTH}", re.IGNORECASE),
        re.compile(rf"(?<!\w)(?:in|im|en) {_ARTICLE}{name}[ -](?:style|look|stil){_STRENGTH}", re.IGNORECASE),
        re.compile(rf"(?<![A-Za-z0-9_]){cjk}(?:のスタイル|スタイル|风格)(?:で|的)?(?P<strength>$^)?", re.IGNORECASE),
    ]


def _said(rest: str) -> str:
    """What is left to say: nothing where the words were only about LoRAs."""
    rest = _DANGLING.sub("", rest)
    return "" if _BARE.fullmatch(rest) else rest


def _less(text: str, match: re.Match[str]) -> str:
    """A text without what a match found, and without the marks that parted it from the rest."""
    before, behind = text[: match.start()].rstrip(" ,;:-、，("), text[match.end() :].lstrip(" ,;:-、，)")
    if not before or not behind:
        return before or behind
    closed = before.endswith((".", "!", "?", "\n")) or behind.startswith((".", "!", "?"))
    return f"{before}{'' if behind.startswith(('.', '!', '?')) else ' ' if closed else ', '}{behind}"
