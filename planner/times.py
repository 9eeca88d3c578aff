"""Times and lengths as people write them: "15 s", "1:10", "at 8 seconds", "from 2 to 4 s", "halfway", "3 s later"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from planner.durations import AMOUNT, CLOCK, SECONDS, SPAN, seconds_of

ENDING_SECONDS = 2.0  # "at the end" begins this long before the end


class Sense(Enum):
    """What a duration in a story means."""

    LENGTH = auto()  # of the film
    AT = auto()  # seconds of the film
    AFTER = auto()  # "after 3 s": seconds of the film, or after the event before if that is later
    LATER = auto()  # seconds after the event before
    SHARE = auto()  # of the film, 0.5 is halfway
    BEFORE_END = auto()  # seconds before the end of the film
    LASTS = auto()  # how long an event goes on
    UNTIL = auto()  # seconds of the film at which the next event begins


@dataclass(frozen=True)
class Mark:
    """A time in a text: characters [start, stop), and what it means. `lasts` is 0 where nothing was said."""

    start: int
    stop: int
    sense: Sense
    value: float
    lasts: float = 0.0

    @property
    def places(self) -> bool:
        """Whether it says when an event begins."""
        return self.sense not in (Sense.LENGTH, Sense.LASTS, Sense.UNTIL)


_RANGE = re.compile(
    rf"(?P<word>(?<!\w)(?:from|between|von|zwischen|de|entre|da|tra) )?(?<![\w.,:])"
    rf"(?P<from>{CLOCK}|{AMOUNT}(?: ?{SECONDS})?) ?(?:-|–|~|to|bis|und|and|à|et|a|y|から|到|至) ?(?P<to>{SPAN})",
    re.IGNORECASE,
)
_ONE_SPAN = re.compile(SPAN, re.IGNORECASE)

_PLACES: tuple[tuple[Sense, float, str], ...] = (
    (Sense.SHARE, 0.5, r"(?:at the )?half ?way(?: point| through)?(?: the (?:film|video|clip))?|mid-?way(?: through)?"),
    (Sense.SHARE, 1 / 3, r"(?:after )?(?:a|one) third (?:of the way )?(?:in|through)(?: the (?:film|video|clip))?"),
    (Sense.SHARE, 2 / 3, r"(?:after )?two[ -]thirds (?:of the way )?(?:in|through)(?: the (?:film|video|clip))?"),
    (
        Sense.SHARE,
        0.5,
        r"(?:around|about|towards) the middle(?! of (?!the (?:film|video|clip)))(?: of the (?:film|video|clip))?",
    ),
    (Sense.SHARE, 0.5, r"in the middle(?! of (?!the (?:film|video|clip)))(?: of the (?:film|video|clip))?"),
    (
        Sense.SHARE,
        0.5,
        r"in der mitte(?! de)|zur hälfte|à mi-chemin|à mi-parcours|a mitad de camino"
        r"|au milieu(?! d)|a la mitad(?! d)|a metà",
    ),
    (
        Sense.BEFORE_END,
        ENDING_SECONDS,
        r"(?:right )?(?:at|in|towards?) the (?:very )?end(?! of (?!the (?:film|video|clip)))(?: of the (?:film|video"
        r"|clip))?",
    ),
    (Sense.BEFORE_END, ENDING_SECONDS, r"(?:ganz )?am ende(?! de)|zum schluss|à la fin(?! d)|al final(?! d)|alla fine"),
    (Sense.BEFORE_END, ENDING_SECONDS, r"no final(?! d)|aan het einde?|в конце"),
    (
        Sense.SHARE,
        0.0,
        r"(?:right )?(?:at|in) the (?:very )?(?:start|beginning)(?! of (?!the (?:film|video|clip)))"
        r"(?: of the (?:film|video|clip))?",
    ),
    (Sense.SHARE, 0.0, r"am anfang(?! de)|zu beginn|au début(?! d)|al principio(?! d)|all'inizio|в начале"),
)
_PLACE = [(sense, value, re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)) for sense, value, words in _PLACES]

_ABOUT = r"(?:about |around |roughly |exactly |the |ca\.? |circa |etwa |environ |unos |den )?"


def _before(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|(?<!\w))(?:{words}) ?{_ABOUT}$", re.IGNORECASE)


def _behind(words: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:{words})", re.IGNORECASE)


_LAST = _before(r"(?:(?:in|during|for) )?(?:the )?(?:last|final)|in den letzten|die letzten|in de laatste")
_FIRST = _before(r"(?:(?:in|during|for) )?(?:the )?first|in den ersten|die ersten")
_LASTING = _before(r"for(?: the next| another)?|für|pendant|durante|per|持续")
_UNTIL = _before(r"until|till|up to|bis|jusqu'à|hasta|fino a")
_AFTER = _before(
    r"after|nach|après|au bout d[e']|tras|después de|despues de|dopo|após|depois de|na|po|через|после|through"
)
_AT = _before(
    r"at|@|by|from|since|starting (?:at|from)|bei|ab|um|in(?= ?$)(?<=\bin)|à|vers|a los|a las|a|aos|bij|op|vanaf|на|в"
    r"|第|在|t ?= ?"
)
_AT_SECOND = _before(r"at|in|bei|ab|zur|à la|en el|al|no|auf|на")
_LENGTH_WORD = _before(
    r"(?:length|duration|länge|dauer|durée|duración|lasts?|lasting|dauert|dure|dura|长度)(?: (?:is|of|ist|de))?[:=]?"
    r"|make it|(?:film|video|clip) of"
)
_LATER = _behind(
    r" (?:later|afterwards|after (?:that|this)|after|später|danach|plus tard|más tarde|dopo|depois|sonra)(?!\w)"
)
_CJK_AFTER = _behind(r" ?(?:之?[后後]|以后|후|뒤)")
_CJK_AT = _behind(r" ?(?:[时時]|的时候|のとき|の時|目|で|に|处|에)")
_INTO = _behind(
    r" (?:in(?! (?:the|a|an|my|his|her)(?!\w))(?= ?[,.:;]| \w|$)|into (?:the|this) (?:film|video|clip|shot)|mark)(?!\w)"
)
_LANG = _behind(r" lang(?!\w)")
_NOUN = (
    r"(?:film|video|clip|movie|shot|take|scene|movie|filmchen|vidéo|vídeo|película|filmato|filme|视频|影片|短片|电影|動画|映像|ビデオ"
    r"|영상)"
)
_LENGTH_NOUN = _behind(
    rf"(?:[ -]?(?:long(?!\w)[ -]?)?(?:的|の)?{_NOUN}(?!\w)| long(?!\w)| of(?!\w)| in total| insgesamt)"
)
_LABEL = _behind(r"\]? ?(?::|-|–|—|=|>)")
_DAYTIME = _behind(r" ?(?:a\.?m|p\.?m|uhr|o'clock|in the (?:morning|evening|afternoon)|heures|h)(?!\w)")
_DECADE = _behind(r"['’]?[ -](?:style|look|vibe|aesthetic|music|retro|fashion|film noir|disco|movie|synth|anime)")
_DECADE_BEFORE = _before(r"the|early|late|mid|'|in den|années|los")
_FILLER = re.compile(
    r"(?:^|(?<!\w))(?:(?:for|of|another|about|around|ca\.?|etwa|an?|the|eine?n?|une?|un[ao]?|weitere"
    r"|一段|一个) ){1,3}$",
    re.I,
)
_FILLER_BEHIND = re.compile(
    rf"^(?:[ -]long(?!\w))?(?:[ -]?{_NOUN}(?!\w))?(?: long(?!\w))?(?: in total)?(?: ?(?:of|von|de|about|的"
    rf"|の)(?!\w))?",
    re.I,
)


def find_marks(text: str) -> list[Mark]:
    """Every time and length of a story, in order, without overlaps. At most one is the length of the film."""
    found: list[Mark] = []
    for match in _RANGE.finditer(text):
        found += _range(text, match)
    taken = {place for mark in found for place in range(mark.start, mark.stop)}
    for match in _ONE_SPAN.finditer(text):
        if match.start() not in taken:
            found += _single(text, match)
    for sense, value, pattern in _PLACE:
        found += [Mark(match.start(), match.end(), sense, value) for match in pattern.finditer(text)]
    return list(_without_overlaps(_one_length(_labels(text, sorted(found, key=lambda mark: mark.start)))))


def _range(text: str, match: re.Match[str]) -> Iterator[Mark]:
    start, stop = seconds_of(match["from"]), seconds_of(match["to"])
    behind = text[match.end() : match.end() + 40]
    if stop <= start:
        return
    if not match["word"] and _LENGTH_NOUN.match(behind):
        yield _length(text, match.start(), match.end(), stop)
    elif match["word"] or _LABEL.match(behind) or _at_clause_start(text, match.start()) or ":" in match["to"]:
        yield Mark(match.start(), match.end(), Sense.AT, start, stop - start)


def _single(text: str, match: re.Match[str]) -> Iterator[Mark]:
    start, stop, value = match.start(), match.end(), seconds_of(match[0])
    before, behind = text[max(0, start - 40) : start], text[stop : stop + 40]
    if match[0] == "9:16" or _DAYTIME.match(behind) or _is_decade(match[0], before, behind):
        return
    if not match[0][0].isdigit() and match[0].lower().startswith(
        ("second ", "sekunde", "seconde", "segundo", "secondo")
    ):
        lead = _AT_SECOND.search(before)
        yield Mark(start - (len(lead[0]) if lead else 0), stop, Sense.AT, value)
        return
    for sense, pattern in ((Sense.LATER, _LATER), (Sense.AFTER, _CJK_AFTER), (Sense.AT, _INTO), (Sense.LASTS, _LANG)):
        if (tail := pattern.match(behind)) and not (sense is Sense.AT and _AFTER.search(before)):
            lead = _AT.search(before) if sense is not Sense.LASTS else None
            if sense is Sense.LASTS and not text[stop + tail.end() :].strip(" ,.:;!"):
                yield _length(text, start, stop + tail.end(), value)
                return
            yield Mark(start - (len(lead[0]) if lead else 0), stop + tail.end(), sense, value)
            return
    if lead := _LAST.search(before):
        yield Mark(start - len(lead[0]), stop, Sense.BEFORE_END, value, value)
    elif lead := _FIRST.search(before):
        yield Mark(start - len(lead[0]), stop, Sense.AT, 0.0, value)
    elif lead := _UNTIL.search(before):
        yield Mark(start - len(lead[0]), stop, Sense.UNTIL, value)
    elif lead := _LASTING.search(before):
        whole = not text[: start - len(lead[0])].strip(" ,.:;") or not text[stop:].strip(" ,.:;!")
        span = (start - len(lead[0]), stop)
        yield _length(text, *span, value) if whole else Mark(*span, Sense.LASTS, value)
    elif lead := _AFTER.search(before):
        yield Mark(start - len(lead[0]), stop, Sense.AFTER, value)
    elif (lead := _AT.search(before)) and not (lead[0].strip() == "a" and _LENGTH_NOUN.match(behind)):
        tail = _CJK_AT.match(behind)
        yield Mark(start - len(lead[0]), stop + (tail.end() if tail else 0), Sense.AT, value)
    elif tail := _CJK_AT.match(behind):
        yield Mark(start, stop + tail.end(), Sense.AT, value)
    else:
        yield from _bare(text, match, value)


def _bare(text: str, match: re.Match[str], value: float) -> Iterator[Mark]:
    """A duration that no preposition explains: the length of the film, the label of an event, or a plain word."""
    start, stop = match.span()
    before, behind = text[max(0, start - 40) : start], text[stop : stop + 40]
    if before.endswith("(") and behind.startswith(")"):
        yield _length(text, start - 1, stop + 1, value)
        return
    opens, closes = _at_clause_start(text, start), re.match(r"^[ \])]*(?:$|[,.;!\n，。])", behind)
    if (
        value == 0
        or (match[0].startswith(("0:", "00:")) and not closes)
        or (opens and ":" in match[0] and not closes and not _LENGTH_NOUN.match(behind))
    ):
        yield Mark(start, stop, Sense.AT, value)
    elif _LENGTH_NOUN.match(behind) or _LENGTH_WORD.search(before) or (opens and closes):
        yield _length(text, start, stop, value)
    elif opens and _LABEL.match(behind):
        first = not text[:start].strip(" ([*-•\n")
        yield _length(text, start, stop, value) if first else Mark(start, stop, Sense.AT, value)
    elif not text[:start].strip() or not text[stop:].strip(" .!"):
        yield _length(text, start, stop, value)
    elif closes:
        yield Mark(start, stop, Sense.LASTS, value)


def _length(text: str, start: int, stop: int, value: float) -> Mark:
    """A length with the small words around it: "a 10-second film of"."""
    behind = _FILLER_BEHIND.match(text[stop : stop + 60])
    stop += behind.end() if behind else 0
    before = _FILLER.search(text[max(0, start - 40) : start])
    word = _LENGTH_WORD.search(text[max(0, start - 40) : start])
    start -= max(len(before[0]) if before else 0, len(word[0]) if word else 0)
    return Mark(start, stop, Sense.LENGTH, value)


def _labels(text: str, marks: list[Mark]) -> list[Mark]:
    """ "2 s: he sits. 5 s: he stands": where several labels are, the first is no length but a label as well."""
    labels = [mark for mark in marks if _LABEL.match(text[mark.stop : mark.stop + 3])]
    if len(labels) < 2 or labels[0] is not marks[0] or labels[0].sense is not Sense.LENGTH:
        return marks
    first, second = labels[:2]
    if second.sense is not Sense.AT or second.value <= first.value:
        return marks
    return [Mark(first.start, first.stop, Sense.AT, first.value), *marks[1:]]


def _one_length(marks: list[Mark]) -> list[Mark]:
    lengths = [mark for mark in marks if mark.sense is Sense.LENGTH and mark.value > 0]
    return [mark for mark in marks if mark.sense is not Sense.LENGTH or mark is lengths[0]] if lengths else marks


def _without_overlaps(marks: list[Mark]) -> Iterator[Mark]:
    stop = 0
    for mark in marks:
        if mark.start >= stop:
            stop = mark.stop
            yield mark


def _at_clause_start(text: str, start: int) -> bool:
    head = text[max(0, start - 12) : start].rstrip(' ([*-•"')
    return (not head and start <= 12) or head.endswith((".", "!", "?", ";", ",", "\n", "，", "。", "；")) or not head


def _is_decade(match: str, before: str, behind: str) -> bool:
    if not re.fullmatch(r"\d{1,4}0s", match):
        return False
    return bool(_DECADE.match(behind) or _DECADE_BEFORE.search(before)) or len(match) > 4
