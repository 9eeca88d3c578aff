"""What a wish changes of a storyboard, found by rules."""

import re
from collections.abc import Sequence

from planner.anchors import Place, find_mentions
from planner.brief import Brief
from planner.camera import take_camera
from planner.cues import FIRST_BEAT_SECONDS
from planner.edits import Edit, apply
from planner.setting import Kind, Phrase, phrase_of, without
from planner.substitution import (
    NAME,
    SO_FAR,
    attribute,
    beats_about,
    cased,
    is_attribute,
    pattern_of,
    remove,
    substitute,
)
from planner.targets import Target, find_target
from planner.words import acts, sentence_of, stems, third_person
from storage.schema import Storyboard, StoryboardWindow, UserError
from storage.timeline import WINDOW_SECONDS

_REPLACE = re.compile(
    rf"^(?:replace|swap|change|turn|exchange|ersetze?|tausche?|remplace|cambia) {NAME}(?P<old>.{{2,60}}?) "
    rf"(?:with|for|by|into|to|durch|gegen|mit|par|por) (?P<new>.{{2,100}})$"
    rf"|^(?P<new2>.{{2,100}}?),? (?:instead of|rather than|statt|anstatt|au lieu de"
    rf"|en vez de) {NAME}(?P<old2>.{{2,60}})$"
    rf"|^(?:not|no|nicht|pas) {NAME}(?P<old3>.{{2,60}}?),? (?:but|sondern|mais|sino) (?P<new3>.{{2,100}})$",
    re.IGNORECASE,
)
_REMOVE = re.compile(
    rf"^(?:remove|drop|delete|lose|take out|get rid of|cut out|skip|leave out|omit|without|no(?: more)?|don't show"
    rf"|entferne|ohne|kein(?:e[nr]?)?|lass|supprime|enlève|sans|quita|sin) {NAME}(?P<old>.{{2,60}}?)(?: weg"
    rf"| away| out)?$",
    re.IGNORECASE,
)
_RATHER = re.compile(  # "don't let her hug him, she waves": an action that is not wanted, and the one that is
    rf"^(?:(?:don't|do not|never) (?:let (?:him|her|it|them|{NAME}[^\W\d_]+) )?"
    rf"|{NAME}(?:[^\W\d_]+ )?(?:shouldn't|should not|mustn't|must not|doesn't|does not) |no |skip |delete |remove "
    rf"|drop |without ){NAME}"
    r"(?P<old>[^,;]{2,60})[,;] (?:but |instead,? |rather,? )?(?P<new>(?:he|she|it|they|the|a|an|my|his|her) .{2,100})$",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"^(?P<new>.{2,80}?),? (?:and )?(?:not|no|instead of) (?P<old>[^\W\d_]+(?: [^\W\d_]+){0,3})$", re.IGNORECASE
)
_CAMERA_PACE = re.compile(
    r"^(?:(?:a|much|the|with a|make the) )*(?P<pace>slow|fast|quick|calm|smooth|steadi|gentl|clos|wid)(?:er"
    r"|ier)? (?:camera|zoom|pan|move"
    r"(?:ment)?|pull|push|shot|dolly|tracking)(?: (?:slower|faster))?$|^(?:the )?(?:camera|zoom"
    r"|pan) (?:should be |is |moves? )?"
    r"(?P<pace2>slow|fast|quick|calm|smooth|steadi|gentl|clos|wid)(?:er|ier|ly)?$",
    re.IGNORECASE,
)
_HOLD = re.compile(r"^(?:keep|hold|leave) the camera (?:still|static|fixed|in place)\b", re.IGNORECASE)
_SUNNY = re.compile(r",? (?:in|under|by) (?:the |a )?(?:[^\W\d_]+ )?(?:sunlight|sunshine|clear sky)", re.IGNORECASE)
_PACES = re.compile(r"\b(?:very )?(?:fast|slow|quick|rapid|calm|smooth|steady|gentle|close|wide)\b ?", re.IGNORECASE)
_PACE_WORDS = {"steadi": "steady", "gentl": "gentle", "clos": "close", "wid": "wide"}
_MODAL = re.compile(
    r"\b(he|she|it|[^\W\d_]+) (?:should|must|has to|needs to|ought to) (?:be )?([^\W\d_]+)", re.IGNORECASE
)
_LEAD = re.compile(
    r"^(?:(?:please|pls|but|and|now|then|also|instead|just|i want|i'd like|let|have|could you|can you"
    r"|make it(?: so that)?"
    r"|make|change it(?: so that)?|it should be|bitte|aber|mais|pero|:|,|-)[ ,]+)+",
    re.IGNORECASE,
)
_ALSO = re.compile(r"\b(?:also|too|as well|additionally|add|plus|auch|aussi|también)\b", re.IGNORECASE)
_ADD = re.compile(r"^(?:add|put in|include|füge?|ajoute|añade) ", re.IGNORECASE)
_MANNERS = re.compile(
    r"^(?:(?:much|a bit|a little|more|less|even|very|too|way|etwas|viel|plus|moins|más) )*"
    r"(?:calm|slow|fast|quick|dark|bright|warm|cold|cool|gentl|soft|loud|dramatic|happi|happy|sad|funn|scar"
    r"|epic|quiet|wild|moody"
    r"|mysterious|romantic|tense|subtle|energetic|colou?rful|ruhig|langsam|dunk|hell|lent|calme|sombre|lento"
    r"|oscur)[^\W\d_]*$",
    re.IGNORECASE,
)


