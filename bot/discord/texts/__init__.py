"""What the bot says in Discord, in the languages of its people. One catalogue; English is the one that is complete."""

import json
from functools import cache
from importlib.resources import files

FALLBACK = "en"


@cache
def catalogue(language: str) -> dict[str, str]:
    """The texts of a language by their keys; empty for a language that we do not speak."""
    file = files("bot.discord.texts") / f"{language}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def say(locale: str, key: str, **values: object) -> str:
    """A text for a locale such as "pt-BR", with values filled in; in English where there is no other."""
    text = catalogue(locale.split("-")[0].lower()).get(key) or catalogue(FALLBACK)[key]
    return text.format(**values)
