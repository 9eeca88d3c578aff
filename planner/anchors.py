"""Pictures in a story: "end on picture 2", "start with the first photo", "bild 2", "the last image"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from storage.schema import Storyboard, UserError


class Place(Enum):
    """Where in the film a picture is wanted."""

    START = auto()
    END = auto()
    HERE = auto()  # with the event that mentions it


@dataclass(frozen=True)
class Mention:
    """A picture of the request, counted from 1, and where it is wanted."""

    picture: int
    place: Place


_NOUN = (
    r"(?:pictures?|photo(?:graph|s|graphs)?|images?|pics?|bild(?:e[rs]?|ern)?|fotos?|imágenes|imagen|imagem|imagens"
    r"|immagine|"
    r"afbeelding|картин[аеукой]{1,2}|фото|photographie)"
)
_ORDINALS = {
    1: "first|1st|erste[nrsm]?|première?|premier|primera?|primero|primo|prima|primeira|eerste|1\\.",
    2: "second|2nd|zweite[nrsm]?|deuxième|seconde|segund[oa]|second[oa]|tweede|2\\.|2e",
    3: "third|3rd|dritte[nrsm]?|troisième|tercera?|terz[oa]|terceir[oa]|derde|3\\.|3e",
    4: "fourth|4th|vierte[nrsm]?|quatrième|cuart[oa]|quarto|4\\.|4e",
    5: "fifth|5th|fünfte[nrsm]?|cinquième|quint[oa]|5\\.",
    6: "sixth|6th|sechste[nrsm]?|sixième|sext[oa]|6\\.",
    7: "seventh|7th|siebte[nrsm]?|septième|7\\.",
    8: "eighth|8th|achte[nrsm]?|huitième|octav[oa]|8\\.",
}
_LAST = r"last|final|letzte[nrsm]?|dernière?|dernier|últim[oa]|ultim[oa]|laatste"
_WORDS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "eins": 1,
    "zwei": 2,
    "drei": 3,
    "deux": 2,
    "trois": 3,
    "dos": 2,
}
_CJK = {"一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8}
# "start with the first photo and end with the second": the noun is said once
_NOUNLESS = re.compile(
    r"(?<!\w)(?P<lead>(?:end|finish|close|start|begin|open)(?:s|ing)? (?:with|on|at|in) the )"
    r"(?P<which>first|second|third|fourth|last|other)(?: one)?(?=\s*(?:[,.;!\n]|$|and ))",
    re.IGNORECASE,
)
_ORDINAL = "|".join(f"(?P<o{number}>{words})" for number, words in _ORDINALS.items())
_MENTION = re.compile(
    rf"(?<!\w){_NOUN} ?(?:number |no\.? ?|nr\.? ?|n° ?|#)?(?P<number>\d{{1,3}}(?!\w|[.:]\d)"
    rf"|(?:{'|'.join(_WORDS)})(?!\w))"
    rf"|(?<!\w)(?:{_ORDINAL}|(?P<last>{_LAST})) {_NOUN}(?!\w)"
    r"|(?:第(?P<cjk>[一二两三四五六七八\d])[张張幅枚](?:图片|照片|圖片|图|圖|画像|写真|の画像|の写真)?"
    r"|(?:图片?|照片|画像|写真)(?P<cjk_number>\d)(?!\d)|(?P<mai>\d)枚目(?:の(?:写真|画像))?"
    r"|(?P<cjk_last>最后一张(?:图片?|照片)?|最後の(?:写真|画像)))",
    re.IGNORECASE,
)
_END = (
    r"(?:end(?:s|ing)?|finish(?:es|ing)?|finale?|clos(?:e|es|ing)|conclude|last (?:frame|shot|window)|schluss|ende"
    r"|enden|endet|"
    r"aufhören|fin|finir|finit|termine[rz]?|termina(?:r|ndo)?|acaba(?:r|ndo)?|fine|finisce|eindig|einde)"
)
_START = (
    r"(?:start(?:s|ing|en)?|begin(?:s|ning|nen|nt)?|open(?:s|ing)?|first (?:frame|shot|window)|anfang(?:en)?|beginn"
    r"|zuerst|"
    r"commence[rz]?|début|empieza|empezar|comienza|comenzar|inicio|principio|inizia(?:re)?|begin met)"
)
_END_SIGN = re.compile(rf"(?<!\w){_END}(?!\w)|结尾|结束|最后|終わ|で締め", re.IGNORECASE)
_START_SIGN = re.compile(rf"(?<!\w){_START}(?!\w)|开头|开始|始ま|から始", re.IGNORECASE)
_FILLER = re.compile(
    r"(?<!\w)(?:on|with|at|in|into|to|from|for|as|the|a|an|and|then|it|its|film|video|clip|shot|frame|window|should|be"
    r"|is|of|"
    r"by|use|using|uses|show|shows|showing|cut|cuts|go|goes|going|switch|switches|change|changes|move|moves|take|like"
    r"|this|"
    r"that|please|finally|all|my|anchor|reference|here|comes|back|again|transition|morph|morphs|up|"
    r"mit|auf|bei|beim|zu|zum|am|im|das|dem|der|den|die|als|und|dann|nimm|nehme|soll|"
    r"avec|sur|à|au|la|le|les|l|de|du|et|par|utilise|utiliser|comme|con|en|el|una?|por|usa|usar|y|al|del|como|che|il"
    r"|lo|su|"
    rf"nell|op|het|met|{_END}|{_START})(?!\w)"
    r"|用|以|在|的|作为|为|结尾|结束|最后|开头|开始|から|で|の|に|を|は|始める|始まる|始まり|始め|終わる|終わり|終わって|使って|"
    r"使う|切り替え|换成|切换到|切到|到",
    re.IGNORECASE,
)
_ON = (
    r"(?:(?:on|with|at|in|by|for|as|mit|bei|auf|zum|am|als|avec|sur|par|à|pour|con|en|al|para|:) ?)?(?:(?:the|very|das"
    r"|dem|der|la|le|el) ){0,2}"
)
_AFTER_END, _AFTER_START = (re.compile(rf"(?<!\w){word} {_ON}$", re.IGNORECASE) for word in (_END, _START))
_FOR_END, _FOR_START = (re.compile(rf"^ ?{_ON}{word}(?!\w)", re.IGNORECASE) for word in (_END, _START))
_FROM = re.compile(r"(?<!\w)(?:from|von|de|desde|da) (?:(?:the|la|le|el|der|dem) ?)?$", re.IGNORECASE)
_BEFORE = re.compile(
    rf"[\s,(]*(?:(?<!\w)(?:(?:the film|the video|it) )?(?:{_END}|{_START}) )?"
    r"(?:(?:just |exactly )?(?:as|like|seen)(?: (?:shown|seen))? )?"
    r"(?:(?<!\w)(?:in|on|onto|into|at|with|to|from|of|using|by|use|for|mit|auf|aus|von|zu|in|wie|avec|sur|de|dans|en"
    r"|con|as) )?"
    r"(?:(?:the|my|our|dem|das|der|la|le|l'|el|il) ?)?[\s(]*$",
    re.IGNORECASE,
)


def with_nouns(text: str, pictures: int) -> str:
    """A text in which every picture is called one. "The other" of two is the second.

    >>> with_nouns("start with the first photo and end with the other", 2)
    'start with the first photo and end with the second picture'
    """
    if pictures < 2:
        return text
    return _NOUNLESS.sub(
        lambda match: f"{match['lead']}{'second' if match['which'].lower() == 'other' else match['which']} picture",
        text,
    )


def find_mentions(clause: str, pictures: int) -> tuple[tuple[Mention, ...], str]:
    """The pictures that a clause names, and what is left of it to film.

    An ordinal beyond the request's pictures inside an event ("she takes a second photo") is part of the story; a
    picture that is asked for by number, or to start or end with, must exist.

    >>> find_mentions("end on picture 2", 2)
    ((Mention(picture=2, place=<Place.END: 2>),), '')
    """
    matches = list(_MENTION.finditer(clause))
    if not matches:
        return (), clause
    alone = not any(map(str.isalnum, _FILLER.sub(" ", _MENTION.sub(" ", clause))))
    mentions, kept, at = [], "", 0
    for index, match in enumerate(matches):
        number = _number(match, pictures)
        ordinal = not (match["number"] or match["cjk_number"])
        place = _place_alone(clause, matches, index) if alone else _place_in_event(clause, match)
        if ordinal and not alone and place is Place.HERE and not 1 <= number <= pictures:
            continue
        _check(number, pictures)
        mentions.append(Mention(number, place))
        before = clause[at : match.start()]
        lead = _BEFORE.search(before[-60:])
        kept += before[: len(before) - len(lead[0])] if lead else before
        at = match.end()
    rest = "" if alone and mentions else re.sub(r"\(\s*\)|^[\s,)]+", "", kept + clause[at:])
    return tuple(mentions), rest.strip(" ,") if mentions else clause


def _number(match: re.Match[str], pictures: int) -> int:
    if word := match["number"]:
        return int(word) if word.isdigit() else _WORDS[word.lower()]
    if word := match["cjk"] or match["cjk_number"] or match["mai"]:
        return _CJK.get(word) or int(word)
    if match["last"] or match["cjk_last"]:
        return max(pictures, 1)
    return next(number for number in _ORDINALS if match[f"o{number}"])


def _check(number: int, pictures: int) -> None:
    if not 1 <= number <= pictures:
        raise missing_picture(number, pictures)


def opens_with_picture(words: str) -> bool:
    """Whether a clause names a picture before anything else: "picture 2: she smiles"."""
    return _MENTION.match(re.sub(r"^(?:and )?(?:the |das |la |le )?", "", words)) is not None


def missing_picture(number: int, pictures: int) -> UserError:
    """The error for a picture that is asked for but not there."""
    has = f"{pictures} picture{'' if pictures == 1 else 's'}" if pictures else "no pictures"
    return UserError(f"There is no picture {number}: this request has {has}.")


def _place_in_event(clause: str, match: re.Match[str]) -> Place:
    """Where a picture named inside an event is wanted: "end on picture 2 with a smile". Only the words next to it "
    "count."""
    before, behind = clause[max(0, match.start() - 40) : match.start()], clause[match.end() : match.end() + 40]
    if _AFTER_END.search(before) or _FOR_END.search(behind):
        return Place.END
    return Place.START if _AFTER_START.search(before) or _FOR_START.search(behind) else Place.HERE


