"""Requests and takes for tests of the planner."""

import asyncio
from datetime import UTC, datetime

from planner.agent import RuleReader
from planner.brief import Storyboarder
from planner.director import RULES, Direction, Director
from planner.intent import Context, as_told
from planner.presets import QUALITY, Preset
from planner.wishes import Filming
from storage.schema import Clip, ContinueTake, Draft, Errand, Film, Image, IntentKind, Plan, Request, Seed, Take
from storage.timeline import DROPPED_FRAMES, film_frames

CLIP = Clip(media="c" * 64, name="walk.mp4", width=720, height=1280, seconds=7.0)


def picture(number: int, width: int = 1920, height: int = 1080) -> Image:
    return Image(media=f"{number:064x}", name=f"{number}.png", width=width, height=height)


def request(text: str, pictures: int = 0, **more: object) -> Request:
    images = tuple(picture(number) for number in range(1, pictures + 1))
    return Request.model_validate({"text": text, "channel": "c", "requester": "r", "images": images, **more})


def take_of(plan: Plan, number: int = 1) -> Take:
    """The take that a plan leaves."""
    frames = film_frames(len(plan.windows), plan.discard_frames)
    if isinstance(plan.source, ContinueTake):
        frames += plan.source.head_frames - DROPPED_FRAMES
    film = Film(video="a" * 64, tail="b" * 64, frames=frames, render_seconds=1.0)
    errand = Errand(channel="c", requester="r")
    return Take(id=number, job=number, plan=plan, film=film, errand=errand, created=datetime(2026, 1, 1, tzinfo=UTC))


def plan_of(
    text: str,
    pictures: int = 1,
    context: Context | None = None,
    preset: Preset = QUALITY,
    seed: Seed = 7,
    **more: object,
) -> Direction:
    return directed(request(text, pictures, **more), context or Context(), preset, seed)


def directed(
    message: Request,
    context: Context,
    preset: Preset = QUALITY,
    seed: Seed = 7,
    storyboarder: Storyboarder = RULES,
    kind: IntentKind | None = None,
) -> Direction:
    """What a message comes to, read by rules; or by a command, which says its kind outright."""

    async def direct() -> Direction:
        if kind is None:
            intent = await RuleReader().understand(message, context)
        else:
            intent = as_told(kind, message, context)
        return await Director(storyboarder).direct(intent, message, context, Filming(preset, seed=seed))

    return asyncio.run(direct())


def draft_of(direction: Direction, message: Request) -> Draft:
    """What is discussed after a direction."""
    return Draft(request=message.model_copy(update={"images": direction.images}), plan=filmed(direction))


def filmed(direction: Direction) -> Plan:
    assert direction.plan is not None
    return direction.plan


def timeline(direction: Direction) -> list[list[tuple[float, str]]]:
    """(seconds, action) of each window."""
    assert direction.storyboard is not None
    return [[(beat.seconds, beat.action) for beat in window.beats] for window in direction.storyboard.windows]


def anchors(direction: Direction) -> list[int | None]:
    assert direction.storyboard is not None
    return [window.anchor for window in direction.storyboard.windows]


def cameras(direction: Direction) -> list[str]:
    assert direction.storyboard is not None
    return [window.camera for window in direction.storyboard.windows]
