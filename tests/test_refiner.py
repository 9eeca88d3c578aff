"""Laws of the self-refiner, on velocities made by hand, and how its plan is written."""

from itertools import count, repeat

import pytest
import torch
from noise import noise_of
from torch import Tensor

from engine.refiner import refined
from engine.samplers import STEPS, Walk, noised, sample
from storage.schema import RefinedSteps, Refiner, Solver, UserError, parse_refiner_plan

GRID = (1.0, 0.9, 0.7, 0.4, 0.0)


def noises():
    return (noise_of(seed) for seed in count(100))


def refiner(text: str, **settings: object) -> Refiner:
    return Refiner(steps=parse_refiner_plan(text), **settings)


class Seen:
    """A velocity that depends on everything, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, float]] = []

    def __call__(self, latents: Tensor, sigma: Tensor) -> Tensor:
        self.asked.append((latents, float(sigma[0])))
        return torch.tanh(1.3 * latents) - 0.3 * latents * float(sigma[0]) + 0.2 * latents.roll(1, -1)

    @property
    def levels(self) -> list[float]:
        return [sigma for _, sigma in self.asked]


class Videos:
    """A velocity that sees one video after the other, whatever it is shown."""

    def __init__(self, *videos: Tensor) -> None:
        self.videos = list(videos)
        self.shown: list[Tensor] = []

    def __call__(self, latents: Tensor, sigma: Tensor) -> Tensor:
        self.shown.append(latents)
        return (latents - self.videos.pop(0)) / float(sigma[0])


def walked(velocity, chosen: Refiner, solver: Solver = Solver.EULER, **options: object) -> Tensor:
    around = lambda step: refined(step, chosen, noises(), **options)  # noqa: E731
    return sample(solver, velocity, noise_of(0), GRID, around=around)


# ---- which steps, how often -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", Solver)
def test_steps_are_evaluated_as_often_as_the_plan_says(solver):
    """0-based, both ends included; where entries overlap the later one counts; what lies behind the end is nobody's."""
    seen = Seen()
    walked(seen, refiner("1-2:3,2-9:2", uncertainty=0.0), solver)
    assert seen.levels == [1.0, 0.9, 0.9, 0.9, 0.7, 0.7, 0.4, 0.4]


@pytest.mark.parametrize("solver", Solver)
def test_one_evaluation_is_no_refinement(solver):
    assert torch.equal(walked(Seen(), refiner("0-3:1"), solver), sample(solver, Seen(), noise_of(0), GRID))


def test_steps_at_rest_are_taken_once():
    seen = Seen()
    walked(seen, refiner("0-2:2", uncertainty=0.0), resting_steps=2)
    assert seen.levels == [1.0, 0.9, 0.7, 0.7, 0.4]


# ---- what a repetition does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", Solver)
def test_a_repetition_is_the_same_step_from_the_prediction_noised_anew(solver):
    """With nothing ever certain, a step of three evaluations is the step from the second one's video, noised."""
    step = STEPS[solver]
    walk = Walk(noise_of(0))
    for _ in range(2):
        walk = step(Seen(), GRID, walk)
    got = refined(step, refiner("2:3", uncertainty=0.0), noises())(Seen(), GRID, walk)
    expected = step(Seen(), GRID, walk)
    for seed in (100, 101):
        start = Walk(noised(expected.videos[0], noise_of(seed), GRID[2]), 2, walk.videos, walk.corrected)
        expected = step(Seen(), GRID, start)
    for one, other in ((got.latents, expected.latents), *zip(got.videos, expected.videos, strict=True)):
        assert torch.equal(one, other)
    assert got.step == 3
    assert (got.corrected is None) == (expected.corrected is None)


@pytest.mark.parametrize("solver", Solver)
def test_with_one_video_in_the_world_it_is_found_all_the_same(solver):
    video = noise_of(7)
    latents = walked(lambda x, sigma: (x - video) / float(sigma[0]), refiner("0-3:4"), solver)
    torch.testing.assert_close(latents, video, rtol=0, atol=1e-5)


def test_where_predictions_agree_a_step_is_not_repeated_and_what_was_there_stays():
    plain = sample(Solver.EULER, Seen(), noise_of(0), GRID)
    video = noise_of(7)
    asked: list[float] = []

    def agreeing(latents: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma[0]))
        return (latents - video) / float(sigma[0])

    latents = walked(agreeing, refiner("1:10"))
    assert asked == [1.0, 0.9, 0.9, 0.7, 0.4], "the first repetition agreed"
    assert torch.equal(latents, sample(Solver.EULER, agreeing, noise_of(0), GRID))
    never = refiner("1:10", uncertainty=0.0)
    asked.clear()
    walked(agreeing, never)
    assert len(asked) == 13, "nothing differs by less than 0"
    assert not torch.equal(walked(Seen(), never), plain)


