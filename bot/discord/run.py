"""`longtake bot`: the bot as a process that stays up, and ends in order."""

import asyncio
import contextlib
import logging
import signal

import discord

from bot.discord.client import LongtakeClient
from bot.discord.settings import DiscordSettings
from bot.studio import Studio
from planner.settings import PlannerSettings
from storage.schema import UserError

log = logging.getLogger(__name__)
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0  # seconds between two starts of a client that fell over


def token_of(settings: DiscordSettings) -> str:
    """The bot's token."""
    if settings.discord_token_file:
        return settings.discord_token_file.read_text().strip()
    token = settings.discord_token.get_secret_value()
    if not token:
        raise UserError("The bot needs a token: set LONGTAKE_DISCORD_TOKEN, or LONGTAKE_DISCORD_TOKEN_FILE.")
    return token


async def keep_running(settings: DiscordSettings, planner: PlannerSettings) -> None:
    """Run the bot until a signal ends it. A client that falls over is followed by a new one, later each time."""
    token, ending = token_of(settings), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    studio, wait = Studio(settings, planner), FIRST_WAIT
    async with studio:
        while not ending.is_set():
            client = LongtakeClient(studio, settings)
            running = asyncio.ensure_future(client.start(token))
            stopping = asyncio.ensure_future(ending.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if ending.is_set():
                await client.board.pause()
            await client.close()
            stopping.cancel()
            fault = await _fault_of(running)
            if ending.is_set():
                return
            log.error("the connection ended; again in %d s", wait, exc_info=fault)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), wait)
            wait = min(2 * wait, LONGEST_WAIT)


async def _fault_of(running: "asyncio.Future[None]") -> Exception | None:
    """Why a client ended; what no new start can mend is told to the owner."""
    try:
        await running
    except discord.LoginFailure as error:
        raise UserError("Discord does not know this token: copy it again from the developer portal.") from error
    except discord.PrivilegedIntentsRequired as error:
        raise UserError(
            "Turn on Message Content Intent in the developer portal, or set LONGTAKE_DISCORD_MESSAGE_CONTENT=false."
        ) from error
    except Exception as error:  # noqa: BLE001 - the supervisor: whatever it was, it is logged and tried again
        return error
    return None
