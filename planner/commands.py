"""Short messages that are commands: how people dress them, and those that cancel."""

import re

from planner.chatter import spoken

LONGEST_COMMAND = 120  # characters
THANKS = (
    r"(?:[ ,]*(?:please|pls|bitte|now|thanks|thank you|danke|s'il (?:te|vous) plaît|por favor|merci|gracias"
    r"|お願い(?:します)?))?"
)
_PLEASE = r"(?:please,? |pls |bitte |s'il (?:te|vous) plaît,? |por favor,? |now |ok(?:ay)?,? |hey,? )?"
_IT = (
    r"(?: (?:it|that|this|the|my|last|film|video|clip|job|take|render|rendering|one|please|bitte|den|das|le|el|la"
    r"|filme?|vidéo)){0,4}(?: ?#?\d+)?"
)


def alone(words: str) -> re.Pattern[str]:
    """Words that are all of a message."""
    return re.compile(rf"{_PLEASE}(?:{words}){THANKS}[\s.!?…]*", re.IGNORECASE)


def leading(words: str) -> re.Pattern[str]:
    """Words with which a message begins."""
    return re.compile(rf"{_PLEASE}(?:{words})", re.IGNORECASE)


CANCEL = alone(
    r"(?:scrap|cancel|forget|drop|kill|abort) (?:it|that|this)[,.!] .{0,60}|laisse tomber(?:[ ,.!].{0,60})?"
    r"|vergiss es(?:[ ,.!].{0,60})?|"
    r"stop(?:[ ,!.]*stop)*(?:[ ,!.]+(?:wrong|not|that's|no).{0,40})?|(?:never ?mind|forget it"
    r"|no)[ ,.!]*(?:don't|do not) "
    r"(?:film|shoot|render|make|do)(?: it| that| this)?|brich (?:das|es|ihn|den .{1,20}) ab|annule[rz]?(?: ça"
    r"| cela)?|"
    rf"(?:cancel|abort|stop|never ?mind|abbrechen|abbruch|stopp|brich ab|annule[rz]?|arrête|cancelar?|para|annulla"
    rf"|detente|scrap|forget|discard|vergiss){_IT}"
    r"|(?:delete|lösch(?:e|en)?)(?: (?:it|that|this|the|my|film|video|clip|draft|plan|es|das|den|ihn)){0,3}"
    r"|取消|停止|キャンセル|中止|やめて|отмена|стоп"
)
_FILMS = (
    r"(?: (?:of|the|my|mine|these|those|them|it|that|this|open|waiting|queued|running|films|videos|clips|jobs|takes"
    r"|renders|renderings|requests)){0,5}"
)
_FILME = r"(?: (?:meine|meiner|deine|diese|offenen|wartenden|filme|videos|aufträge|jobs|davon)){0,3}"
_FILMS_FR = r"(?: (?:mes|les|ces|films|vidéos|tâches|travaux)){0,3}"
_PELICULAS = r"(?: (?:mis|los|las|estos|estas|películas|vídeos|videos|trabajos|encargos)){0,3}"
_FILMES = r"(?: (?:os|as|meus|minhas|esses|filmes|vídeos|trabalhos)){0,3}"
CANCEL_ALL = alone(
    rf"(?:cancel|abort|stop|scrap|forget|discard|drop|kill) (?:everything|(?:(?:it|them|that|this) )?all{_FILMS}"
    r"|(?:my|these|those|the) (?:films|videos|clips|jobs|takes|renders|renderings|requests)|every (?:film|video|job))"
    rf"|brich (?:bitte )?(?:alles|alle{_FILME}|meine{_FILME}) ab|(?:alles|alle{_FILME}) (?:abbrechen|stoppen)"
    rf"|(?:stopp|stoppe|vergiss) (?:alles|alle{_FILME})"
    rf"|(?:annule[rz]?|arrête[rz]?)(?:-les)? tou(?:t|s|tes){_FILMS_FR}|tout (?:annuler|arrêter)|laisse tout tomber"
    rf"|(?:cancelar?|cancélal[oa]s?|para|parar|detén|detener|anula|anular) tod[oa]s?{_PELICULAS}"
    rf"|(?:cancelar?|cancele|para|pare|parar|anule) (?:tudo|tod[oa]s{_FILMES})|annulla tutt[oiae]"
    r"|(?:全部|全て|すべて|ぜんぶ)(?:の(?:動画|映像|作品|撮影|ジョブ))?を?(?:キャンセル|中止|停止|やめて|止めて|取り消して)"
    r"(?:して)?(?:ください)?"
    r"|(?:请)?(?:把)?(?:我的(?:任务|视频|影片|电影)?)?(?:全部|所有的?(?:任务|视频|影片|电影)|都)(?:都|全部)?(?:取消|停止|中止)(?:掉|吧)?"
    r"|(?:请)?(?:取消|停止|中止)(?:我的)?(?:全部|所有)的?(?:任务|视频|影片|电影)?(?:吧)?"
)


def calls_off(text: str) -> bool:
    """Whether a text does nothing but cancel what it answers, and names no job by its number: "stop it please"."""
    said = spoken(text)
    return len(said) <= LONGEST_COMMAND and CANCEL.fullmatch(said) is not None and job_named(said) is None


def job_named(text: str) -> int | None:
    """The number in "cancel job 12"."""
    number = re.search(r"(?<!\d)\d{1,9}(?!\d)", text)
    return int(number[0]) if number else None
