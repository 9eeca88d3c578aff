"""What the bot says in Discord, in the languages of its people. One catalogue a language; English is the model."""

import json
from functools import cache
from importlib.resources import files

FALLBACK = "en"
LANGUAGES = ("en", "de", "es", "fr", "ja", "pt", "zh")


@cache
def catalogue(language: str) -> dict[str, str]:
    """The texts of a language by their keys; empty for a language that we do not speak."""
    file = files("bot.discord.texts") / f"{language}.json"
    return json.loads(file.read_text(encoding="utf-8")) if language in LANGUAGES else {}


def language_of(locale: str) -> str:
    """Our language for one of Discord's locales: "pt-BR" is "pt", "es-419" is "es"; English where there is none."""
    language = locale.replace("_", "-").split("-")[0].lower()
    return language if language in LANGUAGES else FALLBACK


def say(locale: str, key: str, **values: object) -> str:
    """A text for a locale such as "pt-BR", with values filled in; in English where there is no other."""
    text = catalogue(language_of(locale)).get(key) or catalogue(FALLBACK)[key]
    return text.format(**values)