def edits_by_rules(former: Storyboard, brief: Brief) -> list[Edit]:
    """The edits that a wish asks for."""
    edits: list[Edit] = []
    for wish in _wishes(brief.story):
        target = find_target(wish, former, brief)
        said, board = target.rest.strip(" ,.;:!"), apply(edits, former)
        edits += attribute(said, target, board) or _edits_of(_LEAD.sub("", said).strip(" ,.;:!"), target, board)
    return edits


def _wishes(story: str) -> list[str]:
    """The sentences of a wish; what stands behind a colon says what stands before it in other words."""
    return [part.strip() for part in re.split(r"(?<=[.!?;])\s+|\n+", story) if part.strip(" .!?;")]


def _edits_of(wish: str, target: Target, board: Storyboard) -> list[Edit]:
    if not wish:
        return []
    head, colon, behind = wish.partition(":")
    if colon and _MANNERS.match(re.sub(r"^(?:should|must|shall|soll(?:te)?) be ", "", head.strip())):
        return _edits_of(behind.strip(), target, board)
    if edits := _special(wish, target, board):
        return edits
    if match := _REPLACE.match(wish):
        old = match["old"] or match["old2"] or match["old3"]
        new = match["new"] or match["new2"] or match["new3"]
        if (camera := take_camera(new)) and camera[0] and not camera[1]:
            return [Edit(number, "camera", camera[0]) for number in target.windows]
        return _replace(old.strip(), _told(new), target, board)
    if match := _REMOVE.match(wish):
        return remove(match["old"], target, board)
    phrases, cameras, words = _parts(wish)
    if phrases or cameras:
        return _set(phrases, cameras, words, target, board)
    if edits := attribute(wish, target, board):
        return edits
    wish = re.sub(r"^(?:should|must|shall|soll(?:te)?) (?:be )?", "", wish)
    if _MANNERS.match(wish) or not target.narrow:
        return _join(wish, target, board)
    return _act(wish, target, board)


def _special(wish: str, target: Target, board: Storyboard) -> list[Edit]:
    """Wishes that say what is there and what is to be: a picture, a pace of the camera, one thing and not another."""
    pictures = max((window.anchor for window in board.windows if window.anchor), default=1)
    if edits := _pictures(wish, target, board, pictures):
        return edits
    if _HOLD.match(wish):
        return [Edit(number, "camera", "static camera") for number in target.windows]
    if match := _CAMERA_PACE.match(wish):
        pace = match["pace"] or match["pace2"]
        pace = _PACE_WORDS.get(pace.lower(), pace.lower())
        cameras = ((number, board.windows[number].camera) for number in target.windows)
        return [
            Edit(number, "camera", f"{pace} {_PACES.sub('', camera) or 'camera'}".strip()) for number, camera in cameras
        ]
    if match := _RATHER.match(wish):
        found = beats_about(match["old"], target, board)
        return [Edit(number, "beat", _told(match["new"]), beat) for number, beat in found[:1]]
    if match := _NOT.match(wish):
        return _one_not_other(match["new"], match["old"], target, board)
    return []


def _pictures(wish: str, target: Target, board: Storyboard, pictures: int) -> list[Edit]:
    """ "End on picture 1 instead of 2", "picture 2 in the third window"."""
    try:
        mentions, rest = find_mentions(
            re.sub(r",? (?:instead of|not|rather than) (?:picture |the )?\w+$", "", wish), pictures
        )
    except UserError:
        return []
    if not mentions or acts(rest):
        return []
    mention = mentions[0]
    last = mention.place is Place.END or target.last
    number = len(board.windows) - 1 if last else 0 if mention.place is Place.START else target.windows[0]
    return [Edit(number, "anchor", str(mention.picture))]


def _one_not_other(new: str, old: str, target: Target, board: Storyboard) -> list[Edit]:
    """ "Three eggs, not two", "her jacket should be red, not yellow", "he cuts stars, no strips"."""
    if phrase := phrase_of(new):
        return _set([phrase], "", "", target, board)
    words = new.split()
    counted = [f"{old} {' '.join(words[1:])}", new] if len(words) > 1 and not is_attribute(new) else []
    pairs = [*([counted] if counted else []), [old, words[-1]]]
    for former, now in pairs:
        if edits := substitute(pattern_of(former), lambda match, now=now: cased(now, match[0]), target, board):  # type: ignore[misc]
            return edits
    unwanted_beats = beats_about(old, target, board)[:1]
    return [Edit(n, "beat", _told(new), beat) for n, beat in unwanted_beats] or (
        _act(new, target, board) if acts(new) else []
    )


