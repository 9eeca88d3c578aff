"""A story taken apart: what happens in which order, when, before which camera, in which setting.

The words stay the person's own; only what became a number, a camera move or a picture is taken out of them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from planner.anchors import Mention, Place, find_mentions, with_nouns
from planner.camera import take_camera
from planner.clauses import LEADING, Clause, clauses, clean
from planner.setting import Kind, Phrase, phrase_of
from planner.times import ENDING_SECONDS, Mark, Sense, find_marks
from planner.words import DETERMINERS, acts, is_english


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
_LINK = re.compile(r",? (?:and|und|et|y|e|en|и|i|och) |(?<=다가) |(?<=[고며]) |(?<=면서) ", re.IGNORECASE)
ONLY_A_THING = 5  # words: more than that in a story's only clause tell what happens
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
    text = with_nouns(re.sub(r"[^\S\n]+", " ", text).strip(), pictures)
    text = _LEAD_IN.sub("", _BULLET.sub("", _ANIMATE.sub("", text)), count=1)
    marks = [mark for mark in find_marks(text) if mark.sense is not Sense.LENGTH]
    events: list[Event] = []
    phrases: dict[Kind, list[Phrase]] = {}
    for clause in _cut_at_times(text, clauses(text, marks, pictures)):
        event = _event(text, clause, pictures)
        phrase = None if event.mark or event.sequel or event.camera or event.mentions else phrase_of(event.action)
        if phrase:
            phrases.setdefault(phrase.kind, []).append(phrase)
        elif event.action or event.camera or event.mentions:
            events.append(event)
    events = _joined(events)
    premise = ""
    if events and _is_premise(events[0]):
        premise = events[0].action
        rest = [events[0]] if events[0].camera or events[0].mentions else []
        events = [*(Event("", camera=event.camera, mentions=event.mentions) for event in rest), *events[1:]]
        if len(premise.split()) > ONLY_A_THING and not any(event.action for event in events):
            premise, events = "", [Event(premise), *events]  # nothing else is told: who knows a verb when it is one
    standing = [phrase for kind in Kind for phrase in phrases.get(kind, [])]
    return Story(premise, tuple(standing), tuple(events))


def _cut_at_times(text: str, whole: Iterable[Clause]) -> Iterator[Clause]:
    """Clauses in which a time in the middle belongs to the last of several actions: "he sits down and waves at 5 s"."""
    for clause in whole:
        mark = next((mark for mark in clause.marks if mark.places), None)
        cut = (
            _last_action(text[clause.start : mark.start])
            if mark and text[mark.stop : clause.stop].strip(" .,!?")
            else None
        )
        if cut is None:
            yield clause
            continue
        stop, start = clause.start + cut[0], clause.start + cut[1]
        yield replace(clause, stop=stop, marks=tuple(m for m in clause.marks if m.stop <= stop))
        yield replace(clause, start=start, sequel=True, marks=tuple(m for m in clause.marks if m.start >= start))


def _last_action(before: str) -> tuple[int, int] | None:
    """Where the action behind the last "and" begins, in a text that tells another action before it."""
    links = list(_LINK.finditer(before))
    link = links[-1] if links else None
    if link is None or not (before[link.end() :].strip() or not link[0].strip()):
        return None
    told, behind = before[: link.start()].strip(" ,"), before[link.end() :]
    if is_english(told):
        return link.span() if acts(told) and acts(f"they {behind}") else None
    return link.span() if "," in told or not link[0].strip() else None


def _joined(events: list[Event]) -> list[Event]:
    """ "At 10 s switch to picture 2, she dances": the picture's time is that of what it is to show."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        bare = last and last.mentions and last.mark and not last.action and not last.camera
        if last and bare and event.action and not event.mark and not event.sequel and not event.mentions:
            joined[-1] = replace(event, mark=last.mark, lasts=last.lasts, mentions=last.mentions, sequel=last.sequel)
        else:
            joined.append(event)
    return joined


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
