"""Commands in the languages of their users: names, descriptions, options and choices, from the same catalogue.

A text of a command says which one it is by `locale_str(english, key="command.film.name")`.
"""

import discord
from discord import app_commands

from bot.discord.texts import FALLBACK, catalogue, language_of


class CatalogueTranslator(app_commands.Translator):
    """Asked by the command tree for every text in every language of Discord when the tree is synced."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,  # noqa: ARG002 - a text is known by its key alone
    ) -> str | None:
        """The text in a language of ours; None leaves it in English."""
        language = language_of(str(locale))
        return None if language == FALLBACK else catalogue(language).get(string.extras.get("key", ""))
