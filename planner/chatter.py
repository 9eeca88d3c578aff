"""What people write around a story: greetings, thanks, "can you pls make", and times in loose words.

It is taken out, or put the way the rules read it, before anything else looks at the text. Quoted speech stays as it is.
"""

import re
from collections.abc import Callable, Sequence

from planner.durations import AMOUNT, CLOCK, SECONDS, SPAN, seconds_of
from planner.words import BASE_FORMS, acts, third_person

_QUOTED = re.compile(r'"[^"\n]{0,400}"|“[^”\n]{0,400}”|„[^“”\n]{0,400}[“”]|«[^»\n]{0,400}»|「[^」\n]{0,400}」')
_EMOJI = re.compile(r"[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\ufe0f\u200d]+(?=\s*$|\s*[.!?])")
_GREETING = re.compile(
    r"^(?:(?:hey|hi|hello|hiya|yo|heya|good (?:morning|evening)|hallo|moin|servus|salut|bonjour|coucou|hola"
    r"|ciao|olá|привет"
    r"|こんにちは|你好|ok so|okay so|alright so|so|hm+|uh+|um+|well)(?: (?:bro|guys|there|everyone|all|bot|dude|folks"
    r"|team|longtake))*"
    r"(?:[ ,!.…:]+|$))+",
    re.IGNORECASE,
)
_PLEASE = re.compile(
    r"[ ,]*(?<![\w'])(?:pls|plz|please|thx|tysm|ty|if (?:that's|it's) (?:ok|possible)|if possible|bitte(?: schön)?"
    r"|s'il (?:te|vous) pla[iî]t|por favor|per favore|alstublieft|пожалуйста|お願いします"
    r"|拜托)(?![\w'])(?=\s*(?:[,.!?;:\n]|$))",
    re.IGNORECASE,
)
_CAN_YOU = re.compile(
    r"((?:^|[.!?\n])\s*)(?:(?:can|could|would|will) (?:you|u)|(?:kannst|könntest|würdest) du|(?:peux|pourrais)-tu"
    r"|tu (?:peux|pourrais)|puedes|podrías|puoi)(?: (?:please|pls|plz|maybe|bitte|mal|perhaps))*(?: |$)",
    re.IGNORECASE,
)
_PLEASE_FIRST = re.compile(r"(^|[.!?,;\n]\s*)(?:please|pls|plz|bitte|por favor|per favore)[ ,]+", re.IGNORECASE)
_THANKS = re.compile(
    r"(?:^|(?<=[.!?,;\n]))\s*(?:many )?(?:thanks?(?: you)?|thank u|thx|cheers|tysm|danke|vielen dank|merci"
    r"|gracias|grazie|obrigad[oa]"
    r"|спасибо|ありがとう|谢谢|that would be|would be|that'd be|das wäre|ce serait|sería)"
    r"(?:(?![\w-])[^.!?\n]{0,120})?(?=[.!?\n]|$)[.!?]*"
    r"|(?:^|(?<=[.!?\n]))\s*(?:hope (?:that|this|it) .{0,60}|you know better .{0,40}|let me know .{0,60}"
    r"|no rush.{0,30})(?=[.!?\n]|$)[.!?]*",
    re.IGNORECASE,
)
_ENOUGH = re.compile(
    rf"(?:(?<=[.!?,;\n])\s*|^|\s+)(?:(?:i (?:think|guess|would say)|maybe|probably|about|around|ca\.?|etwa"
    rf"|roughly) )*(?P<span>{SPAN})"
    r"(?: (?:long|in all|in total|total|altogether|overall|max(?:imum)?|tops|insgesamt|au total|en total|in totaal)"
    r"|,? (?:should|would|will|is|are|müssten?|sollten?)(?: be)? (?:enough|fine|ok(?:ay)?|good|perfect|plenty"
    r"|great|reichen|genügen)"
    r"| reichen| suffisent| bastano| bastan)(?![\w-])"
    r"(?:(?: please| pls)|,? but you know better[^.,!?\n]{0,40}| i (?:think|guess))*",
    re.IGNORECASE,
)
_SPAN_IN = re.compile(
    rf"(?<![\w:])(?:(?:at )?(?:about|around|roughly|like) )?(?P<span>\d{{1,3}}(?:\.\d)? ?{SECONDS}|{CLOCK})"
    r" in(?:to (?:it|the (?:film|video|clip)))?,? (?=(?:he|she|it|they|we|i|the|an?|my|his|her|their|someone"
    r"|somebody)\b)",
    re.IGNORECASE,
)
_AT_LIKE = re.compile(
    rf"(?<!\w)(?P<at>at|after|around|by) (?:like|abt|roughly|approximately|maybe|exactly|~) (?={SPAN})", re.IGNORECASE
)
_AT_SECOND = re.compile(
    rf"(?<!\w)(?:at|in|on) (?:the )?(?:second (?P<behind>{AMOUNT})(?!\w)|(?P<before>\d{{1,3}})(?:st|nd|rd"
    rf"|th) second(?!\w))",
    re.IGNORECASE,
)
_MANNER_LENGTH = re.compile(rf"^(?P<manner>[^.:;\n]{{3,50}}), ?(?P<span>{SPAN}): ", re.IGNORECASE)
_AFTERTHOUGHT = re.compile(rf"[.,] (?:like |about |around )?(?P<span>{SPAN}) in(?=[.!]|$)", re.IGNORECASE)
_BARE_NUMBER = re.compile(  # "a hen at 4, a goat at 8", where other times have a unit
    r"(?<!\w)(?P<at>at|a los|bei|ab|om|à) (?P<number>\d{1,2})(?= (?:he|she|it|they|we|i|the|an?|my|his|her"
    r"|their|out|todos|el|la|il|elle|er|sie|der"
    r"|die|das)\b|[,;](?!\d)|\.(?!\d)|$)",
    re.IGNORECASE,
)
_UNIT = re.compile(rf"\d ?{SECONDS}", re.IGNORECASE)
_WIDE_COMMA = re.compile(r"(?<=[\u3040-\u9fff\uac00-\ud7af]),(?=[\u3040-\u9fff\uac00-\ud7af\d])")
_SMILEY = re.compile(r"\s*(?<![\w\d])[:;]-?[)(DP](?=\s|$)")
_SLANG = re.compile(r"(?<![\w'])(?:lol|lmao|rofl|haha(?:ha)*|hehe|xd|ngl|tbh|imo|fyi)(?![\w'])[ ,]*", re.IGNORECASE)
_NICE_IF = re.compile(
    r"(?:i (?:thought|think|guess) )?(?:that )?(?:it )?(?:would|could|might)(?: be|'d be) (?:really |so |super "
    r"|very |kinda )*(?:cool|nice|great|sick"
    r"|awesome|fun|funny|amazing|lovely|perfect) (?:if|to see(?: how)?)(?: like)? ",
    re.IGNORECASE,
)
_MAYBE_LONG = re.compile(
    rf"(?:^|(?<=[.!?\n]))\s*(?:maybe|perhaps|like|around|about) (?P<span>{SPAN})\s*\?", re.IGNORECASE
)
_RUNTIME = re.compile(
    rf"\s*(?://|[-–—|])?\s*(?:total )?(?:run ?time|running time|playtime)(?: of|:)? (?P<span>{SPAN})", re.IGNORECASE
)
_CLOCKS = re.compile(rf"\((?P<clock>{CLOCK})\)")
_SPREAD = re.compile(
    r"(?:^|(?<=[.,;:!?\n]))\s*(?:with )?(?:one|a|each|every) (?:picture|photo|image|pic) (?:every|per|each|for"
    r"|gets)[^,.:;\n]{0,30}"
    r"(?:, in (?:this |that |the given )?order)?[:,.]?\s*",
    re.IGNORECASE,
)
_MAKE = re.compile(
    r"(^|[.!?,;\n]\s*|\band )(?:make|let|have) (?P<who>him|her|it|them|(?:the|my|this|our"
    r"|that) [^\W\d_]+) (?P<verb>[^\W\d_]+)(?!\w)",
    re.IGNORECASE,
)
_SUBJECTS = {"him": "he", "her": "she", "it": "it", "them": "they"}
_AVOIDED = re.compile(
    r"(?:^|(?<=[.!?,;\n]))\s*(?:and |but |with )*(?:absolutely |please )?(?P<no>no|without(?: any)?|nothing"
    r"|don't show(?: any)?|avoid|keine?[nr]?"
    r"|ohne|sans|pas de|sin|senza|sem|geen|bez) (?P<what>[^\W\d_][^,.!?;:\n]{1,50})(?=[,.!?;\n]|$)",
    re.IGNORECASE,
)
_CAMERA_WORD = re.compile(
    r"camera|movement|motion|zoom|pan|cuts?\b|shak|jitter|sound|music|bewegung|kamera|mouvement|movimiento|rush|problem"
    r"|one\b|body\b|more\b|longer\b",
    re.IGNORECASE,
)


