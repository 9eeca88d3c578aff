"""A Discord in this process for tests of the bot: the real client, real storage; films are made by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import numpy as np
import simcord
from filming import SIZE, draw

from bot.discord.cdn import Cdn
from bot.discord.client import LongtakeClient
from bot.discord.settings import DiscordSettings
from bot.studio import Studio
from engine.segments import write_segment
from storage.schema import Film, Job, MediaId, Policy, Progress, Stage, Storyboard, Take
from storage.timeline import film_frames


class SimFiles(Cdn):
    """SimCord's files stand for Discord's."""

    client: LongtakeClient

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def keeps(self, address: str) -> bool:
        """Its own addresses."""
        return address.startswith("https://cdn.simcord.invalid/")

    async def read(self, address: str, most_bytes: int) -> bytes:
        """From memory."""
        self.fetched.append(address)
        return await self.client.http.get_from_cdn(address)


def client_on(settings: DiscordSettings) -> LongtakeClient:
    """A bot for SimCord."""
    files = SimFiles()
    files.client = LongtakeClient(Studio(settings), settings, files)
    return files.client


@dataclass
class World:
    """A server with a channel and two people, and the bot in it."""

    env: Any
    client: LongtakeClient
    studio: Studio
    guild: Any
    channel: Any
    ann: Any
    bob: Any
    folder: Path

    @property
    def mention(self) -> str:
        """The bot's name as people write it."""
        return f"<@{self.client.user.id}>"  # type: ignore[union-attr]

    @property
    def photo(self) -> tuple[str, bytes]:
        """A picture to attach."""
        return "dog.png", draw(self.folder / "dog.png", 1).read_bytes()

    async def say(self, who: Any, text: str, *pictures: tuple[str, bytes], **more: Any) -> discord.Message:
        """Somebody speaks to the bot."""
        return await who.send(self.channel, f"{self.mention} {text}", attachments=pictures, **more)

    async def turn(self, seconds: float = 5.0) -> None:
        """Let the bot's watch go round."""
        await self.env.advance_time(seconds)
        await self.env.settle()

    async def work(self, window: int | None = None) -> Job:
        """Claim the next job as a worker would; with `window`, film up to there."""
        job = await asyncio.to_thread(self.studio.jobs.claim, "w", 600)
        assert job is not None, "nothing waits"
        return job

    def finish(self, job: Job, seconds: float = 6.0) -> Take:
        """Leave a real, small video for a job."""
        frames = film_frames(len(job.plan.windows))
        film = Film(
            video=self.finish_video(job, frames),
            tail=self.studio.media.add_bytes(b"tail %d" % job.id),
            frames=frames,
            render_seconds=seconds,
        )
        return self.studio.jobs.finish(job.id, job.attempts, film)

    def finish_video(self, job: Job, frames: int) -> MediaId:
        """A real, small video of a job."""
        video = self.folder / f"job-{job.id}.mp4"
        noise = np.random.default_rng(job.id).integers(0, 256, (frames, SIZE.height, SIZE.width, 3), dtype=np.uint8)
        write_segment([noise], SIZE, video)
        return self.studio.media.add_file(video)

    async def filmed(self) -> Take:
        """Film what waits, and let the bot hand it over."""
        take = self.finish(await self.work())
        await self.turn()
        return take

    def progress(self, job: Job, window: int, step: int, left: float = 60.0) -> None:
        """Say how far a job is."""
        told = Progress(
            stage=Stage.DENOISING, window=window, windows=len(job.plan.windows), step=step, steps=8, seconds_left=left
        )
        assert self.studio.jobs.progress(job.id, job.attempts, told)

    def draft(self, message: discord.Message) -> Storyboard:
        """The storyboard that a card shows."""
        card = self.studio.cards.by_message(str(message.id))
        assert card is not None
        assert card.draft is not None
        return card.draft.plan.storyboard

    def fresh(self, message: discord.Message) -> discord.Message:
        """A message of the channel as it is now."""
        return next(m for m in self.channel.history() if m.id == message.id)

    async def restart(self) -> None:
        """End the bot and start another one on the same data."""
        self.client = client_on(self.client.settings)
        self.studio = self.client.studio
        await self.env.restart_bot(self.client)

    @property
    def last(self) -> discord.Message:
        """The newest message of the channel."""
        return self.channel.last_message

    @property
    def messages(self) -> list[discord.Message]:
        """Of the bot, oldest first."""
        return [m for m in self.channel.history() if m.author.id == self.client.user.id]  # type: ignore[union-attr]


def settings_in(folder: Path, **more: Any) -> DiscordSettings:
    """Settings of a test's bot; nobody but the test films."""
    return DiscordSettings(data_dir=folder / "data", workers=0, _env_file=None, **more)  # type: ignore[call-arg]


@asynccontextmanager
async def world(folder: Path, **more: Any) -> AsyncIterator[World]:
    """A bot in a server."""
    client = client_on(settings_in(folder, **more))
    async with simcord.run(client, settle_timeout=60) as env:
        guild = env.create_guild()
        channel = guild.create_text_channel("garden")
        ann, bob = (guild.add_member(env.create_user(name)) for name in ("ann", "bob"))
        yield World(env, client, client.studio, guild, channel, ann, bob, folder)


def allow(w: World, **more: Any) -> None:
    """Let people of the server film without being asked first, and for long; other terms may be named."""
    w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(**{"approve": False, "minutes_per_day": 100, **more}))


def texts_of(message: discord.Message) -> str:
    """Everything that a message says, its components included."""
    parts = [message.content]

    def walk(component: Any) -> None:
        parts.append(getattr(component, "content", "") or "")
        for child in getattr(component, "children", ()) or ():
            walk(child)

    for component in message.components:
        walk(component)
    return "\n".join(filter(None, parts))
