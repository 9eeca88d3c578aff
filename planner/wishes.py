"""Settings by words: "vertical, best quality", "720p please", "less shaky", "stronger motion".

Only a clause of its own is a setting; "he runs faster" is a story. What was set is said back in a sentence.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.numbers import LIVELY, NUMBERS
from planner.parameters import written
from planner.presets import Preset, find_preset
from storage.schema import Seed, Size, Storyboard, Tuning, Wishes
from storage.sizes import LONGEST_ASPECT, fit_area

ASPECTS = {"portrait": (9, 16), "landscape": (16, 9), "square": (1, 1)}
AREAS = {480: Size(width=832, height=480), 720: Size(width=1280, height=720)}  # that Wan2.2 was trained for
FASTEST = {"demo": "demo-fast", "svi2pro": "lightning", "svi2pro-enhanced": "enhanced"}  # by model
BEST = {"demo": "demo", "svi2pro": "quality", "svi2pro-enhanced": "enhanced"}
MOVING = {"lightning": "lightning-3phase"}  # the same speed with more motion: its first steps have real guidance
SHORTEST_SIDE = 64  # pixels
AS_IT_IS = Tuning()
MANNERS = {
    "steady": "The camera is steady and moves smoothly.",
    "more": "Large, strong, energetic movement.",
    "less": "Small, slow, gentle movement.",
}

_LEAD = (
    r"(?:(?:et|und|y|from now on|for (?:all|the next) films?|always|in future|this time|please|pls|bitte|now|ok(?:ay)?"
    r"|and|but|also|with|in|as|at|use|set|render|film|shoot|make|do|give me|i want"
    r"|i'd like|let's have|can (?:it|we) (?:be|have)|switch to|change|go for|mach(?:e)?|mit|im|als|en|con|avec"
    r"|(?:set |use )?(?:the )?(?:quality|format|aspect(?: ratio)?|resolution|orientation|size|motion|movement):?"
    r"|(?:it|this|that|everything|the (?:film|video|clip|camera|shot)|es|le|la)(?: to| be| is| should be)?"
    r"|a|an|the|some|bit|little|much|lot|way|even|really|very|ein(?:e[nms]?)?|etwas|viel|un poco|un peu) +)*"
)
_TAIL = (
    r"(?: +(?:from (?:now|here) on|for all (?:my |the )?(?:videos|films)|you've got|you have|you can(?: do)?"
    r"|this time|is enough|is fine|reicht|please|pls|bitte|thanks|thank you|now|instead"
    r"|por favor|s'il (?:te|vous) plaît|s'il te plait"
    r"|video|film|clip|format|mode|version|resolution|aspect(?: ratio)?|orientation|setting|auflösung|qualität"
    r"|for (?:tiktok|reels|shorts|stories|youtube|instagram)))*"
)
_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], dict[str, object]]], ...] = (
    (
        r"(?:best|highest|maximum|max|top|full|high(?:er)?|better|beste|höchste|bessere|meilleure|máxima|mejor)"
        r" (?:possible )?(?:quality|qualität|qualité|calidad|settings)|(?:quality|qualité"
        r"|calidad) (?:max(?:imum)?|alta)"
        r"|max quality|best you can|highest",
        lambda _: {"pace": "best"},
    ),
    (
        r"(?:fast(?:er|est)?|quick(?:er|est)?|speed(?:y|ier)|schnell(?:er)?|plus (?:rapide|vite)|más rápido|rápido)"
        r"(?: (?:to |zu )?(?:render(?:ing|n)?|preset|mode|generation|preview|draft|one))?|speed it up"
        r"|(?:soll )?schneller fertig(?: sein)?|niedrige(?:re)? qualität|(?:quick"
        r"|fast|rough)"
        r" (?:draft|preview|test|mode|render(?:ing)?)|render(?:ing|s|ed)? (?:it )?(?:fast(?:er)?|quick(?:er"
        r"|ly)?)|less (?:render(?:ing)? )?time"
        r"|hurry(?: up)?|lightning|draft quality|low(?:er)? quality",
        lambda _: {"pace": "fast"},
    ),
    (
        r"vertical(?:ly)?|portrait|hochformat|hochkant|vertical|upright|9 ?[:x/] ?16|format vertical|en vertical"
        r"|(?:phone|mobile|handy) ?format|tiktok|reels?|shorts|for (?:tiktok|reels|shorts|(?:my )?phone)",
        lambda _: {"shape": "portrait"},
    ),
    (
        r"horizontal(?:ly)?|landscape|widescreen|wide ?screen|querformat|16 ?[:x/] ?9|paysage|format paysage|apaisado",
        lambda _: {"shape": "landscape"},
    ),
    (r"square|quadratisch|1 ?[:x/] ?1|carré|cuadrado", lambda _: {"shape": "square"}),
    (
        r"(?P<lines>360|480|540|576|720|1080|1440|2160) ?p|full ?hd|(?<!\w)hd(?!\w)|4k|uhd",
        lambda m: {"lines": _lines(m[0])},
    ),
    (r"(?P<width>\d{2,4}) ?[x×] ?(?P<height>\d{2,4})(?: ?(?:px|pixels?))?", lambda m: {"size": _size(m)}),
    (
        r"(?:less|not so|no|without(?: the| any)?|weniger|moins de|menos) (?:shak(?:y|ing|e|es)|jitter(?:y)?"
        r"|wobbl(?:y|e|ing)"
        r"|camera shake|handheld|shaky cam(?:era)?|wackeln|verwackelt|tremblements?)|(?:less|not so) shaky"
        r"|(?:stead(?:y|ier)|stable|stabil(?:er|ized)?|smooth(?:er)?|ruhiger|still(?:er)?) (?:camera(?:work)?"
        r"|kamera|shot|cam|footage)"
        r"|(?:keep|hold) it stead(?:y|ier)|(?:the )?camera (?:wobbles|shakes|jitters)(?: too much| a lot)?"
        r"|steadier|steady|don't shake|stop shaking|(?:it|the camera) shakes too much|too shaky|(?:nicht|pas"
        r"|no) (?:so |si |tan )?(?:verwackelt|wackelig|tremblant|tremblé|movida)|(?:the )?camera jitters like crazy",
        lambda _: {"steady": True},
    ),
    (
        r"(?:crank|turn|ramp) up the (?:motion|movement|action)|(?:everything|it|nothing) (?:barely"
        r"|hardly) moves(?: in there)?|"
        r"(?:strong(?:er)?|more|bigger|larger|big|lots of|faster|stärkere?|mehr|plus de|más) "
        r"(?:motion|movements?|action|bewegung(?:en)?|mouvements?|movimiento)|more dynamic|dynamischer|livelier"
        r"|(?:motion|movement) (?:is |too |was )*(?:stronger|bigger|weak|small)|too static|more alive|move more",
        lambda _: {"motion": "more"},
    ),
    (
        r"(?:less|weaker|smaller|subtle(?:r)?|gentle(?:r)?|slower|fewer|weniger|moins de|menos) "
        r"(?:motion|movements?|action|bewegung(?:en)?|mouvements?|movimiento)|less dynamic|move less",
        lambda _: {"motion": "less"},
    ),
    (r"(?:with |use )?seed(?: number)?(?: ?[:=]| is| to)? ?(?P<seed>\d{1,18})", lambda m: {"seed": int(m["seed"])}),
)
_SETTINGS = [
    (re.compile(rf"{_LEAD}(?:{words}){_TAIL}", re.IGNORECASE), meaning) for words, meaning in (*_PATTERNS, *NUMBERS)
]
# "at 1280x720 with seed 42, ..." and "480p, quick preview is enough - the ship ..."
_APART = re.compile(r"(\d{2,4} ?[x×] ?\d{2,4}|\d{3,4}p)(?= (?:with|and) seed)|(?<= enough)( -)(?= )", re.IGNORECASE)
_CLAUSE = re.compile(r"(?:[^,.;:!?\n()]|(?<=\d)\.(?=\d))+(?::\d[^,.;:!?\n()]*)?")


def _lines(words: str) -> int:
    digits = re.search(r"\d{3,}", words)
    named = {"4k": 2160, "uhd": 2160, "full": 1080}
    return int(digits[0]) if digits else next((n for word, n in named.items() if word in words.lower()), 720)


def _size(match: re.Match[str]) -> Size | None:
    width, height = (max(1, round(int(match[side]) / 16)) * 16 for side in ("width", "height"))
    return Size(width=width, height=height)


def take_wishes(text: str) -> tuple[Wishes, str]:
    """The settings that a text asks for, and the text without them.

    >>> take_wishes("vertical, best quality: my dog runs faster")
    (Wishes(pace='best', shape='portrait', ...), 'my dog runs faster')
    """
    text = _APART.sub(r"\1,", text)
    wishes, kept, at = Wishes(), "", 0
    for clause in _CLAUSE.finditer(text):
        found = wishes_of(clause[0])
        if found is None:
            continue
        wishes = found.over(wishes)
        kept += text[at : clause.start()]
        at = clause.end()
    if not at:
        return wishes, text
    rest = re.sub(r"\([\s,.;:]*\)", "", kept + text[at:])
    rest = re.sub(r"\s*[,.;:!?]+(?=\s*[,.;:!?])", "", rest)
    return wishes, re.sub(r"^[\s,.;:!?]+|[\s,;:]+$", "", rest)


def wishes_of(clause: str) -> Wishes | None:
    """The settings that a whole clause asks for, joined by "and" perhaps; None if it is anything else."""
    parts = re.split(r"\s+(?:and|und|et|y|\+|&)\s+", clause.strip(), flags=re.IGNORECASE)
    wishes = Wishes()
    for part in parts:
        matches = ((pattern.fullmatch(part.strip()), meaning) for pattern, meaning in _SETTINGS)
        found = next((meaning(match) for match, meaning in matches if match), None)
        if found is None:
            return None
        wishes = Wishes.model_validate(found).over(wishes)
    return wishes


@dataclass(frozen=True)
class Filming:
    """How a film is to be filmed. Without a size the preset gives the area and the picture the shape.

    The notes are for the person.
    """

    preset: Preset
    size: Size | None = None
    seed: Seed | None = None
    notes: tuple[str, ...] = ()
    tuning: Tuning = AS_IT_IS


def grant(wishes: Wishes, preset: Preset, size: Size | None, seed: Seed | None, tuning: Tuning = AS_IT_IS) -> Filming:
    """Wishes within the limits of a preset's model. An option (`size`, `seed`, `tuning`) comes before words."""
    notes: list[str] = []
    chosen = _preset(wishes, preset, notes)
    if size is None:
        chosen = replace(chosen, budget=_granted_budget(wishes, chosen, notes))
        size = _granted_size(wishes, chosen, notes)
    seed = wishes.seed if seed is None else seed
    manner = [
        *(["a steady camera"] if wishes.steady else []),
        *([f"{wishes.motion} movement"] if wishes.motion else []),
    ]
    asked = tuning.over(wishes.tuning)
    asked = asked.over(LIVELY) if wishes.motion == "more" else asked
    manner += [written(asked)] if asked else []
    said = [*notes, *manner, *([f"seed {wishes.seed}"] if wishes.seed is not None and seed == wishes.seed else [])]
    return Filming(chosen, size, seed, (f"Set: {', '.join(said)}.",) if said else (), asked)


