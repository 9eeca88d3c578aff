"""Camera moves in a story: "slow zoom out", "pan left", "tracking shot", "hold still". They are no events."""

import re
from typing import NamedTuple

_PACE = (
    r"(?:(?:very|slow|slowly|fast|quick|quickly|rapid|gentle|gently|smooth|smoothly|dramatic|steady|steadily|subtle|"
    r"sudden|long|continuous|low|high|close|extreme|wide|full|medium) ){0,3}"
)
_SIDE = (
    r"(?:(?:to |towards? )?(?:the )?(?:left|right)|up|down|upwards?|downwards?|across|around|in|out|forwards?"
    r"|backwards?|back)"
)
_TARGET = (
    r"(?: (?:on|to|towards?|onto|into|around|over) (?:the|a|an|his|her|its|their|my) [^\W\d_]+(?: [^\W\d_]+)?(?=[,.;!]"
    r"|$))?"
)
_KNOWN = (
    rf"{_PACE}zoom(?:s|ing)?[ -]?(?:into (?:the|a|an|his|her|its) [^\W\d_]+|in|out)(?: slowly| fast"
    rf"| quickly)?{_TARGET}",
    rf"{_PACE}(?:camera )?(?:pan|truck)(?:s|ning|ing)? {_SIDE}(?: slowly| fast| quickly)?{_TARGET}",
    rf"{_PACE}tilt(?:s|ing)? (?:up|down)(?:wards?)?(?! (?:his|her|its|their|the))(?: slowly)?{_TARGET}",
    rf"{_PACE}(?:dolly|crane|jib|pedestal|boom)(?:[ -](?:shot|zoom|move))?(?: {_SIDE})?(?![\w-])(?: slowly)?{_TARGET}",
    r"(?:no|without)(?: any)? (?:(?:camera )?(?:movement|motion|move|zoom|pan)(?:s|ning|ing)?)",
    rf"{_PACE}(?:push[ -]in|pull[ -](?:out|back))(?: shot| slowly)",
    rf"{_PACE}(?:tracking|orbit(?:ing)?|arc|drone|aerial|steadicam|establishing|overhead|pov|wide|static|fixed"
    rf"|handheld|"
    r"hand-held|following|dolly|crane|low[ -]angle|high[ -]angle|wide[ -]angle|over-the-shoulder|close-up|medium|full|"
    r"point-of-view|bird's[ -]eye|eye-level|long) (?:shot|camera|view|angle)",
    rf"{_PACE}close[ -]?up(?: (?:of|on) (?:the|his|her|its|their) [^\W\d_]+(?: [^\W\d_]+)?(?=[,.;!]|$))?"
    rf"|{_PACE}(?:handheld|hand-held|steadicam)|whip pan(?: (?:left|right))?|dutch angle|rack focus",
    r"(?:first[ -]person|third[ -]person|bird's[ -]eye) (?:view|perspective)|low angle|high angle",
    rf"{_PACE}camera (?:pan|tilt|zoom|move|drift|orbit)[^\W\d_]*"
    rf"(?: {_SIDE})?",
    r"(?:langsam(?:er|es)?|schnell(?:er|es)?|sanfter?|leichter?) zoom(?: (?:he?raus|hinein|rein|hinaus|heran|weg))?"
    r"|zoom (?:he?raus|hinein|rein|hinaus|heran)|(?:langsam )?(?:heran|heraus|raus|rein|hinein)zoomen"
    r"|(?:langsamer |schneller )?(?:kamera)?schwenk(?: nach)? (?:links|rechts|oben|unten)|(?:langsame )?kamerafahrt"
    r"(?: (?:nach )?(?:vorn|vorwärts|zurück|rückwärts|links|rechts))?|handkamera|statische (?:kamera|einstellung)"
    r"|kamera (?:statisch|ruhig|fest)|nahaufnahme|großaufnahme",
    r"zoom (?:lent )?(?:arrière|avant)(?: lent)?|(?:lent )?travelling(?: (?:avant|arrière|latéral))?(?: lent)?"
    r"|panoramique (?:à|vers la) (?:gauche|droite)|plan (?:fixe|large|séquence)|(?:très )?gros plan|caméra à l'épaule",
    r"zoom (?:lento )?(?:hacia (?:atrás|adelante|dentro|fuera))(?: lento)?|zoom lento|paneo (?:lento )?(?:a|hacia) la "
    r"(?:izquierda|derecha)|plano (?:fijo|general|secuencia)|primer plano|cámara (?:fija|en mano)",
    r"(?:缓慢|慢慢|快速)?(?:拉远|推近|推进|放大镜头|缩小镜头)|特写|(?:ゆっくり)?(?:と)?ズーム(?:アウト|イン)|クローズアップ",
)
# Said of people and things as well, so they count only as a whole clause.
_ALONE = (
    rf"{_PACE}(?:push(?:es|ing)? in|pull(?:s|ing)? (?:out|back)|zoom(?:ing)?|pan(?:ning)?|tilt|orbit(?:s|ing)?"
    rf"|track(?:s|ing)?"
    rf"(?: shot)?|follow (?:him|her|it|them|along)|drift(?:ing)?|crane|static|hold(?: (?:still|the (?:shot|frame)"
    rf"|on .{{1,40}}))?"
    rf"|hold still|stay still|lock(?:ed)?(?:-| )?off|circl(?:e|ing) around .{{1,40}}|orbit(?:ing)? .{{1,40}}|wide)"
    rf"(?: {_SIDE})?(?: slowly| fast)?"
)
# "the camera follows him as ...": everything up to what happens meanwhile.
_SUBJECT = re.compile(
    r"^(?:and )?(?:(?:the|our|with the|while the) |camera ?: ?)?(?:camera(?:work)?|shot(?= (?:slowly|pull|push|zoom"
    r"|pan|widen|hold)))"
    r" ?:? ?(?!crew|man|woman|shop|store|bag|lens)(?P<move>(?=[^\W\d_]).{2,100}?)"
    r"(?=,? (?:as|while|and (?:he|she|it|they|the)|revealing|showing) |[,.;]|$)"
    r"|^(?:und )?(?:die |la |le )?(?:kamera|caméra|cámara)(?= )(?! lenta)(?P<other>.{2,100}?)(?=,? (?:während|tandis"
    r"|mientras) "
    r"|[,.;]|$)"
    r"|^(?:镜头|カメラ[がは])(?P<cjk>.{2,40}?)(?=[，。、]|$)",
    re.IGNORECASE,
)
_FIND = re.compile(rf"(?<![\w-])(?:{'|'.join(_KNOWN)})(?![A-Za-zÀ-ÿ-])", re.IGNORECASE)
_NONE = re.compile(r"(?:no|without) ", re.IGNORECASE)
_WHOLE = re.compile(_ALONE, re.IGNORECASE)
_LABEL = re.compile(r"^(?:camera|kamera|caméra|cámara|cam|camera movement) ?[:=] ?", re.IGNORECASE)
_GLUE_BEHIND = re.compile(
    r"^\s*(?:,|:|-|–)?\s*(?:(?:of|on|from|as|while|where|with|and|von|de|während|mientras|tandis que)(?!\w))?\s*", re.I
)
_GLUE_BEFORE = re.compile(
    r"[\s,(]*(?<!\w)(?:and|with|in|using|as|while|plus|und|mit|et|avec|y|con|as a|with an?|in an?|mit (?:einem|einer)"
    r"|a|an|the)?"
    r"[\s,(]*$",
    re.IGNORECASE,
)