def spoken(text: str, names: Sequence[str] = ()) -> str:
    """A request without chatter. `names` are those of its pictures, which it may call by them.

    >>> spoken("hey, can you pls make a clip where she waves at like 3s? thx!!")
    'make a clip where she waves at 3s?'
    """
    text = (_EMOJI.sub("", text) or text).strip()
    for number, name in enumerate(names, start=1):
        stem, dot, _ = name.rpartition(".")
        called = [name, *([stem] if len(stem) > 4 and re.search(r"[\d_]", stem) else [])]
        for word in called if dot and "\n" not in name else ():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", f"picture {number}", text, flags=re.IGNORECASE)
    return _outside_quotes(text, _unquoted).strip()


def _unquoted(text: str) -> str:
    text = _SMILEY.sub(".", _WIDE_COMMA.sub("，", text))
    text = _GREETING.sub("", _SLANG.sub("", text))
    text = _NICE_IF.sub("", text)
    text = _THANKS.sub("", text)
    text = _PLEASE.sub("", text)
    text = _PLEASE_FIRST.sub(r"\1", text)
    text = _CAN_YOU.sub(r"\1", text)
    text = _SPREAD.sub(" ", text)
    if (match := _MANNER_LENGTH.match(text)) and not acts(match["manner"]):
        text = f"{match['span']}: {match['manner']}, {text[match.end() :]}"
    text = _ENOUGH.sub(lambda match: f", {match['span']}", text, count=1)
    if len(_CLOCKS.findall(text)) > 1:
        text = _CLOCKS.sub(r"at \g<clock>", text)
    text = _MAYBE_LONG.sub(lambda match: f" {match['span']}.", text, count=1)
    text = _RUNTIME.sub(lambda match: f", {match['span']}", text, count=1)
    text = _AFTERTHOUGHT.sub(r" at \g<span>", text)
    if _UNIT.search(text):
        text = _BARE_NUMBER.sub(r"\g<at> \g<number> s", text)
    text = _SPAN_IN.sub(r"at \g<span> ", text)
    text = _AT_LIKE.sub(r"\g<at> ", text)
    text = _AT_SECOND.sub(lambda match: f"at {seconds_of((match['behind'] or match['before']) + ' s'):g} seconds", text)
    return _MAKE.sub(_made, text)


