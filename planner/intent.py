"""Request -> intent, by rules: a film, a continuation, another take, a revision, or a question to the bot.

Commands are short and stand at the beginning or alone; every other text is a story. What a reply to a film says goes
on with that film.
"""

import re
from dataclasses import dataclass

from planner.story import take_length
from storage.schema import Intent, IntentKind, Request, Take


@dataclass(frozen=True)
class Context:
    """What was filmed before: the take that the message answers, and the channel's last take."""

    replied: Take | None = None
    last: Take | None = None

    @property
    def take(self) -> Take | None:
        """The take that words like "continue" mean."""
        return self.replied or self.last


_PLEASE = r"(?:please,? |pls |bitte |s'il (?:te|vous) plaît,? |por favor,? |now |ok(?:ay)?,? |hey,? )?"
_THANKS = (
    r"(?:[ ,]*(?:please|pls|bitte|now|thanks|thank you|danke|s'il (?:te|vous) plaît|por favor|merci|gracias"
    r"|お願い(?:します)?))?"
)
_IT = (
    r"(?: (?:it|that|this|the|my|all|last|film|video|clip|job|take|render|rendering|one|please|bitte|den|das|le|el|la"
    r"|filme?|vidéo)){0,4}(?: ?#?\d+)?"
)


def _alone(words: str) -> re.Pattern[str]:
    return re.compile(rf"{_PLEASE}(?:{words}){_THANKS}[\s.!?…]*", re.IGNORECASE)


def _leading(words: str) -> re.Pattern[str]:
    return re.compile(rf"{_PLEASE}(?:{words})", re.IGNORECASE)


_HELP = _alone(
    r"help(?: me)?|\?+|commands|hilfe|aide|ayuda|aiuto|ajuda|帮助|ヘルプ|使い方|помощь"
    r"|what can (?:you|i) do|how (?:does|do) (?:this|it|you|i) .{0,40}|was kannst du|wie geht das"
)
_CANCEL = _alone(
    rf"(?:cancel|abort|stop|never ?mind|abbrechen|abbruch|stopp|brich ab|annule[rz]?|arrête|cancelar?|para|annulla"
    rf"|detente){_IT}"
    r"|取消|停止|キャンセル|中止|やめて|отмена|стоп"
)
_STATUS = _alone(
    r"status|progress|queue|eta|how (?:far|long|much longer|is it going).{0,40}|(?:is|are) (?:it|you|the film"
    r"|the video|my film) "
    r"(?:done|ready|finished)(?: yet)?|when (?:is|will).{0,30}(?:ready|done|finished)|what's (?:the status|happening)"
    r"|wie (?:weit|lange).{0,40}|(?:schon )?fertig|où en (?:es-tu|est).{0,30}|c'est prêt|estado|progreso"
    r"|進捗|状態|状态|进度"
    r"|статус"
)
_SETTINGS = _alone(
    r"(?:show |list |change |open )?(?:me )?(?:the |my )?(?:settings?|presets?|options|configuration|einstellungen"
    r"|réglages|"
    r"paramètres|ajustes|opciones|impostazioni)|設定|设置|настройки"
)
_AGAIN_WORDS = (
    r"(?:do |film |shoot |try |make )?(?:it |that |this )?(?:once )?(?:again|one more(?: time| take)?|once more)"
    r"|(?:another|a different|a new|one more|new|different)(?: take| one| try| version| attempt)|another|retry"
    r"|re-?roll|re-?do(?: it)?"
    r"|noch ?(?:mal|einmal)|nochmals|neuer versuch|encore(?: une fois)?|une autre(?: prise| fois)?|refais(?:-le)?"
    r"|otra (?:vez|toma)"
    r"|de nuevo|ancora(?: una volta)?|di nuovo|de novo|もう(?:一度|一回)|再来一[次遍]|重来|ещ[её] раз"
)
_AGAIN = _alone(_AGAIN_WORDS)
_AGAIN_BUT = _leading(rf"(?:{_AGAIN_WORDS})(?:,? (?:but|aber|mais|pero|ma|only|with|without(?= )|mit|avec|con)|,|:) ")
_REVISE = _leading(
    r"revise(?: it| this| that| the (?:film|video))?[:,]? (?:so that )?"
    r"|(?:exactly )?(?:the )?same(?: (?:film|video|clip|scene|shot|thing|again|one))?,? (?:but|only|except"
    r"|just)(?: with)? "
    r"|(?:das ?selbe|das gleiche|gleich|nochmal),? (?:aber|nur) |(?:pareil|la même chose|le même),? (?:mais|sauf) "
    r"|(?:lo mismo|igual),? pero |(?:lo stesso|uguale),? ma "
    r"|(?:now )?(?:make|change|turn) (?:it|this|that)(?: (?:to|into|so that))? "
    r"|(?:mach(?:e)?|ändere?) (?:es|ihn|das) |(?:fais|rends|change)[- ](?:le|la) |(?:hazlo|cámbialo) "
)
_REVISE_IN_REPLY = _leading(
    r"but (?:with |make it )?|instead,? |(?=(?:without|more|less|fewer|no|not so|not as|too) )|change (?=the |his "
    r"|her )|aber |mais |pero "
    r"|(?=(?:slower|faster|darker|brighter|longer|shorter|calmer|closer)(?: please)?[.!]*$)|(?=(?:ohne|mehr|weniger"
    r"|sans|plus de|moins de|sin|más|menos) )"
)
_CONTINUE = _leading(
    r"(?:continue|keep (?:going|filming|rolling|it going)|go on|carry on|extend|weiter(?:filmen|machen|drehen)?"
    r"|mach(?:e)? weiter"
    r"|fortsetz(?:en|ung)|setze? (?:es |ihn |den film )?fort|continue[rz]?|poursui[st]|sigue|continúa|continuar?"
    r"|prosegui"
    r"|ga (?:door|verder)|продолж[^\W\d_]*)(?!\w)(?: (?:it|filming|this|that|the|my|last|film|video|clip|shot|take"
    r"|scene|story|"
    r"from here|den|le|la|el)(?!\w)){0,4}(?:[:,.!…-]+ ?|(?: (?:with|by|and then|and|where|so that|mit|und|avec|et|con"
    r"|y)(?!\w))|$| )"
    r"|(?:more|weiter|encore plus)[.!…]*$"
    r"|(?:请)?继续[：:，,。!！]?|接着拍[：:，,]?|続けて[：:、。]?|続き(?:を|は)?[：:、]?"
)
_AND_THEN = _leading(
    r"(?:\.\.\. ?|… ?)?(?:(?:and|und|et|y|e|en|и) )?(?:then|next|after that|dann|danach|puis|ensuite|luego|después|poi"
    r"|dopo|daarna|"
    r"потом|затем)(?!\w)[,:]? |(?:然后|接着|それから|その後|そして|次に)[、，,]?"
)


