"""The bot's token: where it is kept, and what can be said of it without asking Discord."""

import base64
import binascii
import re
from pathlib import Path

from bot.discord.settings import DiscordSettings
from storage.schema import UserError

SHAPE = re.compile(r"([\w-]{18,})\.[\w-]{5,}\.[\w-]{20,}")


def token_of(settings: DiscordSettings) -> str:
    """The bot's token; UserError if there is none, or if what is there is something else."""
    token = settings.discord_token.get_secret_value().strip()
    if settings.discord_token_file:
        try:
            token = Path(settings.discord_token_file).expanduser().read_text().strip()
        except OSError as error:
            raise UserError(f"The file with the bot's token cannot be read: {error.strerror}.") from error
    if not token:
        raise UserError("The bot needs a token: set LONGTAKE_DISCORD_TOKEN, or LONGTAKE_DISCORD_TOKEN_FILE.")
    if application_of(token) is None:
        raise UserError("That is no bot token: copy it from the Bot page of your application in the developer portal.")
    return token


def application_of(token: str) -> int | None:
    """The application's id, which a token begins with; None if it is no token."""
    match = SHAPE.fullmatch(token)
    if match is None:
        return None
    first = match[1]
    try:
        said = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return int(said) if re.fullmatch(r"\d{15,20}", said) else None


def state_of(settings: DiscordSettings) -> str:
    """One line for a check-up; Discord is not asked."""
    if not settings.discord_token.get_secret_value() and not settings.discord_token_file:
        return "no token (needed by longtake bot)"
    try:
        return f"token of application {application_of(token_of(settings))}; Discord was not asked"
    except UserError as error:
        return str(error)
