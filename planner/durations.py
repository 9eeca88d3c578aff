"""Durations as people write them: "15 s", "1:10", "half a minute", "zwölf Sekunden", "8秒"."""

import re

_NUMBER_WORDS = {
    1: "one eine einer einem une una uno um uma 一",
    2: "two zwei deux dos due dois duas twee 二 两",
    3: "three drei trois tres tre três drie 三",
    4: "four vier quatre cuatro quattro quatro 四",
    5: "five fünf cinq cinco cinque vijf 五",
    6: "six sechs seis sei zes 六",
    7: "seven sieben sept siete sette sete zeven 七",
    8: "eight acht huit ocho otto oito 八",
    9: "nine neun neuf nueve nove negen 九",
    10: "ten zehn dix diez dieci dez tien 十",
    12: "twelve zwölf douze doce dodici twaalf 十二",
    15: "fifteen fünfzehn quinze quince quindici vijftien 十五",
    20: "twenty zwanzig vingt veinte venti vinte twintig 二十",
    30: "thirty dreißig dreissig trente treinta trenta trinta dertig 三十",
    40: "forty vierzig quarante cuarenta",
    45: "forty-five fünfundvierzig",
    60: "sixty sechzig soixante sesenta",
}
_NUMBERS = {word: float(number) for number, words in _NUMBER_WORDS.items() for word in words.split()}
AMOUNT = r"(?:\d{1,4}(?:[.,]\d{1,6})?|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
SECONDS = (
    r"(?:(?:seconds?|secondes?|secondi|secondo|segundos?|seconden|sekunden?|sekund(?:y|ach)?|сек(?:унд[аыеу]?)?"
    r"|secs?|seks?\.?|seg|sn|s)"
    r"(?![\w'’])|秒钟?|초)"
)
_MINUTES = r"(?:(?:minutes?|minuten?|minutos?|minuti|минут[аыу]?|mins?|m(?=\d))(?![^\W\d])|分钟?|분)"
CLOCK = r"(?<![\d:.])0?\d:[0-5]\d(?![\d:])"
_HALF_MINUTE = r"(?:half a minute|half-minute|(?:eine )?halbe minute|une demi-minute|medio minuto|mezzo minuto|半分钟)"
_START = r"(?<![\d.,:/])(?<![A-Za-zÀ-ÿ])"  # no letter before, but for those of scripts without spaces
SPAN = (
    rf"{_HALF_MINUTE}|{CLOCK}"
    rf"|{_START}{AMOUNT}[ -]?{_MINUTES}(?: ?(?:and |und |et |y )?{AMOUNT} ?{SECONDS}|\d{{1,2}}(?!\w))?"
    rf"|{_START}{AMOUNT}(?: more| further| weitere)?[ -]?{SECONDS}"
    rf"|(?<!\w)(?:a|an|one) (?:second|minute)(?!\w)|(?<!\w)(?:second|sekunde|seconde|segundo|secondo) \d{{1,3}}(?!\w)"
)
_PARTS = re.compile(rf"(?P<minutes>{AMOUNT})[ -]?{_MINUTES}(?:\D*?(?P<rest>{AMOUNT}))?", re.IGNORECASE)


def seconds_of(text: str) -> float:
    """Seconds of one written duration.

    >>> [seconds_of(text) for text in ("15 s", "1:10", "half a minute", "1 min 10 s", "3,5 Sekunden", "ten-second")]
    [15.0, 70.0, 30.0, 70.0, 3.5, 10.0]
    """
    text = text.lower().strip()
    if re.fullmatch(_HALF_MINUTE, text):
        return 30.0
    if ":" in text:
        minutes, seconds = text.split(":")
        return 60.0 * int(minutes) + int(seconds)
    if parts := _PARTS.match(text):
        return 60 * _amount(parts["minutes"]) + (_amount(parts["rest"]) if parts["rest"] else 0.0)
    number = re.search(AMOUNT, text)
    if number and not re.match(r"(?:a|an) ", text):
        return _amount(number[0])
    return 60.0 if "minute" in text else 1.0


def _amount(word: str) -> float:
    return _NUMBERS[word] if word in _NUMBERS else float(word.replace(",", "."))
