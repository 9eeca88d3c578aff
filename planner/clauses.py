"""A story cut into clauses: at sentences, at "then" in the common languages, and at commas that begin something new.

Numbers, abbreviations, quoted speech and times stay whole. Every pass is linear in the text.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from planner.anchors import find_mentions, opens_with_picture
from planner.camera import take_camera
from planner.setting import phrase_of
from planner.times import Mark
from planner.words import starts_clause


@dataclass(frozen=True)
class Clause:
    """Characters [start, stop) of a story, with the times in them. `sequel` says that a word like "then" led to it."""

    start: int
    stop: int
    sequel: bool
    first_sentence: bool
    marks: tuple[Mark, ...] = ()


_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "『": "』", "‹": "›"}
_WHOLE_DOTS = re.compile(
    r"(?<!\w)(?:mr|mrs|ms|dr|st|prof|sr|jr|vs|etc|approx|ca|bzw|usw|evtl|nr|no|mme|mlle|sra|dra|(?-i:[A-Z])|z\. ?b"
    r"|d\. ?h|e\.g|i\.e)\."
    r"(?= ?[^\s])|(?<!\d)\d{1,4}\.(?= ?(?:bild|foto|sekunde|mal|[\da-zäöü]))|\d[.,](?=\d)",
    re.IGNORECASE,
)
_BREAK = re.compile(
    r"""(?P<stop>[.!?…]+["”’»)\]]*(?=\s|$)|[。！？；;\n]+|(?:->|=>|→|➜|⇒))"""
    r"|(?P<link>(?<!\w)(?<!now and )(?<!since )(?<!until )(?<!back )(?<!even )(?<!by )(?<!just )"
    r"(?:then(?! again)|after (?:that|this)|afterwards|and next|followed by"
    r"|dann|danach|anschlie(?:ß|ss)end|daraufhin|als nächstes|puis|ensuite|après (?:ça|cela)|luego|desp?u[eé]s(?! de)"
    r"|entonces"
    r"|a continuación|poi|dopodiché|in seguito|depois(?! d)|em seguida|então|daarna|vervolgens|en dan|потом|затем"
    r"|после этого"
    r"|потім|potem|następnie|ardından|daha sonra|därefter|och sedan|potom"
    r"|그리고 나서|그 다음에?|그런 다음|그리고|फिर|उसके बाद|ثم"
    r")(?!\w)|(?<!\w)and (?=(?:it )?(?:ends?|ending|finish(?:es|ing)?|concludes?) (?:with|on|in|by)(?!\w))"
    r"|それから|その後|そのあと|次に|そして|然[后後]|接[着著]|随后|之[后後]|最[后後]に?)",
    re.IGNORECASE,
)
LEADING = re.compile(
    r"(?P<first>(?:at )?first(?:ly)?(?=,| (?:he|she|it|they|we|the|a|an|my|his|her)(?!\w))|zuerst|zunächst|d'abord"
    r"|primero|prima"
    r"|eerst|сначала|まず|最初に|首先|먼저)(?!\w),? ?"
    r"|(?:and |und |et |y |e )?(?:next(?=,| (?:he|she|it|they|we|the|a|an|my|his|her)(?!\w))|finally|lastly|at last"
    r"|later(?! on\b)"
    r"|schlie(?:ß|ss)lich|zuletzt|enfin|finalement|finalmente|por último|infine|ten ?slotte|tot slot|наконец"
    r"|마지막으로)(?!\w),? ?",
    re.IGNORECASE,
)
_AND_THERE = re.compile(r"\S[ ,]+(?:and|und|et|y|e) $", re.IGNORECASE)
_NEAR = 120  # characters: no camera move, setting or picture needs more
_JOINT = re.compile(r"^(?:and|und|et|y|e|и)(?= )|(?:^|(?<= ))(?:and|und|et|y|and then)$", re.IGNORECASE)


def clauses(text: str, marks: Sequence[Mark], pictures: int) -> Iterator[Clause]:
    """The clauses of a text, in order, none of them blank. `marks` are its times, in order."""
    veil = _veil(text, marks)
    for sentence in _sentences(veil):
        for clause in _comma_clauses(text, veil, _marked(sentence, marks), pictures):
            for timed in _one_time_each(text, _marked(clause, marks)):
                yield _marked(timed, marks)


def _marked(clause: Clause, marks: Sequence[Mark]) -> Clause:
    """The clause with those of the marks that begin in it."""
    first, last = (bisect_left(marks, place, key=lambda mark: mark.start) for place in (clause.start, clause.stop))
    return replace(clause, marks=tuple(marks[first:last]))


def _veil(text: str, marks: Sequence[Mark]) -> str:
    """The text with an x for every character at which it must not be split; the same length.

    "(at 3 seconds: he waves)", the timed form that the model reads, is a clause of its own.
    """
    veil = list(text)
    for match in _WHOLE_DOTS.finditer(text):
        veil[match.start() : match.end()] = "x" * (match.end() - match.start())
    for mark in marks:
        veil[mark.start : mark.stop] = "x" * (mark.stop - mark.start)
    for start, stop in _enclosed(text):
        veil[start:stop] = "x" * (stop - start)
    for mark in marks:
        before = text[max(0, mark.start - 2) : mark.start].rstrip()
        close = text.find(")", mark.stop, mark.stop + 400)
        if before.endswith("(") and close > 0:
            inner = veil[mark.stop : close]
            veil[mark.start - 1 : mark.stop] = ";" + "x" * (mark.stop - mark.start)
            veil[mark.stop : close + 1] = [*inner, ";"]
    return "".join(veil)


def _enclosed(text: str) -> Iterator[tuple[int, int]]:
    """The insides of quotation marks and brackets, where each pair closes within 400 characters."""
    pairs = _QUOTES | {"(": ")", "[": "]"}
    at = 0
    while at < len(text):
        closing = pairs.get(text[at])
        stop = text.find(closing, at + 1, at + 400) if closing else -1
        if stop > 0:
            yield at + 1, stop
            at = stop
        at += 1


def _sentences(veil: str) -> Iterator[Clause]:
    """Spans between full stops and words like "then"."""
    at, sequel, first = 0, False, True
    for match in _BREAK.finditer(veil):
        if veil[at : match.start()].strip(" ,，.-"):
            yield Clause(at, match.start(), sequel, first)
            sequel, first = False, False
        sequel = bool(match["link"]) or (sequel and not match["stop"]) or match[0] in ("->", "=>", "→", "➜", "⇒")
        at = match.end()
    if veil[at:].strip(" ,，.-"):
        yield Clause(at, len(veil), sequel, first)


def _comma_clauses(text: str, veil: str, sentence: Clause, pictures: int) -> Iterator[Clause]:
    """A sentence split at those commas that begin a clause, a time, a camera move, a picture or a setting."""
    commas = [match.start() for match in re.finditer("[,，]", veil[sentence.start : sentence.stop])]
    bounds = [sentence.start - 1, *(sentence.start + comma for comma in commas), sentence.stop]
    start, sequel = sentence.start, sentence.sequel
    for comma, following in pairwise(bounds[1:]):
        before = text[max(start, comma - _NEAR) : comma].strip()
        alone = _stands_alone(_untimed(text, comma + 1, following, sentence), pictures)
        # "At night, the dog sleeps": in a later sentence a setting holds from there on, so it stays with its clause.
        local = start == sentence.start and not sentence.first_sentence and phrase_of(clean(before)) is not None
        ends = comma - start <= _NEAR and _stands_alone(_untimed(text, start, comma, sentence), pictures)
        if alone or (not local and (ends or _begins(text, comma, following, before, sentence))):
            yield Clause(start, comma, sequel, sentence.first_sentence)
            start, sequel = comma + 1, False
    yield Clause(start, sentence.stop, sequel, sentence.first_sentence)


def _untimed(text: str, start: int, stop: int, sentence: Clause) -> str:
    """The words in [start, stop) without their times: "zoom in at 4 s" is a camera move by itself."""
    words, at = "", start
    for mark in _marked(Clause(start, stop, False, False), sentence.marks).marks:
        if mark.places:
            words, at = words + text[at : mark.start], min(mark.stop, stop)
    return words + text[at:stop]


def _begins(text: str, comma: int, following: int, before: str, sentence: Clause) -> bool:
    """Whether the words between a comma and the following one begin a clause."""
    words = text[comma + 1 : following].strip()
    start = comma + 1 + text[comma + 1 : following].find(words)
    near = _marked(Clause(start, start + 5, False, False), sentence.marks).marks
    starts = {mark.start for mark in near if mark.places}
    return (
        start in starts
        or (start + 4 in starts and words.lower().startswith("and "))
        or (text[comma] == "，" and len(words) > 2)
        or LEADING.match(words) is not None
        or opens_with_picture(words)
        or starts_clause(words, before)
    )


def _stands_alone(words: str, pictures: int) -> bool:
    """Whether a part between commas is a setting, a camera move or a picture by itself."""
    words = clean(words)
    if not words or len(words) > _NEAR:
        return False
    mentions, rest = find_mentions(words, pictures)
    return (bool(mentions) and not rest) or phrase_of(words) is not None or not take_camera(words).action


def _one_time_each(text: str, clause: Clause) -> Iterator[Clause]:
    """A clause with several times is split there: before each where it begins with one, else behind each. A
    time right behind "and" begins a clause."""
    times = [mark for mark in clause.marks if mark.places]
    leads = bool(times) and not clean(text[clause.start : times[0].start].strip("( "))
    cuts = []
    for previous, mark in pairwise([None, *times]):
        assert mark is not None
        if _AND_THERE.search(text[max(clause.start, mark.start - 8) : mark.start]):  # "he sits, and at 8 s stands"
            cuts.append(mark.start)
        elif previous:
            cuts.append(mark.start if leads else previous.stop)
    for start, stop in pairwise([clause.start, *cuts, clause.stop]):
        yield Clause(start, stop, clause.sequel and start == clause.start, clause.first_sentence)


def clean(words: str) -> str:
    """A clause without what joined it to its neighbours."""
    words = words.strip(" ,;:–—-=>|，、：\n")
    for _ in range(3):  # "and, and then"
        words = _JOINT.sub("", words).strip(" ,;:，、")
    if words.endswith(".") and not words.endswith(".."):
        words = words[:-1]
    if words.startswith(("(", "[")) and words.endswith((")", "]")) and words.count(words[0]) == 1:
        words = words[1:-1]
    return re.sub(" {2,}", " ", words.strip(" 。"))
