"""A bot's card, led through every state that people see; tests and screenshots look at it there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import discord
import numpy as np
from discord_world import World
from filming import SIZE
from PIL import Image

from bot.discord.ask import Ask
from engine.segments import write_segment
from storage.footage import Frames
from storage.renders import render_folder, segment_name
from storage.schema import Film, Job, Progress, Size, Stage, Take
from storage.timeline import film_frames

STORY = "20 s of my cat, she looks around at 2 seconds, snow begins to fall at 8 s, slow zoom out, at 15 s night falls"
PHOTO = Path(__file__).parent.parent / "examples" / "cat.jpg"
LARGE = Size(width=448, height=288)


def film_window(w: World, job: Job, number: int, picture: Path | None = None) -> Path:
    """Leave a finished window of a job where its worker would: noise, or a picture that gets darker."""
    path = render_folder(w.studio.settings.renders, job.id) / segment_name(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segment([shot(number, picture)], LARGE if picture else SIZE, path)
    assert w.studio.jobs.window_filmed(job.id, job.attempts, number)
    return path


def shot(number: int, picture: Path | None = None, windows: int = 1) -> Frames:
    """Frames of a window."""
    frames = film_frames(windows)
    if picture is None:
        return np.random.default_rng(number).integers(0, 256, (frames, SIZE.height, SIZE.width, 3), dtype=np.uint8)
    still = np.asarray(Image.open(picture).convert("RGB").resize((LARGE.width, LARGE.height)))
    return np.repeat((still * (1 - 0.15 * number)).astype(np.uint8)[None], frames, axis=0)


def finish(w: World, job: Job, seconds: float) -> Take:
    """Leave a film that looks like something."""
    windows = len(job.plan.windows)
    video = w.folder / f"film-{job.id}.mp4"
    write_segment([shot(1, PHOTO, windows)], LARGE, video)
    film = Film(
        video=w.studio.media.add_file(video),
        tail=w.studio.media.add_bytes(b"tail %d" % job.id),
        frames=film_frames(windows),
        render_seconds=seconds,
    )
    return w.studio.jobs.finish(job.id, job.attempts, film)


async def states(w: World) -> AsyncIterator[tuple[str, discord.Message]]:
    """Each state of a card, by name, with the message that shows it."""
    board, jobs, photo = w.client.board, w.studio.jobs, ("cat.jpg", PHOTO.read_bytes())
    card = await board.open(_ask(w, STORY))
    board.planning(card.id, "The director writes window 2 of 4.")
    await board.refresh(card.id)
    yield "planning", w.last
    await board.drop(card.id)

    for _ in range(2):  # a film that was measured, and one that is being filmed
        await w.say(w.bob, "20 s of my cat, a bird comes at 3 seconds", photo)
        await w.bob.click(w.messages[-1], label="Film it")
    finish(w, await w.work(), 238.0)
    bird = await w.work()
    w.progress(bird, window=4, step=3, left=51.0)
    await w.turn()
    await w.say(w.ann, STORY, photo)
    message = w.last
    yield "draft", message
    await w.ann.click(message, label="Film it")
    await w.turn()
    yield "queued", message
    finish(w, bird, 236.0)
    job = await w.work()
    film_window(w, job, 1, PHOTO)
    film_window(w, job, 2, PHOTO)
    w.progress(job, window=3, step=5, left=97.0)
    await w.turn()
    yield "rendering", message
    await board.pause()
    yield "paused", message
    board._shown.clear()  # as after the restart
    film_window(w, job, 3, PHOTO)
    film_window(w, job, 4, PHOTO)
    joining = Progress(stage=Stage.JOINING, window=4, windows=4, step=8, steps=8, seconds_left=1.0)
    assert jobs.progress(job.id, job.attempts, joining)
    await w.turn()
    yield "joining", message
    finish(w, job, 241.0)
    await board.refresh(_card(w, message))
    yield "uploading", message
    await w.turn()
    yield "done", message
    yield "take", w.last

    await w.say(w.bob, "now an owl lands beside her, then she jumps away", reply_to=w.last)
    message = w.last
    await w.bob.click(message, label="Film it")
    job = await w.work()
    jobs.fail(job.id, job.attempts, "The GPU ran out of memory in window 1.", retry=False)
    await w.turn()
    yield "failed", message
    await w.say(w.ann, "a film of my cat")
    yield "refused", w.last
    await w.say(w.ann, STORY, photo)
    message = w.last
    await w.say(w.ann, "make it 10 s", reply_to=message)
    yield "replaced", message
    message = w.last
    await w.ann.click(message, label="Cancel")
    yield "cancelled", message


def _ask(w: World, text: str) -> Ask:
    channel = cast(Any, w.client.get_channel(w.channel.id))
    return Ask(event="test:1", channel=channel, asker=cast(Any, discord.Object(w.ann.id)), text=text)


def _card(w: World, message: discord.Message) -> int:
    card = w.studio.cards.by_message(str(message.id))
    assert card is not None
    return card.id
