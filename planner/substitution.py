"""Things of a storyboard for other things, and things that go: the same change wherever a thing is named."""

import re
from collections.abc import Callable

from planner.edits import Edit
from planner.targets import Target
from planner.words import sentence_of, stems, word_list
from storage.schema import Storyboard

SO_FAR = "So far: "
NOTHING_SAID = "natural motion, one continuous shot"  # where nothing was said, or nothing is left of it
NAME = r"(?:(?:the|a|an|his|her|my|that|this|any|all|der|die|das|den|dem|ein|eine|einen|le|la|les|un|une|el|los) )?"
_THING = r"(?P<name{n}>(?:the|his|her|my|der|die|das) [^\W\d_]+)"
_QUALITY = r"(?P<how{n}>(?:(?:very|more|much|dark|light|bright|deep) )?[^\W\d_]+)(?: sein)?$"
_ATTRIBUTE = re.compile(  # "make the crab blue", "the crab should be blue", "his hat is red"
    rf"^(?:make|turn|colou?r|paint|let) {_THING.format(n='')}(?: (?:be|look|turn|become))? {_QUALITY.format(n='')}"
    rf"|^{_THING.format(n=2)}(?: (?:should|must|has to|needs to|ought to|soll(?:te)?))?"
    rf"(?: (?:be|is|are|look|looks|turns?|becomes?)|(?<=soll)|(?<=sollte)) {_QUALITY.format(n=2)}",
    re.IGNORECASE,
)
_COMMON_NOUNS = word_list("film video ending end beginning start camera scene shot light window part thing")
_COLOURS = r"(?:red|green|blue|yellow|orange|purple|violet|pink|brown|black|white|grey|gray|golden|silver)"


def is_attribute(wish: str) -> bool:
    """Whether a wish gives a thing a quality: "his hat is red"."""
    return bool(_ATTRIBUTE.match(wish))


def attribute(wish: str, target: Target, board: Storyboard) -> list[Edit]:
    """ "The crab should be blue": a quality for a thing, wherever it is named. Nothing for any other wish."""
    match = _ATTRIBUTE.match(wish)
    name = (match["name"] or match["name2"]).split()[-1] if match else ""
    if not match or name.lower() in _COMMON_NOUNS:
        return []
    named = re.compile(rf"\b(?:{_COLOURS} )?({re.escape(name)})\b", re.IGNORECASE)
    return substitute(named, lambda found: f"{(match['how'] or match['how2']).lower()} {found[1]}", target, board)


def remove(old: str, target: Target, board: Storyboard) -> list[Edit]:
    """Beats and sentences of scenes that name a thing go, and the camera that follows it."""
    wanted, edits = stems(old) or {old.lower()}, []
    for number in target.windows:
        window = board.windows[number]
        edits += [Edit(number, "beat", "", i) for i, b in enumerate(window.beats) if wanted <= stems(b.action)]
        beside = re.compile(
            rf",? (?:and|with|next to|beside) (?:{NAME})(?:[^\W\d_]+ ){{0,2}}{re.escape(old)}(?![\w-])", re.IGNORECASE
        )
        kept = _kept_sentences(beside.sub("", window.scene), wanted) or NOTHING_SAID
        if kept != window.scene:
            edits.append(Edit(number, "scene", kept))
        if wanted <= stems(window.camera):
            edits.append(Edit(number, "camera", ""))
    return edits


def _kept_sentences(scene: str, unwanted: set[str]) -> str:
    """A scene without what names something: phrases between commas first, whole sentences where nothing is left."""
    sentences = []
    for sentence in re.split(r"(?<=[.!?])\s+", scene):
        lead, body = (SO_FAR, sentence[len(SO_FAR) :]) if sentence.startswith(SO_FAR) else ("", sentence)
        if not unwanted <= stems(body):
            sentences.append(sentence)
            continue
        mark = "; " if lead else ", "
        parts = [part for part in body.rstrip(".").split(mark) if not unwanted <= stems(part)]
        if parts:
            sentences.append(lead + sentence_of(mark.join(parts)) if not lead else f"{lead}{mark.join(parts)}.")
    return " ".join(sentences)


def substitute(
    pattern: re.Pattern[str], new: Callable[[re.Match[str]], str], target: Target, board: Storyboard
) -> list[Edit]:
    """The same change in every text of some windows."""
    edits = []
    for number in target.windows:
        window = board.windows[number]
        for part in ("scene", "camera"):
            text = getattr(window, part)
            if (changed := _articles(pattern.sub(new, text))) != text and pattern.search(text):
                edits.append(Edit(number, part, changed))
        for index, beat in enumerate(window.beats):
            if pattern.search(beat.action):
                edits.append(Edit(number, "beat", _articles(pattern.sub(new, beat.action)), index))
    return edits


def beats_about(words: str, target: Target, board: Storyboard) -> list[tuple[int, int]]:
    """Beats of some windows that share words with a text, the nearest first."""
    wanted = stems(words)
    scores = [
        (len(wanted & stems(beat.action)), number, index)
        for number in target.windows
        for index, beat in enumerate(board.windows[number].beats)
    ]
    return [(number, index) for score, number, index in sorted(scores, key=lambda s: -s[0]) if score]


def pattern_of(old: str) -> re.Pattern[str]:
    """A thing by its name, in the singular or plural."""
    return re.compile(rf"\b{re.escape(old)}(?P<plural>s|es)?\b", re.IGNORECASE)


def cased(new: str, old: str) -> str:
    """New words with a capital where the old ones had one."""
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def _articles(text: str) -> str:
    """a or an, as the word behind wants it."""
    text = re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwxyz])", r"\1 ", text)
    return re.sub(r"\b([Aa]) (?=[aeiou](?!ne\b|nic|se|uro))", r"\1n ", text)