def _parts(wish: str) -> tuple[list[Phrase], str, str]:
    """Settings and camera moves of a wish, and the words that are neither."""
    camera, words = take_camera(wish)
    clauses = [part.strip() for part in re.split(r",| and ", words) if part.strip()]
    found = [(clause, phrase_of(clause) or _bare_phrase(clause)) for clause in clauses]
    phrases = [phrase for _, phrase in found if phrase]
    return phrases, camera, ", ".join(clause for clause, phrase in found if not phrase)


def _bare_phrase(words: str) -> Phrase | None:
    """ "sunset" for "at sunset", "snowing" for "it is snowing"."""
    for lead in ("at ", "in the ", "it is ", "in "):
        if (phrase := phrase_of(lead + words)) and phrase.kind in (Kind.DAYTIME, Kind.WEATHER, Kind.PLACE):
            return phrase
    return None


def _set(phrases: Sequence[Phrase], camera: str, words: str, target: Target, board: Storyboard) -> list[Edit]:
    """Settings replace those of their kind; a camera replaces the camera."""
    edits = []
    for number in target.windows:
        window = board.windows[number]
        if phrases or words:
            setting, _, past = window.scene.partition(SO_FAR)
            for phrase in phrases:
                setting = without(phrase.kind, setting) if phrase.kind is not Kind.STYLE else setting
                setting = (
                    _SUNNY.sub("", setting) if phrase.kind is Kind.WEATHER and "sun" not in phrase.words else setting
                )
            new = [sentence_of(part) for part in (*(phrase.words for phrase in phrases), words) if part]
            scene = " ".join(filter(None, [setting.strip(), *new, SO_FAR + past if past else ""]))
            edits.append(Edit(number, "scene", scene))
        if camera:
            edits.append(Edit(number, "camera", camera))
    return edits


def _join(wish: str, target: Target, board: Storyboard) -> list[Edit]:
    """A wish that names nothing of the storyboard is said in every window that it is about."""
    return _set([], "", wish, target, board)


def _act(wish: str, target: Target, board: Storyboard) -> list[Edit]:
    """An action for a window, a time or the ending: it takes the place of the beat that is nearest to what it says."""
    number = target.windows[0] if target.seconds is not None or not target.last else target.windows[-1]
    window, action = board.windows[number], _told(_ADD.sub("", wish))
    shared = [len(stems(beat.action) & stems(action)) for beat in window.beats]
    if _ALSO.search(wish) or not window.beats:
        seconds = target.seconds if target.seconds is not None else _free_second(window)
        more = re.sub(r"\s+", " ", _ALSO.sub("", action)).strip(" ,")
        return [Edit(number, "beat", more, len(window.beats), seconds)]
    if target.seconds is not None:
        beat = min(range(len(shared)), key=lambda b: abs(window.beats[b].seconds - target.seconds))  # type: ignore[operator]
        return [Edit(number, "beat", action, beat, target.seconds)]
    beat = max(range(len(shared)), key=lambda b: (shared[b] > 1, b) if target.last else (shared[b], b))
    return [Edit(number, "beat", action, beat)]


def _free_second(window: StoryboardWindow) -> float:
    """Behind the last beat, halfway to the end of the window."""
    last = window.beats[-1].seconds if window.beats else FIRST_BEAT_SECONDS
    return round(min((last + WINDOW_SECONDS) / 2, WINDOW_SECONDS - 0.5), 2)


def _replace(old: str, new: str, target: Target, board: Storyboard) -> list[Edit]:
    """A thing for another one wherever it is named; an action for another one in its beat."""
    acts = (
        " " in new
        and re.match(r"(?:he|she|it|they|the|a|my|er|sie|es|il|elle) .*", new, re.IGNORECASE)
        and (old.lower().endswith("ing") or len(old.split()) > 2)
    )
    if acts:
        found = beats_about(old, target, board)
        return [
            Edit(window, "beat", new if index == 0 else "", beat) for index, (window, beat) in enumerate(found[:1])
        ] or (_act(new, target, board))
    noun = re.sub(rf"^{NAME}", "", new, flags=re.IGNORECASE) if _NAME_AT_START.match(new) else new
    return substitute(pattern_of(old), lambda match: cased(noun, match[0]), target, board)


def unwanted(wish: str) -> re.Pattern[str] | None:
    """What a wish wants to be gone, removed or replaced; None if it does not."""
    bare = _LEAD.sub("", wish).strip(" ,.;:!")
    match = _REPLACE.match(bare) or _REMOVE.match(bare)
    old = match and next((value for name, value in match.groupdict().items() if name.startswith("old") and value), None)
    return pattern_of(old.strip()) if old else None


_NAME_AT_START = re.compile(rf"^{NAME}(?=.)", re.IGNORECASE)


def _told(wish: str) -> str:
    """A wish as something that happens: "he should sit down" is "he sits down"."""

    def happens(match: re.Match[str]) -> str:
        subject, verb = match[1], match[2]
        return f"{subject} {verb if subject.lower() in ('they', 'we', 'you', 'i') else third_person(verb)}"

    return _MODAL.sub(happens, wish, count=1).strip(" ,.;:!")
