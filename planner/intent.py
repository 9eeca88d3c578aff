"""Request -> intent, by rules: a film, a continuation, another take, a revision, or a question to the bot.

Commands are short and stand at the beginning or alone; every other text is a story. What a reply to a film says goes
on with that film.
"""

import re
from dataclasses import dataclass

from planner.chatter import spoken, take_avoided
from planner.commands import CANCEL, CANCEL_ALL, LONGEST_COMMAND, THANKS, alone, job_named, leading
from planner.durations import SPAN
from planner.setting import phrase_of
from planner.story import take_length
from planner.targets import names_window
from planner.wishes import take_wishes
from storage.schema import Draft, Intent, IntentKind, Job, Request, Take, Wishes


@dataclass(frozen=True)
class Context:
    """What was there before the message: the take that it answers, the channel's last take, the draft that is being
    discussed there, and the asker's film that waits or is filmed, where a change means that one."""

    replied: Take | None = None
    last: Take | None = None
    draft: Draft | None = None
    filming: Job | None = None

    @property
    def take(self) -> Take | None:
        """The take that words like "continue" mean; None where they mean the draft."""
        return self.replied or (None if self.draft else self.last)

    @property
    def discussed(self) -> Draft | None:
        """The draft that the message is about, unless it answers a take."""
        return None if self.replied else self.draft

    @property
    def subject(self) -> Take | Draft | None:
        """What a message without pictures of its own is about."""
        return self.take or self.draft

    @property
    def changed(self) -> Take | Draft | Job | None:
        """What words like "make it night" mean."""
        return self.filming or self.subject


