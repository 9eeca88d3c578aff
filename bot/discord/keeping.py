"""Keeping films: what has a 📌 of somebody who may is not removed to save room."""

from bot.discord.ask import Ask
from bot.discord.rights import Rights
from bot.discord.texts import say
from bot.studio import Studio
from storage.schema import Take, UserError


def keep(rights: Rights, ask: Ask, take: Take) -> str:
    """Keep a take for the asker; a sentence that says so. UserError if they may not, or if there is nothing to keep."""
    rights.admit(ask)
    rights.require_own_take(ask, take, "keep")
    studio, most = rights.studio, rights.studio.settings.max_pins
    if take.evicted:
        raise UserError(say(ask.locale, "error.keep_too_late", take=take.id, seed=take.plan.seed))
    if not studio.keep(take, ask.asker_key):
        raise UserError(say(ask.locale, "error.keep_most" if most else "error.keep_none", most=most))
    return _told(studio, "kept.begun", take, ask.asker_key, ask.locale)


def let_go(studio: Studio, take: Take, person: str, locale: str) -> str:
    """A person keeps a take no longer; a sentence that says so, or "" if they did not keep it."""
    return _told(studio, "kept.ended", take, person, locale) if studio.takes.unpin(take.id, person) else ""


def _told(studio: Studio, key: str, take: Take, person: str, locale: str) -> str:
    kept = len(studio.takes.pinned_by(person))
    return say(locale, key, take=take.id, kept=kept, most=studio.settings.max_pins)