def _preset(wishes: Wishes, preset: Preset, notes: list[str]) -> Preset:
    chosen = preset
    if wishes.pace:
        chosen = find_preset((FASTEST if wishes.pace == "fast" else BEST)[preset.model])
        word = "fast" if wishes.pace == "fast" else "best quality"
        notes.append(f"{word} (preset {chosen.name}, {chosen.sampling.steps} steps)")
    if wishes.motion == "more" and chosen.name in MOVING:
        chosen = find_preset(MOVING[chosen.name])
        notes.append(f"preset {chosen.name}, which moves more")
    return chosen


def _granted_budget(wishes: Wishes, preset: Preset, notes: list[str]) -> Size:
    """The area that is filmed: the preset's, or that of the lines that were asked for."""
    if wishes.size or not wishes.lines:
        return preset.budget
    if preset.model == "demo":
        notes.append(f"{preset.budget} as ever, since the demonstration model knows no other size")
        return preset.budget
    lines = max((known for known in AREAS if known <= wishes.lines), default=min(AREAS))
    less = f", the most that the model films, instead of {wishes.lines}p" if lines < wishes.lines else ""
    notes.append(f"{lines}p{less}")
    return AREAS[lines]


def _granted_size(wishes: Wishes, preset: Preset, notes: list[str]) -> Size | None:
    """The size that the wishes come to; None leaves the shape to the picture."""
    if wishes.size:
        return _fitted(wishes.size, preset.budget if preset.model == "demo" else AREAS[max(AREAS)], notes)
    if wishes.shape is None:
        return None
    size = fit_area(*ASPECTS[wishes.shape], preset.budget)
    notes.append(f"{wishes.shape}, {size}")
    return size


def _fitted(size: Size, most: Size, notes: list[str]) -> Size | None:
    """A size in the words of a story, or the nearest of its shape that the model films."""
    if max(size.width, size.height) > LONGEST_ASPECT * min(size.width, size.height):
        notes.append(f"the picture's own shape, since {size} is too narrow to film")
        return None
    if size.width * size.height <= most.width * most.height and min(size.width, size.height) >= SHORTEST_SIDE:
        notes.append(str(size))
        return size
    fits = fit_area(size.width, size.height, most)
    notes.append(f"{fits}, which the model films instead of {size}")
    return fits


def mannered(storyboard: Storyboard, wishes: Wishes) -> Storyboard:
    """A storyboard that says in each window how to move, if that was asked for."""
    asked = [MANNERS["steady"]] if wishes.steady else []
    asked += [MANNERS[wishes.motion]] if wishes.motion else []
    windows = []
    for window in storyboard.windows:
        new = [sentence for sentence in asked if sentence not in window.scene]
        windows.append(window.model_copy(update={"scene": " ".join([window.scene, *new]).strip()}))
    return storyboard.model_copy(update={"windows": tuple(windows)})