_HELP = alone(
    r"(?:do|must|may|can|should) i (?!be ).{3,80}\?|(?:does|is) (?:it|this) (?:also |possible|work|free|able).{0,80}\?"
    r"|(?:which|what) (?:commands|features|things).{0,40}|how (?:do|can|should) i .{3,60}\?|"
    r"help(?: me)?|\?+|commands|hilfe|aide|ayuda|aiuto|ajuda|帮助|ヘルプ|使い方|помощь"
    r"|what can (?:you|i) do|how (?:does|do) (?:this|it|you|i) .{0,40}|was kannst du|wie geht das"
)
_APPROVE = alone(
    r"(?:(?:yes|yeah|yep|ok(?:ay)?|great|perfect|nice|cool|good|sure|alright|looks? (?:good|great|perfect|fine)|love it"
    r"|i like (?:it|that)|that's (?:it|good|great|perfect)|fine|approved?|lgtm|ja|passt(?: so)?|gut|super"
    r"|perfekt|oui|parfait"
    r"|c'est (?:bon|parfait)(?: pour moi)?|sí|si|vale|perfecto|はい|いいね|好的?|可以|👍)[ ,.!]*)*"
    r"(?:(?:please )?(?:film|shoot|render|make|do|start|roll|go|run)(?: it| that| this| the (?:film|draft|plan)| for it"
    r"| ahead| now| with it)*|go|yes|yeah|yep|ok(?:ay)?|great|perfect|nice|cool|good|sure|looks? (?:good|great"
    r"|perfect|fine)"
    r"|love it|approved?|lgtm|action|ja|passt(?: so)?|los(?: geht'?s)?|film es|dreh (?:es|ihn)|mach(?:e)? (?:es"
    r"|das)|vas-y"
    r"|filme(?:-le)?|c'est (?:bon|parfait)(?: pour moi)?|lance(?:[ -]le)?|ship it|send it|oui|parfait|adelante"
    r"|dale|hazlo|sí|vale|はい|撮影して|撮って|开拍|拍吧"
    r"|好的?|可以|👍)"
)
_WHY = alone(r"(?:why|warum|wieso|pourquoi|por qué) .{3,100}\?")
_ONE_VERB = alone(r"film|shoot|render|make|do|start|roll|go|run")  # also what somebody in a film may do
_REMARK = alone(  # on what was seen, or on nothing
    r"(?:(?:(?:(?:that|this|it)(?:'s| is| was| looks?)?|(?:das|es) (?:ist|sieht|war)|c'est|qué|so|very|really|how"
    r"|pretty|sehr|echt|wirklich|très|trop|muy|i) )*"
    r"(?:nice(?: one| work| job)?|wow|whoa|great|awesome|amazing|beautiful|gorgeous|stunning|cool|perfect|lovely"
    r"|incredible|fantastic|brilliant|wonderful|excellent|cute|hilarious|funny|epic|insane|good(?: job| work)?"
    r"|well done|(?:love|like) (?:it|this|that)(?: so much)?|ha(?:ha)+|lo+l|no|nope|nah"
    r"|(?:(?:wunder)?schön|toll|super|klasse|geil|großartig|gut)(?: aus)?|nein|génial|magnifique|superbe|non|genial"
    r"|precioso|hermoso|increíble|すごい|素敵|いいね|真棒|太棒了|不错"
    r"|[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f\u200d]+)(?:[ ,.!]+|$))+"
)
_STATUS = alone(
    r"wo bleibt .{0,40}|où (?:est|en est) (?:ma|mon|la|le) .{0,30}|dónde está mi .{0,30}|where(?:'s| is) (?:my"
    r"|the) (?:film|video|clip).{0,20}|"
    r"why (?:is|does|are|did).{0,40}(?:slow|long|stuck|waiting|nothing).{0,30}|what(?:'s| is) (?:taking|in the queue"
    r"|going on|the queue|left).{0,40}|(?:where|what number) am i.{0,30}|how (?:many|full|big"
    r"|busy).{0,30}(?:queue|jobs?|ahead"
    r"|waiting).{0,20}|what are you (?:doing|filming|rendering).{0,20}|warum (?:ist|dauert|geht).{0,40}"
    r"|pourquoi.{0,30}(?:lent|long|temps).{0,20}|por qué.{0,30}(?:lento|tarda).{0,20}|wo (?:bin ich|stehe ich).{0,30}"
    r"|combien de temps.{0,40}|cuánto (?:falta|tiempo|tarda).{0,40}"
    r"|status|progress|queue|eta|how (?:far|long|much longer|is it going).{0,40}|(?:is|are) (?:it|you|my video"
    r"|my clip|the film"
    r"|the video|my film) "
    r"(?:done|ready|finished)(?: yet)?|when (?:is|will).{0,30}(?:ready|done|finished)|what's (?:the status|happening)"
    r"|wie (?:weit|lange).{0,40}|(?:schon )?fertig|où en (?:es-tu|est).{0,30}|c'est prêt|estado|progreso"
    r"|進捗|状態|状态|进度"
    r"|статус"
)
_SETTINGS = alone(
    r"(?:what|which) (?:resolution|size|model|presets?|quality|settings?|seed|length|fps|frame ?rate|steps"
    r"|formats?|limits?"
    r"|sampler|loras?|options)(?!\w).{0,60}|how (?:long|big|large|many).{0,20} (?:can|may|could).{0,50}"
    r"|what(?:'s| is| are) (?:the|your) (?:resolution|size|model|presets?|quality|settings?|seed|limits?"
    r"|maximum|longest"
    r"|frame ?rate|fps).{0,50}|(?:welche|quelle|qué) (?:auflösung|einstellungen|modell|résolution|réglages"
    r"|resolución).{0,50}|"
    r"(?:show |list |change |open )?(?:me )?(?:the |my )?(?:settings?|presets?|options|configuration|einstellungen"
    r"|réglages|"
    r"paramètres|ajustes|opciones|impostazioni)|設定|设置|настройки"
)
_AGAIN_WORDS = (
    r"(?:do |film |shoot |try |make )?(?:it |that |this )?(?:once )?(?:again|one more(?: time| take)?|once more)"
    r"|(?:another|a different|a new|one more|new|different)(?: take| one| try| version| attempt)|another|retry"
    r"|(?:roll|throw) (?:the dice|it)(?: again)?|re-?roll|re-?do(?: it)?|(?:the )?same(?: thing| one| film"
    r"| video)? again(?:,? (?:with )?(?:an?)?(?:other)? ?"
    r"(?:different |new )?seeds?)?|[^,.!?]{1,60}[,.!?] ?(?:try|do it|do that) (?:it |that )?again"
    r"|noch ?(?:mal|einmal)|nochmals|neuer versuch|encore(?: une fois)?|(?:encore )?une autre(?: prise| fois"
    r"| version)?|refais(?:-le)?"
    r"|otra (?:vez|toma)"
    r"|de nuevo|ancora(?: una volta)?|di nuovo|de novo|もう(?:一度|一回)|再来一[次遍]|重来|ещ[её] раз"
)
_AGAIN = alone(_AGAIN_WORDS)
_AGAIN_BUT = leading(
    rf"(?:{_AGAIN_WORDS}){THANKS}(?:,? (?:but|aber|mais|pero|ma|only|with|without(?= )|mit|avec|con)|,|:) "
    rf"|(?:{_AGAIN_WORDS})(?<=again) (?=(?:for |in )?(?:{SPAN})[.!]*$)"
)
_REVISE = leading(
    r"(?:(?:can|could) (?:we|you|i) )?(?:do|have|try|make|see) (?:it|that|this) (?=.{1,60} instead)|"
    r"revise(?: it| this| that| the (?:film|video))?[:,]? (?:so that )?"
    r"|(?:exactly )?(?:the )?same(?: (?:film|video|clip|scene|shot|thing|again|one))?,? (?:but|only|except"
    r"|just)(?: with)? "
    r"|(?:das ?selbe|das gleiche|gleich|nochmal),? (?:aber|nur) |(?:pareil|la même chose|le même),? (?:mais|sauf) "
    r"|(?:lo mismo|igual),? pero |(?:lo stesso|uguale),? ma "
    r"|(?:now )?(?:make|change|turn) (?:it|this|that)(?: (?:to|into|so that))? "
    r"|(?:mach(?:e)?|ändere?) (?:es|ihn|das) |(?:fais|rends|change)[- ](?:le|la) |(?:hazlo|cámbialo) "
)
_REVISE_IN_REPLY = leading(
    r"(?=(?:redo|re-?plan|re-?shoot|re-?do|refais|rehaz|mach) (?:the|das|la|le|el) )"
    r"|(?=(?:remove|replace|swap|delete|drop|get rid of|take out|leave out|rewrite|rename|entferne|ersetze|supprime"
    r"|remplace|quita|cambia)(?!\w))"
    r"|(?=(?:in|for|at|during) (?:the |window |part )?(?:\w+ )?(?:window|part|scene|ending|end|beginning|start)\b)"
    r"|(?=(?:the )?(?:ending|end|beginning|start|opening|camera|last|first|second|third|fourth) .{0,40}should )"
    r"|(?=.{1,40} should (?!we )|.{1,60} instead(?: of .{1,60})?[.!?]*$)|(?=(?:make|turn|change) the )"
    r"|(?=(?:a (?:bit|little)|much|slightly|etwas|viel|un peu) (?:more|less|\w+er|mehr|weniger|plus|moins)\b)"
    r"|but (?:with |make it )?|instead,? |(?=(?:without|more|less|fewer|no|not so|not as|too) )|change (?=the |his "
    r"|her )|aber |mais |pero "
    r"|(?=(?:slower|faster|darker|brighter|longer|shorter|calmer|closer)(?: please)?[.!]*$)|(?=(?:ohne|mehr|weniger"
    r"|sans|plus (?!tard)|moins de|sin|más|menos) )"
)
_CHANGE = re.compile(  # words in an answer that speak of what is there already
    r"(?<!\w)(?:the whole time|throughout|the entire (?:film|time)|everywhere|die ganze zeit|tout le temps"
    r"|todo el tiempo)(?!\w)"
    r"|^(?:don't|do not|never|nicht|pas de) |, (?:not|nicht|pas) |^(?:\w+er|more \w+|less \w+) (?:camera|zoom"
    r"|pan|light|colou?rs)\b"
    r"|^(?:end|start|begin|finish|open|close)s? (?:with|on|at|in) (?:the )?(?:\w+ )?(?:picture|photo|image|pic)\b",
    re.IGNORECASE,
)
_CONTINUE = leading(
    r"(?:don't stop|continue|keep (?:going|filming|rolling|it going)|go on|carry on|extend|weiter(?:filmen"
    r"|machen|drehen)?"
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
_AND_THEN = leading(
    r"(?:now|jetzt|nun|maintenant|ahora) (?=(?:he|she|it|they|we|the|a|an|my|his|her|er|sie|es|der|die|das|il"
    r"|elle|un|une)\b)|"
    r"(?:\.\.\. ?|… ?)?(?:(?:and|und|et|y|e|en|и) )?(?:then|next|after that|dann|danach|puis|ensuite|luego|después|poi"
    r"|dopo|daarna|"
    r"потом|затем)(?!\w)[,:]? |(?:然后|接着|それから|その後|そして|次に)[、，,]?"
)


def as_told(kind: IntentKind, request: Request, context: Context) -> Intent:
    """The intent of who said it outright, as a command does: the text is a story, less its own "continue"."""
    text = _spoken(request)
    lead = _CONTINUE.match(text) if kind is IntentKind.CONTINUE else None
    return _intent(kind, text[lead.end() :] if lead else text, request, context.take.id if context.take else None)


def understand(request: Request, context: Context) -> Intent:
    """What a person wants."""
    text = _spoken(request)
    take = context.take.id if context.take else None
    shows = request.images or request.clip
    if len(text) <= LONGEST_COMMAND and CANCEL_ALL.fullmatch(text):
        return Intent(kind=IntentKind.CANCEL, take=take, everything=True)
    for kind, pattern in (
        ()
        if len(text) > LONGEST_COMMAND
        else (
            *([(IntentKind.APPROVE, _APPROVE)] if context.discussed else []),
            *([] if shows else [(IntentKind.HELP, _REMARK)]),
            (IntentKind.HELP, _HELP),
            (IntentKind.CANCEL, CANCEL),
            (IntentKind.SETTINGS, _SETTINGS),
            (IntentKind.STATUS, _STATUS),
            *([] if shows else [(IntentKind.HELP, _WHY)]),
        )
    ):
        if pattern.fullmatch(text):
            return Intent(kind=kind, take=take, job=job_named(text))
    if not shows and _APPROVE.fullmatch(text) and not _ONE_VERB.fullmatch(text):
        return Intent(kind=IntentKind.APPROVE, take=take)  # of a draft that is not there
    if request.loras is not None and context.changed and (not text or _AGAIN.fullmatch(text)) and not request.images:
        return Intent(kind=IntentKind.REVISE, take=take)  # nothing else is to change
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
    wishes, rest = take_wishes(take_length(text)[1])
    if (
        not rest and wishes != Wishes() and not request.images
    ):  # nothing but settings: of what is talked about, or of all
        return _intent(IntentKind.REVISE if context.changed else IntentKind.SETTINGS, text, request, take)
    if wish := context.changed and (_AGAIN_BUT.match(text) or _REVISE.match(text)):
        return _intent(IntentKind.REVISE, _told(text, wish), request, take)
    if lead := _CONTINUE.match(text):
        return _intent(IntentKind.CONTINUE, text[lead.end() :], request, take)
    talks = context.replied or (context.draft and not request.images)
    if talks and (wish := _REVISE_IN_REPLY.match(text)):
        return _intent(IntentKind.REVISE, text[wish.end() :], request, take)
    if talks and (_CHANGE.search(text) or names_window(text) or phrase_of(text.split(",")[0])):
        return _intent(IntentKind.REVISE, text, request, take)
    then = _AND_THEN.match(text) if talks or (context.last and not request.images) else None
    if talks or then:
        return _intent(IntentKind.CONTINUE, text[then.end() :] if then else text, request, take)
    return _intent(IntentKind.FILM, text, request, None)


def _told(text: str, wish: re.Match[str]) -> str:
    """The wish without its command. "make it 20 s" keeps its words, which say a length."""
    rest = text[wish.end() :]
    return text if re.match(r"(?:now )?make it $", wish[0], re.IGNORECASE) and take_length(text)[0] else rest


def _intent(kind: IntentKind, text: str, request: Request, take: int | None) -> Intent:
    avoided, story = take_avoided(text.strip()) if kind is not IntentKind.REVISE else ((), text.strip())
    wishes, story = take_wishes(story)
    seconds, story = take_length(story)
    return Intent(kind=kind, story=story, seconds=request.seconds or seconds, take=take, wishes=wishes, avoid=avoided)


def _spoken(request: Request) -> str:
    """What was said, without what people write around it."""
    return spoken(request.text, [image.name for image in request.images])
