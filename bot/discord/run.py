"""`longtake bot`: the bot as a process that stays up, and ends in order."""

import asyncio
import contextlib
import logging
import signal
import time

import discord

from bot.discord.client import LongtakeClient
from bot.discord.lock import alone
from bot.discord.settings import DiscordSettings
from bot.discord.token import token_of
from bot.health import health
from bot.studio import Studio
from planner.settings import PlannerSettings
from storage.logs import log_to
from storage.schema import UserError

log = logging.getLogger(__name__)
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0  # seconds between two starts of a client that fell over
SOUND_SECONDS = 600.0  # after which a fall counts as the first one again
CLOSE_SECONDS = 1.0  # for the farewell of a connection


def run_bot(settings: DiscordSettings, planner: PlannerSettings) -> None:
    """Be the bot until a signal ends it. What only the owner can mend is a UserError."""
    token = token_of(settings)
    secrets = (token, settings.http_password.get_secret_value(), *planner.secrets)
    log_to(form=settings.log, secrets=secrets)
    with alone(settings.data_dir):
        asyncio.run(keep_running(settings, planner, token))


async def keep_running(settings: DiscordSettings, planner: PlannerSettings, token: str) -> None:
    """Run the bot until a signal ends it. A client that falls over is followed by a new one, later each time."""
    ending, wait = asyncio.Event(), FIRST_WAIT
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers: Ctrl-C ends the process there
            asyncio.get_running_loop().add_signal_handler(number, ending.set)
    client: LongtakeClient | None = None

    def connected() -> bool:
        return client is not None and client.listening and not client.is_closed()

    async with Studio(settings, planner) as studio, health(settings, studio.figures, connected):
        while True:
            began, client = time.monotonic(), LongtakeClient(studio, settings)
            fault = await _life(client, token, ending)
            if ending.is_set():
                log.info("the bot ends; what is open goes on after its next start")
                return
            wait = FIRST_WAIT if time.monotonic() - began > SOUND_SECONDS else wait
            log.error("the connection ended; again in %.0f s", wait, exc_info=fault)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), wait)
            wait = min(2 * wait, LONGEST_WAIT)


async def _life(client: LongtakeClient, token: str, ending: asyncio.Event) -> BaseException | None:
    """One client from its start to its end, and why it ended. What it was at ends with it."""
    others = asyncio.all_tasks()
    running = asyncio.ensure_future(client.start(token))
    stopping = asyncio.ensure_future(ending.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if ending.is_set():
        await client.board.pause()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(client.close(), CLOSE_SECONDS)
    left = asyncio.all_tasks() - others - {running}
    for task in (running, *left):
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=CLOSE_SECONDS)
    (fault,) = await asyncio.gather(running, return_exceptions=True)
    _require_mendable(fault)
    return fault


def _require_mendable(fault: BaseException | None) -> None:
    """UserError for what no new start can mend."""
    if isinstance(fault, discord.LoginFailure):
        raise UserError("Discord does not know this token: copy it again from the developer portal.") from fault
    if isinstance(fault, discord.PrivilegedIntentsRequired):
        raise UserError(
            "Turn on Message Content Intent in the developer portal, or set LONGTAKE_DISCORD_MESSAGE_CONTENT=false."
        ) from fault
