"""The setting: words of place, time of day, weather and style, which hold for more than one event."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a setting phrase fixes. A later phrase replaces an earlier one of its kind."""

    PLACE = "place"
    DAYTIME = "daytime"
    WEATHER = "weather"
    STYLE = "style"


@dataclass(frozen=True)
class Phrase:
    """A setting phrase as the person wrote it."""

    kind: Kind
    words: str


_ADJECTIVES = r"(?:(?!and |or )[^\W\d_]+(?:-[^\W\d_]+)? ){0,2}"
_PLACE_NOUNS = (
    "beach|seashore|shore|coast|sea|ocean|lake|river|pond|pool|island|forest|woods|jungle|park|garden|meadow|field|"
    "fields|desert|dunes|mountains?|mountaintop|hills?|hilltop|valley|cliff|cave|city|town|village|street|road|alley|"
    "highway|bridge|rooftop|balcony|kitchen|bedroom|bathroom|living room|room|office|classroom|school|library|museum|"
    "cafe|café|restaurant|bar|club|shop|store|supermarket|market|station|subway|train|airport|harbou?r|castle|church|"
    "temple|palace|ruins|farm|barn|stadium|stage|theatre|theater|studio|laboratory|lab|spaceship|space|moon|mars|"
    "hospital|playground|backyard|yard|countryside|new york|paris|tokyo|london|berlin|venice"
)
_PATTERNS: dict[Kind, str] = {
    Kind.PLACE: (
        rf"(?:on|at|in|by|near|beside) (?:(?:a|an|the|my|our|his|her|their|some) )?{_ADJECTIVES}(?:{_PLACE_NOUNS})"
        r"|underwater|outdoors|indoors"
        r"|(?:am|im|in de[rmn]|auf de[rmn]|an de[rmn]) (?:strand|meer|see|fluss|wald|park|garten|dschungel|stadt"
        r"|straße|"
        r"küche|bergen?|wiese|wüste|dorf|zimmer|hafen|bahnhof|büro|brücke|dach|weltall|bett)"
        r"|(?:à la|sur la|dans la|dans le|dans un|dans une|au bord de la|au|en) (?:plage|mer|forêt|rue|ville|cuisine|"
        r"montagne|parc|jardin|désert|campagne|chambre|salon|lac)"
        r"|(?:en|por|junto a) (?:la|el|un|una|las) (?:playa|mar|bosque|calle|ciudad|cocina|montañas?|parque|jardín|"
        r"desierto|campo|habitación|lago|río)"
    ),
    Kind.DAYTIME: (
        r"(?:in )?(?:(?:soft|bright|warm|grey|gray|pale|golden|full|clear) )?(?:daylight|sunlight|moonlight)"
        r"(?: (?:from|through) [^.,;]{1,40})?|"
        r"(?:at|during|before|after) (?:the )?(?:sunset|sunrise|dawn|dusk|night|nighttime|noon|midday|midnight"
        r"|twilight|"
        r"golden hour|blue hour)|in the (?:early |late )?(?:morning|evening|afternoon)(?: light| sun)?"
        r"|by (?:day|night|moonlight|candlelight)|in (?:broad )?daylight|in the (?:moonlight|dark)|late at night"
        r"|under (?:a|the) (?:starry|night|full) (?:sky|moon)"
        r"|bei (?:sonnenuntergang|sonnenaufgang|nacht|tag|mondschein)|nachts|abends|morgens|am (?:abend|morgen|mittag)"
        r"|au (?:coucher|lever) du soleil|la nuit|de nuit|le (?:soir|matin)"
        r"|al (?:atardecer|amanecer|anochecer)|de noche|por la (?:noche|mañana|tarde)"
    ),
    Kind.WEATHER: (
        rf"(?:in|during|under) (?:(?:a|an|the) )?{_ADJECTIVES}"
        r"(?:rain|snow|snowfall|snowstorm|fog|mist|storm|thunderstorm|blizzard|wind|sunshine|drizzle)"
        r"|it(?:'s| is) (?:raining|snowing|foggy|windy|sunny|stormy)"
        r"|(?:im|bei|in dichtem) (?:regen|schnee|nebel|sturm|sonnenschein|schneefall)"
        r"|sous (?:la pluie|la neige|le soleil)|bajo la (?:lluvia|nieve)"
    ),
    Kind.STYLE: (
        r"(?:(?:very|quite|really|super|so) )*(?:slow|calm|peaceful|dreamy|moody|tense|quiet|gentle|serene"
        r"|playful|eerie"
        r"|gloomy|cosy|cozy)(?:(?:,? and |, )(?:very )?(?:slow|calm|peaceful|dreamy|moody|tense|quiet|gentle"
        r"|serene|playful"
        r"|eerie|gloomy|cosy|cozy))*|"
        r"(?:very |highly |ultra[ -]?|hyper[ -]?)?(?:cinematic|photo-?realistic|realistic|detailed|filmisch|"
        r"cinématographique|cinematográfic[oa]|fotorealistisch|surreal|dreamy|moody|epic)(?: (?:look|lighting|style"
        r"|film|shot))?"
        r"|(?:in (?:the|an?) )?(?:\w+[ -]){0,3}(?:style|stil|aesthetic|vibes?|mood|lighting)"
        r"|(?:in the style of|im stil von|dans le style de|al estilo de|style:) .{1,60}"
        r"|anime|cartoon|claymation|stop[ -]motion|pixel art|watercolou?r|oil painting|pencil sketch|3d render"
        r"|black[ -]and[ -]white|b&w|schwarz-?weiß|noir et blanc|blanco y negro|film noir|noir|vintage|retro|sepia"
        r"|(?:shot on )?(?:8|16|35|70) ?mm(?: film)?|[48]k|uhd|hdr|imax|(?:\w+ )?quality|masterpiece"
        r"|sharp focus|shallow depth of field|bokeh|lens flare|film grain|(?:soft|warm|cold|natural|dramatic"
        r"|neon) light"
        r"|(?:in )?(?:slow motion|slow-mo|slowmo|zeitlupe)|(?:au )?ralenti|cámara lenta|time-?lapse|zeitraffer"
        r"|(?:in )?documentary(?: style)?"
    ),
}
_UNSPACED = {  # languages that write no spaces between words
    Kind.PLACE: r"在(?:海滩|沙滩|海边|森林|城市|街道|厨房|公园|花园|山|湖|房间)(?:上|里|中|边)?"
    r"|(?:海辺|浜辺|ビーチ|森|街|公園|庭|台所|部屋|湖)(?:の中)?で",
    Kind.DAYTIME: r"夕方に?|夜[にの]|在?(?:日落|夜晚|黄昏|清晨)(?:时分?)?",
    Kind.WEATHER: r"[雨雪]の中で?|在?[雨雪]中",
    Kind.STYLE: r"电影感|高清|写实|唯美|アニメ風?|映画風|スローモーション|慢动作",
}
_FIND = {
    kind: re.compile(rf"(?<![\w-])(?:{words})(?![\w-])|{_UNSPACED[kind]}", re.IGNORECASE)
    for kind, words in _PATTERNS.items()
}
_CARRIED = (Kind.PLACE, Kind.DAYTIME, Kind.WEATHER)


def phrase_of(text: str) -> Phrase | None:
    """The setting phrase that a text is as a whole; None for anything that happens.

    >>> phrase_of("at sunset"), phrase_of("he sits at sunset")
    (Phrase(kind=<Kind.DAYTIME: 'daytime'>, words='at sunset'), None)
    """
    if len(text) > 80:
        return None
    return next((Phrase(kind, text) for kind, pattern in _FIND.items() if pattern.fullmatch(text)), None)


def phrases_in(text: str) -> list[Phrase]:
    """Places, times of day and weather that an event's words mention; the first of each kind."""
    found = [(kind, _FIND[kind].search(text)) for kind in _CARRIED]
    return [Phrase(kind, match[0]) for kind, match in found if match]


def without(kind: Kind, text: str) -> str:
    """A scene's words without the setting phrases of one kind."""
    bare = _FIND[kind].sub("", text)
    return re.sub(r"\s*,(?=\s*[.,]|$)|^\s*[,.]\s*", "", re.sub(r"\s+(?=[.,])", "", bare)).strip()
