import pytest
from clock import Clock

from engine.pace import Pace
from storage.schema import Progress, Stage


def at(stage: Stage, window: int, step: int) -> Progress:
    return Progress(stage=stage, window=window, windows=3, step=step, steps=4)


def play(pace: Pace, clock: Clock, *played: tuple[float, Progress]) -> list[float | None]:
    """Seconds left after each report, which comes `wait` seconds after the one before."""
    left = []
    for wait, progress in played:
        clock.seconds += wait
        left.append(pace.timed(progress).seconds_left)
    return left


def test_time_left_is_what_the_steps_and_decodes_so_far_took():
    clock = Clock()
    pace = Pace(now=clock)
    left = play(
        pace, clock,
        (0, at(Stage.LOADING, 1, 0)),
        (50, at(Stage.DENOISING, 1, 0)),  # loading took 50 s and is no step
        (2, at(Stage.DENOISING, 1, 1)),
        (6, at(Stage.DENOISING, 1, 4)),
        (0, at(Stage.DECODING, 1, 4)),
        (10, at(Stage.FILMED, 1, 4)),
        (0, at(Stage.DENOISING, 2, 0)),
        (0, at(Stage.JOINING, 3, 4)),
    )  # fmt: skip
    assert left == [None, None, 11 * 2, 8 * 2, 8 * 2, 2 * (4 * 2 + 10), 2 * (4 * 2 + 10), 0]


def test_the_next_job_is_estimated_from_the_one_before():
    clock = Clock()
    pace = Pace(now=clock)
    play(pace, clock, (0, at(Stage.DENOISING, 1, 0)), (3, at(Stage.DENOISING, 1, 1)))
    pace.start()
    assert play(pace, clock, (1000, at(Stage.DENOISING, 1, 0)), (0, at(Stage.DENOISING, 1, 0))) == [36, 36]


def test_a_film_that_is_restored_has_no_time_left_and_teaches_none():
    pace = Pace(now=iter(range(0, 1000, 100)).__next__)
    told = [pace.timed(at(Stage.RESTORING, 1, step)).seconds_left for step in (0, 1, 2)]
    assert told == [None] * 3
    assert pace.timed(at(Stage.DENOISING, 1, 3)).seconds_left is None, "nothing was measured yet"


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.RESTORING])
def test_every_stage_has_a_time_left(stage: Stage):
    pace = Pace(step_seconds=1.0, decode_seconds=2.0)
    left = pace.timed(at(stage, 3, 4)).seconds_left
    assert left is not None
    assert 0 <= left <= 2
