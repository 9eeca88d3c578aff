"""A short soak: a bot and workers that are killed all the time; `make soak` is the long one."""

from pathlib import Path

import pytest
from soak import Terms, soak, write_tiny

pytestmark = pytest.mark.asyncio


async def test_everything_that_is_asked_is_filmed_and_posted_once_whoever_is_killed(tmp_path: Path):
    write_tiny(tmp_path / "models")
    terms = Terms(requests=8, workers=2, stories=2, kill_seconds=0.5, most_kills=25, seed=2, limit_seconds=600)
    report = await soak(tmp_path, tmp_path / "models", terms)
    assert report.sound, report
    assert report.bots_killed + report.workers_killed > 0
