"""What the bot says, in every language that it speaks: nothing missing, nothing left in English, nothing misnamed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.app_commands import locale_str
from discord_world import world

from bot.discord import texts
from bot.discord.texts import FALLBACK, LANGUAGES, catalogue, language_of, say
from bot.discord.texts.translator import CatalogueTranslator

OTHERS = [language for language in LANGUAGES if language != FALLBACK]
COMMAND_NAME = re.compile(r"^[-_'\w]{1,32}$")
LIMITS = {"button.": 80, "continue.": 45, "editor.": 45}  # of Discord: labels of buttons and of fields of forms


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_says_everything_that_english_says_with_the_same_values(language: str) -> None:
    english, other = catalogue(FALLBACK), catalogue(language)
    assert other.keys() == english.keys()
    for key, text in english.items():
        assert other[key].strip(), key
        assert placeholders(other[key]) == placeholders(text), key


@pytest.mark.parametrize("language", OTHERS)
def test_no_sentence_is_left_in_english(language: str) -> None:
    english, other = catalogue(FALLBACK), catalogue(language)
    words = {key: re.findall(r"[^\W\d_]{2,}", re.sub(r"\{\w+\}", "", text)) for key, text in english.items()}
    assert [key for key, text in english.items() if other[key] == text and len(words[key]) > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_fit_where_discord_shows_them(language: str) -> None:
    for key, text in catalogue(language).items():
        for prefix, most in LIMITS.items():
            assert not key.startswith(prefix) or key == "continue.same_spirit" or len(text) <= most, key
        if key.startswith("command.") and key.endswith(".name"):
            menu = key.replace(".name", ".description") not in catalogue(language)  # on a message: any letters
            assert len(text) <= 32, key
            assert menu or (COMMAND_NAME.match(text) and text == text.lower()), key
        assert len(text) <= 1900, key
        if (key.startswith("command.") and key.endswith(".description")) or key.startswith("choice."):
            assert len(text) <= 100, key


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_and_options_of_one_command_keep_names_of_their_own(language: str) -> None:
    """Discord refuses two commands of a group, or two options of a command, that are called the same in a language."""
    taken: dict[tuple[str, str], str] = {}
    for key, text in catalogue(language).items():
        if key.startswith("command.") and key.endswith(".name"):
            path = key.removesuffix(".name")
            assert taken.setdefault((path.rpartition(".")[0], text), key) == key, (key, text)


def test_the_files_are_sorted_and_are_those_of_the_languages() -> None:
    folder = Path(texts.__file__).parent
    assert {file.stem for file in folder.glob("*.json")} == set(LANGUAGES)
    for file in folder.glob("*.json"):
        keys = list(json.loads(file.read_text(encoding="utf-8")))
        assert keys == sorted(keys), file.name


def test_every_locale_of_discord_is_answered_in_the_nearest_language() -> None:
    spoken = {str(locale): language_of(str(locale)) for locale in discord.Locale}
    assert {locale: language for locale, language in spoken.items() if language != "en"} == {
        "de": "de", "es-ES": "es", "es-419": "es", "fr": "fr", "ja": "ja", "pt-BR": "pt", "zh-CN": "zh", "zh-TW": "zh",
    }  # fmt: skip
    assert say("pt-BR", "button.film") == "Filmar"
    assert say("ko", "button.film") == say("en-GB", "button.film") == "Film it"


@pytest.mark.asyncio
async def test_the_translator_finds_a_text_by_its_key_and_leaves_english_alone() -> None:
    translator = CatalogueTranslator()
    context: Any = app_commands.TranslationContext(app_commands.TranslationContextLocation.other, None)
    text = locale_str("Film it", key="button.film")
    told = {str(locale): await translator.translate(text, locale, context) for locale in discord.Locale}
    assert {locale: said for locale, said in told.items() if said} == {
        "de": "Drehen", "es-ES": "Rodar", "es-419": "Rodar", "fr": "Tourner", "ja": "撮影する", "pt-BR": "Filmar",
        "zh-CN": "开拍", "zh-TW": "开拍",
    }  # fmt: skip
    assert await translator.translate(locale_str("no key"), discord.Locale.german, context) is None


@pytest.mark.asyncio
async def test_every_text_of_every_command_is_there_in_every_language(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        translator = w.client.tree.translator
        assert isinstance(translator, CatalogueTranslator)
        spoken = {"de", "es-ES", "es-419", "fr", "ja", "pt-BR", "zh-CN", "zh-TW"}
        for command in w.client.tree.get_commands():
            told = await command.get_translated_payload(w.client.tree, translator)
            for path, part in parts(told):
                assert part["name_localizations"].keys() >= spoken, path
                assert "description" not in part or part["description_localizations"].keys() >= spoken, path


def parts(told: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """A command, its subcommands, their options and choices."""
    path = f"{path}/{told['name']}"
    yield path, {name: value for name, value in told.items() if name != "description" or value}
    for part in (*told.get("options", ()), *told.get("choices", ())):
        yield from parts(part, path)