@pytest.mark.parametrize(("norm", "certain"), [(1, False), (2, True)])
def test_uncertainty_is_a_norm_over_channels_divided_by_their_number(norm, certain):
    """(0.3, 0.4) is 0.7 long by the first norm and 0.5 by the second: 0.35 and 0.25 a channel."""
    before = torch.zeros(1, 2, 1, 1, 1)
    after = torch.tensor([0.3, 0.4]).view(1, 2, 1, 1, 1)
    chosen = refiner("0:2", norm=norm, uncertainty=0.3)
    walk = refined(STEPS[Solver.EULER], chosen, repeat(torch.ones_like(before)))(
        Videos(before, after), (1.0, 0.5, 0.0), Walk(torch.ones_like(before))
    )
    seen = before if certain else after
    torch.testing.assert_close(walk.latents, 0.5 * torch.ones_like(seen) + 0.5 * seen)


def test_a_place_that_is_certain_keeps_what_it_had_while_others_go_on():
    """Three places: one agrees at once, one from the second time on, one never."""
    values = ([5.0, 1, 1], [5.0, 2, 3], [9.0, 2, 6], [9.0, 7, 8])
    velocity = Videos(*(torch.tensor(value).view(1, 1, 1, 1, 3) for value in values))
    ones = torch.ones(1, 1, 1, 1, 3)
    walk = refined(STEPS[Solver.EULER], refiner("0:4"), repeat(ones))(velocity, (0.5, 0.25), Walk(ones))
    # From 0.5 to 0.25 Euler goes half way to the video; a repetition begins half way between the video before and 1.
    first, second, third = (1 + 5) / 2, ((1 + 1) / 2 + 2) / 2, ((6 + 1) / 2 + 8) / 2
    torch.testing.assert_close(walk.latents.flatten(), torch.tensor([first, second, third]))
    assert velocity.shown[-1].flatten().tolist() == [(5 + 1) / 2, (2 + 1) / 2, (6 + 1) / 2]


@pytest.mark.parametrize(("share", "evaluations"), [(0.5, 4), (0.49, 2)])
def test_more_than_the_share_asked_for_must_be_certain(share, evaluations):
    """Half of the places agree."""
    asked = iter(count())

    def half(latents: Tensor, sigma: Tensor) -> Tensor:
        video = torch.tensor([0.0, 10.0 * next(asked)]).view(1, 1, 1, 1, 2)
        return (latents - video) / float(sigma[0])

    ones = torch.ones(1, 1, 1, 1, 2)
    refined(STEPS[Solver.EULER], refiner("0:4", certain=share), repeat(ones))(half, (1.0, 0.0), Walk(ones))
    assert next(asked) == evaluations


def test_same_noise_same_film():
    chosen = refiner("0-2:3", uncertainty=0.05)
    assert torch.equal(walked(Seen(), chosen), walked(Seen(), chosen))


# ---- how it is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1-5:3,6-13:1", [(1, 5, 3), (6, 13, 1)]),
        (" 6 - 13 : 1 , 2:3 ", [(2, 2, 3), (6, 13, 1)]),
        ("0-0:10,", [(0, 0, 10)]),
        ("1-5:3;2-4:9", [(1, 5, 3)]),
        ("", [(1, 5, 3), (6, 13, 1)]),
        (";1:2", [(1, 5, 3), (6, 13, 1)]),
    ],
)
def test_a_plan_is_written_as_in_the_source(text, parts):
    assert parse_refiner_plan(text) == tuple(
        RefinedSteps(first=first, last=last, evaluations=evaluations) for first, last, evaluations in parts
    )


@pytest.mark.parametrize(
    "text",
    ["1-5", "5-1:3", "1-5:0", "1-5:11", "a-b:2", "1-5:3:2", "-1:2", "1--5:2", "1.5:2", "12345:2", "1-5 3", "¹:2"],
)
def test_anything_else_is_one_sentence(text):
    with pytest.raises(UserError, match=r"^The self-refiner's plan is written like 1-5:3,6-13:1, .* not .*\.$"):
        parse_refiner_plan(text)


def test_the_defaults_are_the_sources():
    usual = Refiner()
    assert (usual.norm, usual.uncertainty, usual.certain) == (1, 0.1, 0.999)
    assert usual.steps == parse_refiner_plan("1-5:3,6-13:1")
