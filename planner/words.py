"""Words by which a story is read: subjects, determiners, verbs, and what joins one event to the next.

The lists are small and written for what people film. A word that is not here is never an error: the clause that it
stands in then stays whole.
"""

import re

import snowballstemmer


def word_list(words: str) -> frozenset[str]:
    """Words of a text, each once."""
    return frozenset(words.split())


SUBJECTS = word_list(
    "he she it they we you there someone somebody everyone everybody nobody "
    "er sie es wir ich il elle ils elles él ella ellos ellas lui lei loro ele ela eles elas hij zij он она они"
)
DETERMINERS = word_list(
    "a an the my his her their our your its this that these those one two three four five some another several many "
    "both all every no"
)
OPENERS = word_list(
    "suddenly meanwhile plötzlich soudain soudainement pronto improvvisamente derepente вдруг behind outside"
)
_PREPOSITIONS = word_list(
    "on at in by near under over of with from to into onto for and or but as while like through across along behind "
    "beside between above below around against without toward towards very so too more most"
)

_VERBS = word_list(
    "count juggle skid dab braid knit weave run walk jump leap hop swim dive fly soar float drift sink rise fall drop "
    "climb crawl sit stand lie lean kneel "
    "crouch bend stretch turn spin rotate twirl twist roll slide glide skate surf ride drive sail paddle land take "
    "give hold grab catch throw toss kick hit punch push pull lift carry put set pick open close shut lock "
    "enter leave exit "
    "arrive come go move stop start begin continue keep stay wait pause rest sleep wake look watch see stare gaze "
    "glance peek blink wink smile laugh giggle grin cry weep frown sigh yawn nod shake wave point clap bow hug kiss "
    "dance sing hum whistle play speak talk say whisper shout scream yell bark meow howl roar growl purr chirp sniff "
    "lick bite chew eat drink sip pour cook bake cut stir mix wash clean wipe brush wear paint draw write read press "
    "touch tap stroke pat scratch dig grow bloom wilt appear disappear vanish emerge fade glow shine sparkle flicker "
    "flash blaze burn explode burst crack break shatter smash crash collapse crumble melt freeze boil blow swirl "
    "ripple splash drip flow shimmer darken brighten transform morph change become get shrink expand approach "
    "follow chase "
    "flee escape hide search find lose build destroy fight attack shoot aim strike trip stumble slip balance juggle "
    "perform cheer celebrate pose reach pass bring meet greet join cross wander stroll march stride sprint jog gallop "
    "trot hover race speed accelerate brake launch descend ascend hang swing sway bounce shiver tremble breathe cough "
    "sneeze sneak creep step return try help show reveal cover unwrap fill peel pray meditate wag flap peck nibble "
    "graze pounce cuddle curl nap flicker spread gather scatter unfold unfurl buzz chase crash arise raise lower"
)
_PAST = word_list(
    "was were had ran swam flew sank rose fell sat stood lay knelt bent spun slid rode drove took gave held caught "
    "threw hit put opened came went began kept left woke saw wept shook sang spoke said ate drank wore drew wrote read "
    "grew shone burst broke froze blew became got fled hid found lost built fought shot struck brought met hung swung"
)
_AUXILIARIES = word_list("is are has have can will starts does do should must isn't aren't")
_NOT_PARTICIPLES = word_list(
    "morning evening building king ring wing thing ceiling spring string wedding painting clothing lightning something "
    "anything nothing everything sibling duckling pudding viking being earring railing awning wing during"
)