class Shot(NamedTuple):
    """A clause taken apart: what the camera does, and what happens before it. Either may be empty."""

    camera: str
    action: str


def take_camera(clause: str) -> Shot:
    """The camera moves of a clause and the clause without them.

    >>> take_camera("tracking shot of a dog")
    Shot(camera='tracking shot', action='a dog')
    >>> take_camera("he looks at the camera")
    Shot(camera='', action='he looks at the camera')
    """
    clause = clause.strip()
    if label := _LABEL.match(clause):
        return Shot(clause[label.end() :].strip(" ."), "")
    if _WHOLE.fullmatch(clause.strip(" .!()")):
        return Shot(clause.strip(" .!()"), "")
    if subject := _SUBJECT.match(clause):
        rest = clause[subject.end() :]
        move = next(filter(None, (subject["move"], subject["other"], subject["cjk"])), "")
        return Shot(move.strip(), rest[_glue(rest) :].strip(" ,"))
    moves: list[str] = []
    action, at = "", 0
    for match in _FIND.finditer(clause):
        moves.append("static camera" if _NONE.match(match[0]) else match[0].strip())  # naming a move asks for it
        action, at = _join(action + clause[at : match.start()], match.end(), clause)
    action += clause[at:]
    return Shot(", ".join(moves), action.strip(" ,()" if moves else " "))


def _glue(text: str) -> int:
    match = _GLUE_BEHIND.match(text)
    return match.end() if match else 0


def _join(before: str, at: int, clause: str) -> tuple[str, int]:
    """What stands before a camera move without its preposition, and where the clause goes on behind it."""
    tail = _GLUE_BEFORE.search(before[-40:])
    kept = before[: len(before) - len(tail[0])] if tail else before
    if not kept:
        return "", at + _glue(clause[at:])
    target = re.match(r"\s*of(?!\w)", clause[at:])
    return kept + " ", at + (target.end() if target else 0)
