"""A story taken apart: what happens in which order, when, before which camera, in which setting.

The words stay the person's own; only what became a number, a camera move or a picture is taken out of them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from planner.anchors import Mention, Place, find_mentions
from planner.camera import take_camera
from planner.clauses import LEADING, Clause, clauses, clean
from planner.setting import Kind, Phrase, phrase_of
from planner.times import ENDING_SECONDS, Mark, Sense, find_marks
from planner.words import DETERMINERS, acts


@dataclass(frozen=True)
class Event:
    """One clause of a story. `sequel` says that a word like "then" led to it. An action may be empty: a camera move,
    or a picture, can have its place in the order of events as well."""

    action: str
    mark: Mark | None = None
    lasts: float = 0.0
    until: float | None = None
    camera: str = ""
    mentions: tuple[Mention, ...] = ()
    sequel: bool = False

    @property
    def has_place(self) -> bool:
        """Whether it stands in the order of events, rather than for the whole film or one of its ends."""
        return bool(self.action or self.mark or self.sequel or any(m.place is Place.HERE for m in self.mentions))


@dataclass(frozen=True)
class Story:
    """A story in parts. `premise` is an opening that says who and where, but not what happens."""

    premise: str
    phrases: tuple[Phrase, ...]
    events: tuple[Event, ...]


_BULLET = re.compile(r"^ *(?:[-*•·]+|\d{1,2}[.)]) +", re.MULTILINE)
_LEAD_IN = re.compile(
    r"^(?:please,? )?(?:(?:can|could|would) you (?:please )?|i(?:'d| would)? (?:want|like|need)(?: to see)? |let's )?"
    r"(?:(?:make|create|generate|film|shoot|render|animate|show)(?: me| us)?(?= ?:| (?:a|an|the|my|our"
    r"|this|me|how|of|about|where|in which)(?!\w)) ?:?)?"
    r" ?(?:(?:a|an|the|this|some|one)? ?(?:short |long |quick |nice )?(?:film|video|clip|movie|shot|animation)"
    r"(?= (?:of|about|where|in which|showing|with|that)(?!\w)|:|,))?"
    r"(?:^| ?)(?:(?:of|about|where|in which|showing|that shows?)(?!\w)|:|,)? ?"
    r"|^(?:mach|dreh|erstelle?|film|zeige?)(?:e|st)? (?:mir |bitte |uns )?(?:(?:einen? |das )?(?:film|video"
    r"|clip)(?: (?:von|über|mit|in dem))?|wie)[ :]"
    r"|^(?:fais|crée|filme)[ -](?:moi )?(?:une? )?(?:film|vidéo|clip) (?:de |d'|sur |où )"
    r"|^(?:haz|crea|filma|genera)(?:me)? (?:una? )?(?:película|vídeo|video|clip) (?:de |sobre |donde )",
    re.IGNORECASE,
)
_ANIMATE = re.compile(
    r"^(?:please )?(?:animate|bring|make)(?: (?:this|it|the|my))?(?: (?:picture|photo|image))?(?: (?:to life|move"
    r"|come alive))?[.! ]*$",
    re.IGNORECASE,
)
_ENDING = re.compile(
    r"^(?:(?:the (?:film|video|clip|shot|story)|it|we) )?(?:ends?|ending|finish(?:es|ing)?|concludes?) (?:with|on|in"
    r"|by)(?!\w) ?"
    r"|^(?:der film |es )?(?:ende|endet|enden) mit |^(?:le film )?(?:finit|termine|finir|terminer) (?:par|avec|sur) "
    r"|^(?:la película )?(?:termina|acaba)(?:r)? con |^(?:the )?(?:end|ending|ende|fin|final|fine) ?: ?",
    re.IGNORECASE,
)
_BEGINNING = re.compile(
    r"^(?:(?:the (?:film|video|clip|shot|story)|it|we) )?(?:starts?|starting|begins?|beginning|opens?|opening) (?:with"
    r"|on)(?!\w) ?|^(?:the )?(?:start|beginning|opening|anfang|début|inicio|inizio) ?: ?",
    re.IGNORECASE,
)
_MIDDLE = re.compile(r"^(?:in )?(?:the )?(?:middle|mitte|milieu|medio) ?: ?", re.IGNORECASE)
_ENGLISH_SUBJECTS = DETERMINERS - {"no"}


def take_length(text: str) -> tuple[float | None, str]:
    """The length of the film that a text asks for, and the text without it.

    >>> take_length("15 s of my dog, he barks at 3.5 s")
    (15.0, 'my dog, he barks at 3.5 s')
    """
    for mark in find_marks(text):
        if mark.sense is Sense.LENGTH:
            rest = f"{text[: mark.start].rstrip()} {text[mark.stop :].lstrip(' -')}"
            rest = re.sub(r"(?:[(\[] ?[)\]])|(?<=[,.;:]) ?[,;:.](?= |$)", "", rest)
            return mark.value, re.sub(r" +(?=[,.;!?])", "", rest).strip(" ,;:-：，").lstrip(". ")
    return None, text.strip()


@lru_cache(maxsize=16)
def read_story(text: str, pictures: int = 0) -> Story:
    """A story in parts, in its own order. A picture that is asked for but not there is a UserError."""
    text = re.sub(r"[^\S\n]+", " ", text).strip()
    text = _LEAD_IN.sub("", _BULLET.sub("", _ANIMATE.sub("", text)), count=1)
    marks = [mark for mark in find_marks(text) if mark.sense is not Sense.LENGTH]
    events: list[Event] = []
    phrases: dict[Kind, list[Phrase]] = {}
    for clause in clauses(text, marks, pictures):
        event = _event(text, clause, pictures)
        phrase = None if event.mark or event.sequel or event.camera or event.mentions else phrase_of(event.action)
        if phrase:
            phrases.setdefault(phrase.kind, []).append(phrase)
        elif event.action or event.camera or event.mentions:
            events.append(event)
    premise = ""
    if events and _is_premise(events[0]):
        premise = events[0].action
        rest = [events[0]] if events[0].camera or events[0].mentions else []
        events = [*(Event("", camera=event.camera, mentions=event.mentions) for event in rest), *events[1:]]
    standing = [phrase for kind in Kind for phrase in phrases.get(kind, [])]
    return Story(premise, tuple(standing), tuple(events))


def _is_premise(event: Event) -> bool:
    first = event.action.split(" ", 1)[0].lower()
    return first in _ENGLISH_SUBJECTS and not event.mark and not event.sequel and not acts(event.action)


def _event(text: str, clause: Clause, pictures: int) -> Event:
    """A clause with its time, camera and pictures taken out of its words."""
    mark = next((mark for mark in clause.marks if mark.places), None)
    lasts = next((mark.value for mark in clause.marks if mark.sense is Sense.LASTS), 0.0)
    until = next((mark.value for mark in clause.marks if mark.sense is Sense.UNTIL), None)
    words = text[clause.start : clause.stop]
    if mark:
        before, behind = text[clause.start : mark.start], text[mark.stop : clause.stop]
        words = clean(before) + " " + behind.lstrip(" ,:-–—=>])") if before.strip() else behind
    sequel, words = clause.sequel, clean(words)
    if leading := LEADING.match(words):
        sequel, words = sequel or not leading["first"], clean(words[leading.end() :])
    mentions, words = find_mentions(words, pictures)
    if not mark:
        mark, words = _bound(words)
    camera, words = take_camera(words)
    if mark and not words and not camera and mark.sense in (Sense.SHARE, Sense.BEFORE_END) and mark.value != 0.5:
        place = Place.END if mark.sense is Sense.BEFORE_END else Place.START
        mentions, mark = tuple(Mention(mention.picture, place) for mention in mentions), None
    return Event(clean(words), mark, lasts, until, camera, mentions, sequel)


def _bound(words: str) -> tuple[Mark | None, str]:
    """ "it ends with a kiss" is a kiss at the end."""
    if ending := _ENDING.match(words):
        return Mark(0, 0, Sense.BEFORE_END, ENDING_SECONDS), words[ending.end() :]
    if beginning := _BEGINNING.match(words):
        return Mark(0, 0, Sense.SHARE, 0.0), words[beginning.end() :]
    if middle := _MIDDLE.match(words):
        return Mark(0, 0, Sense.SHARE, 0.5), words[middle.end() :]
    return None, words