def third_person(verb: str) -> str:
    """ "she carries" for "carry"."""
    if verb.endswith(("s", "sh", "ch", "x", "z", "go")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


BASE_FORMS = _VERBS
THIRD_PERSON = frozenset(map(third_person, _VERBS)) | {"is", "has"}
_FINITE = THIRD_PERSON | _PAST | _AUXILIARIES | {verb + "ed" for verb in _VERBS}
_PLURALS = word_list("people children kids men women police they we you i who and")

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, punctuation left out.

    >>> words_of("My dog, the wet one, runs!")
    ['my', 'dog', 'the', 'wet', 'one', 'runs']
    """
    return [word.lower() for word in _WORD.findall(text)]


def verb_at(words: list[str]) -> int | None:
    """Index of the first word that acts as a verb after a subject; None where there is none.

    >>> verb_at(["my", "dog", "on", "the", "beach"]), verb_at(["waves", "crash"]), verb_at(["a", "dog", "running"])
    (None, 1, 2)
    """
    for index in range(1, len(words)):
        word, before = words[index], words[index - 1]
        if before in DETERMINERS or (before in _PREPOSITIONS and before != "and"):
            continue
        if word in _FINITE or (word.endswith("ing") and len(word) > 4 and word not in _NOT_PARTICIPLES):
            return index
        if word in BASE_FORMS and (before in _PLURALS or (before.endswith("s") and not before.endswith("ss"))):
            return index
    return None


def acts(text: str) -> bool:
    """Whether something happens in an English text: it holds a verb, or is an order."""
    words = words_of(text)
    return bool(words) and (words[0] in BASE_FORMS or words[0] in THIRD_PERSON or verb_at(words) is not None)


def starts_clause(text: str, before: str) -> bool:
    """Whether `text`, which follows `before` and a comma, begins a clause of its own: a new subject and its verb."""
    words = words_of(text)[:8]
    if words and words[0] in ("and", "but", "und", "et", "y"):
        words = words[1:]
    if len(words) < 2:
        return bool(words) and words[0] in THIRD_PERSON and acts(before)
    if words[0] in SUBJECTS or words[0] in OPENERS or (words[0] == "i" and "I " in text[:8]):
        return True
    if _dangles(before) or (_leads_in(before) and not acts(before)):
        return False
    verb = verb_at(words)
    if words[0] in DETERMINERS:
        return verb is not None and verb <= 6
    if words[0] in _PREPOSITIONS:
        return False
    if not acts(before):
        return False
    return words[0] in THIRD_PERSON or words[0] in BASE_FORMS or (verb in (1, 2) and not words[verb].endswith("ing"))


def _dangles(text: str) -> bool:
    """Whether a text stops inside a noun phrase: "a long", "her small"."""
    words = words_of(text)[-2:]
    return len(words) == 2 and words[0] in DETERMINERS and words[1] not in SUBJECTS and _open_adjective(words[1])


def _leads_in(text: str) -> bool:
    """Whether a text is a place or time that stands before its clause: "next to him"."""
    return (words_of(text) or [""])[0] in _PREPOSITIONS | {"next", "after", "before", "during", "inside", "when"}


def _open_adjective(word: str) -> bool:
    return word in _ADJECTIVES or word.endswith(("ful", "ous", "ish", "ive", "able"))


_ADJECTIVES = word_list(
    "big small long short tall tiny huge old young new red blue green yellow black white brown grey gray golden dark "
    "bright light calm wild soft hard warm cold hot wet dry shiny dirty clean quiet loud happy sad slow fast heavy "
    "thick thin wide narrow deep pretty lovely cute strange misty foggy snowy rainy sunny stormy sleepy fluffy "
    "friendly giant gentle sudden single lonely ancient modern empty crowded little large pale vast silent"
)


def sentence_of(words: str) -> str:
    """Words as a sentence; what ends one already keeps its end, and nothing stays nothing."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?", "。")) or not words else ".")


# ---- what a text is about --------------------------------------------------------------------------------------------

_STEMMER = snowballstemmer.stemmer("english")
_COMMON = word_list(
    "a an the my his her their our your its this that these those he she it they we you i is are was were be been am "
    "and or but then while as so of to in into on onto at by with from for over up down out off back again very some "
    "one there here who which what where when should must will would can could do does did have has had not no "
    "starts start begins begin slowly suddenly now just like"
)
_FOREIGN = word_list(
    "der die das den dem sich und ein eine einen mein meine nicht ist mit auf im am ins zum zur dann er sie es "
    "le la les un une et "
    "est dans avec puis il elle mon ma el los las y una con por que mi entonces gli che di della poi uno o os as do da "
    "em com de het een en van mijn"
)


def stems(text: str) -> set[str]:
    """What a text is about: its words without endings and without the small words of English.

    >>> sorted(stems("He runs into the water"))
    ['run', 'water']
    """
    return set(_STEMMER.stemWords([word for word in words_of(text) if word not in _COMMON]))


def tells(text: str, of: str) -> bool:
    """Whether a text speaks of what another one says: they share at least a third of its words.

    A text in another language than English may have been translated, so nothing can be told of its words.
    """
    wanted = stems(of)
    if not wanted or not is_english(of):
        return True
    return 3 * len(wanted & stems(text)) >= len(wanted)


def is_english(text: str) -> bool:
    """Whether a text reads like English: plain letters, and no more small words of its neighbours than of its own."""
    words = words_of(text)
    plain = sum(word.isascii() for word in words)
    foreign, own = (sum(word in known for word in words) for known in (_FOREIGN, _COMMON))
    return 2 * plain > len(words) and foreign <= own