def _place_alone(clause: str, matches: Sequence[re.Match[str]], index: int) -> Place:
    """Where a picture is wanted in a clause about pictures alone: the words before it, or behind it, say."""
    if len(matches) == 2 and _FROM.search(clause[: matches[0].start()]):
        return (Place.START, Place.END)[index]
    previous = matches[index - 1].end() if index else 0
    following = matches[index + 1].start() if index + 1 < len(matches) else len(clause)
    before, behind = clause[previous : matches[index].start()], clause[matches[index].end() : following]
    for words in (before, behind):
        end, start = _END_SIGN.search(words), _START_SIGN.search(words)
        if end and words is behind and index + 1 < len(matches):
            continue
        if end:
            return Place.END
        if start:
            return Place.START
    return Place.HERE


def place_anchors(wanted: Sequence[tuple[int, int]], windows: int, first_picture: int | None) -> list[int | None]:
    """The anchor of each window, None where it stays as it is.

    `wanted` holds (window, picture) in the order of the film, windows from 0; `first_picture` starts the film where
    nothing else does. Every picture gets a window of its own while there are enough of them: a picture that comes too
    close behind another moves to the next window, one that would fall behind the last window moves forward.
    """
    places = sorted(wanted, key=lambda place: place[0])
    if first_picture is not None and (not places or places[0][0] > 0):
        places = [(0, first_picture), *places]
    places = [place for before, place in pairwise([None, *places]) if place and (not before or before[1] != place[1])]
    slots = [window for window, _ in places]
    for index in range(1, len(slots)):
        slots[index] = max(slots[index], slots[index - 1] + 1)
    limit = windows - 1
    for index in reversed(range(len(slots))):
        slots[index] = max(0, min(slots[index], limit))
        limit = slots[index] - 1
    anchors: list[int | None] = [None] * windows
    for slot, (_, picture) in zip(slots, places, strict=True):
        anchors[slot] = picture
    return anchors


def spread_pictures(pictures: int, windows: int) -> list[tuple[int, int]]:
    """Pictures that the story does not mention: in order, evenly over the windows.

    With as many windows as pictures each window has its own, as in the source's anchor list. With more windows the
    source keeps the last picture for all that remain; two pictures for a half-minute film would then be five seconds
    of the first and twenty-five of the second. Who sends two pictures means the way from one to the other, so each
    holds an equal share. With fewer windows the last pictures are left out, and the person is told.
    """
    shown = min(pictures, windows)
    return [(picture * windows // shown, picture + 1) for picture in range(shown)]


def one_a_window(storyboard: Storyboard, pictures: Sequence[int], first: int = 0) -> Storyboard:
    """The storyboard with one picture a window, from window `first` on, counted from 0; the last one holds on."""
    anchored = dict(enumerate(pictures, start=first))
    windows = [
        window.model_copy(update={"anchor": anchored.get(number, window.anchor)})
        for number, window in enumerate(storyboard.windows)
    ]
    return storyboard.model_copy(update={"windows": tuple(windows)})