def as_told(kind: IntentKind, request: Request, context: Context) -> Intent:
    """The intent of who said it outright, as a command does: the text is a story, less its own "continue"."""
    text = request.text.strip()
    lead = _CONTINUE.match(text) if kind is IntentKind.CONTINUE else None
    return _intent(kind, text[lead.end() :] if lead else text, request, context.take.id if context.take else None)


def understand(request: Request, context: Context) -> Intent:
    """What a person wants."""
    text = request.text.strip()
    take = context.take.id if context.take else None
    for kind, pattern in (
        (IntentKind.HELP, _HELP),
        (IntentKind.CANCEL, _CANCEL),
        (IntentKind.STATUS, _STATUS),
        (IntentKind.SETTINGS, _SETTINGS),
    ):
        if pattern.fullmatch(text):
            return Intent(kind=kind, take=take)
    if not text and not request.images and not request.clip:
        return Intent(kind=IntentKind.HELP)
    if request.clip:
        lead = _CONTINUE.match(text)
        return _intent(IntentKind.CONTINUE, text[lead.end() :] if lead else text, request, None)
    if _AGAIN.fullmatch(text):
        return Intent(kind=IntentKind.ANOTHER_TAKE, take=take)
    return _story(text, request, context, take)


def _story(text: str, request: Request, context: Context, take: int | None) -> Intent:
    """A text that tells something: how it begins, and whether it answers a film, says what to do with it."""
    if wish := context.take and (_AGAIN_BUT.match(text) or _REVISE.match(text)):
        return _intent(IntentKind.REVISE, _told(text, wish), request, take)
    if lead := _CONTINUE.match(text):
        return _intent(IntentKind.CONTINUE, text[lead.end() :], request, take)
    if context.replied and (wish := _REVISE_IN_REPLY.match(text)):
        return _intent(IntentKind.REVISE, text[wish.end() :], request, take)
    then = _AND_THEN.match(text) if context.replied or (context.last and not request.images) else None
    if context.replied or then:
        return _intent(IntentKind.CONTINUE, text[then.end() :] if then else text, request, take)
    return _intent(IntentKind.FILM, text, request, None)


def _told(text: str, wish: re.Match[str]) -> str:
    """The wish without its command. "make it 20 s" keeps its words, which say a length."""
    rest = text[wish.end() :]
    return text if re.match(r"(?:now )?make it $", wish[0], re.IGNORECASE) and take_length(text)[0] else rest


def _intent(kind: IntentKind, text: str, request: Request, take: int | None) -> Intent:
    seconds, story = take_length(text.strip())
    return Intent(kind=kind, story=story, seconds=request.seconds or seconds, take=take)