def _made(match: re.Match[str]) -> str:
    """ "make him dance" is "he dances"; "make it sunset" stays, since sunset is no verb."""
    verb = match["verb"].lower()
    if verb not in BASE_FORMS:
        return match[0]
    who = _SUBJECTS.get(match["who"].lower(), match["who"])
    return f"{match[1]}{who} {verb if who == 'they' else third_person(verb)}"


def _outside_quotes(text: str, change: Callable[[str], str]) -> str:
    quotes = _QUOTED.findall(text)
    marked = _QUOTED.sub("\x01", text)
    parts = change(marked).split("\x01")
    if len(parts) != len(quotes) + 1:  # a quote was taken out with the chatter around it
        return text
    return parts[0] + "".join(quote + part for quote, part in zip(quotes, parts[1:], strict=True))


def take_avoided(text: str) -> tuple[tuple[str, ...], str]:
    """What a text does not want to be seen, and the text without it. A network draws what it reads, also behind "no".

    >>> take_avoided("pigeons land, no people, no cars")
    (('people', 'cars'), 'pigeons land')
    """
    avoided: list[str] = []

    def take(match: re.Match[str]) -> str:
        what = match["what"].strip()
        if _CAMERA_WORD.search(what) or acts(what) or what.split()[0].lower().endswith("ing"):
            return match[0]
        avoided.extend(part.strip() for part in re.split(r"\s+(?:or|and|oder|und|ou|et|o|y)\s+", what) if part.strip())
        return ""

    rest = _outside_quotes(text, lambda part: _AVOIDED.sub(take, part))
    rest = re.sub(r"\s*,+(?=\s*[,.;!?]|\s*$)|^[\s,;.]+", "", rest) if avoided else rest
    return tuple(avoided), rest.strip()
