"""The words as values: frozen, closed, and exact after a trip through JSON."""

import inspect
import json
import typing

import pytest
from pydantic import ValidationError

from storage import schema
from storage.schema import (
    Beat,
    BeatSpan,
    ContinueTake,
    ContinueVideo,
    Errand,
    Expert,
    Film,
    Job,
    JobState,
    Lora,
    Phase,
    Plan,
    Progress,
    Request,
    Sampling,
    Size,
    Solver,
    Stage,
    StartImage,
    Storyboard,
    StoryboardWindow,
    Take,
    Timing,
    Value,
    Window,
)

PICTURE, VIDEO, TAIL = "a" * 64, "b" * 64, "c" * 64
HIGH, LOW = Expert.HIGH_NOISE, Expert.LOW_NOISE
VALUES = [kind for _, kind in inspect.getmembers(schema, inspect.isclass) if issubclass(kind, Value)]


def sampling(sigmas=(1.0, 0.9375, 0.8333333333333334, 0.625, 0.0), above=(0.9, 0.0)):
    experts = (HIGH, LOW, LOW)
    return Sampling(
        solver=Solver.UNIPC,
        sigmas=sigmas,
        phases=tuple(Phase(expert=expert, above=a, guidance=3.5) for expert, a in zip(experts, above, strict=False)),
    )


def plan(source=None, windows=1):
    return Plan(
        storyboard=Storyboard(
            title="Rain",
            windows=(StoryboardWindow(scene="a street", beats=(Beat(seconds=1, action="it rains"),)),) * windows,
        ),
        size=Size(width=832, height=480),
        source=source or StartImage(image=PICTURE),
        windows=(Window(prompt="a street", negative="blur", seed=2**63 - 1),) * windows,
        sampling=sampling(),
        seed=7,
        model="demo",
        loras=(Lora(name="lightning", strength="0.9,0.8;1.2"),),
    )


# ---- every value ----


def test_the_schema_has_values_to_hold_to_the_laws():
    assert {Plan, Job, Take, Request, Sampling} <= set(VALUES)


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_every_value_is_frozen_and_closed(kind):
    assert kind.model_config["frozen"] is True
    assert kind.model_config["extra"] == "forbid"


def test_a_value_cannot_be_changed():
    size = Size(width=832, height=480)
    with pytest.raises(ValidationError, match="frozen"):
        size.width = 16


def test_an_unknown_field_is_refused_at_any_depth():
    told = json.loads(plan().model_dump_json())
    told["sampling"]["cfg"] = 5
    with pytest.raises(ValidationError, match=r"sampling\.cfg\n.*not permitted"):
        Plan.model_validate_json(json.dumps(told))


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_no_value_holds_something_that_can_be_changed_inside(kind):
    """A frozen model with a list in it would not be frozen."""

    def parts(annotation):
        yield typing.get_origin(annotation) or annotation
        for part in typing.get_args(annotation):
            yield from parts(part)

    held = {part for field in kind.model_fields.values() for part in parts(field.annotation)}
    assert not held & {list, dict, set}


@pytest.mark.parametrize(
    "source",
    [
        StartImage(image=PICTURE),
        ContinueTake(video=VIDEO, tail=TAIL, head_windows=2, head_frames=157),
        ContinueVideo(video=VIDEO, keep_frames=-8),
    ],
)
def test_a_plan_comes_back_from_json_as_it_was(source):
    """Equal floats, equal seeds of 63 bits, and the source of the same kind: same plan, same video."""
    written = plan(source)
    assert Plan.model_validate_json(written.model_dump_json()) == written


def test_equal_plans_are_equal_and_any_number_tells_two_apart():
    assert plan() == plan()
    assert hash(plan()) == hash(plan())
    assert plan() != plan().model_copy(update={"seed": 8})


def test_a_plan_has_no_identity_and_no_time():
    assert not {"id", "job", "created", "channel", "requester"} & set(Plan.model_fields)


# ---- sampling ----


@pytest.mark.parametrize("sigmas", [(1.0, 1.0, 0.0), (0.5, 0.75, 0.0), (0.0, 1.0)])
def test_sigmas_must_fall(sigmas):
    with pytest.raises(ValidationError, match="sigmas must fall strictly"):
        sampling(sigmas=sigmas)


@pytest.mark.parametrize("sigmas", [(), (1.0,), (1.5, 0.0), (1.0, -0.1)])
def test_sigmas_are_two_or_more_noise_levels(sigmas):
    with pytest.raises(ValidationError, match="sigmas"):
        sampling(sigmas=sigmas)


def test_steps_lie_between_the_sigmas():
    assert sampling().steps == 4


@pytest.mark.parametrize("above", [(0.0, 0.9), (0.9, 0.9, 0.0), (0.5, 0.7, 0.0)])
def test_phases_must_fall(above):
    with pytest.raises(ValidationError, match="phases must fall strictly"):
        sampling(above=above)


@pytest.mark.parametrize("above", [(0.9,), (0.9, 0.1)])
def test_the_last_phase_must_reach_down_to_zero(above):
    with pytest.raises(ValidationError, match=f"must reach down to 0, got {above[-1]}"):
        sampling(above=above)


def test_there_is_at_least_one_phase():
    with pytest.raises(ValidationError, match="phases"):
        sampling(above=())


# ---- plan ----


def test_each_window_has_its_storyboard_window():
    with pytest.raises(ValidationError, match="1 storyboard windows for 2 windows"):
        Plan.model_validate(dict(plan()) | {"windows": plan(windows=2).windows})


def test_the_first_window_of_a_continuation_comes_after_the_take():
    assert plan().first_window == 1
    assert plan(ContinueVideo(video=VIDEO)).first_window == 1
    assert plan(ContinueTake(video=VIDEO, tail=TAIL, head_windows=3, head_frames=233)).first_window == 4


@pytest.mark.parametrize("pixels", [0, -16, 8, 100, 833])
def test_a_size_is_a_multiple_of_16(pixels):
    for size in ({"width": pixels, "height": 480}, {"width": 832, "height": pixels}):
        with pytest.raises(ValidationError, match=r"greater than or equal to 16|multiple of 16"):
            Size(**size)


@pytest.mark.parametrize("media", ["", "a" * 63, "a" * 65, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_a_media_id_is_64_hexadecimal_digits_and_nothing_else(media):
    with pytest.raises(ValidationError, match="image"):
        StartImage(image=media)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_fits_63_bits(seed):
    with pytest.raises(ValidationError, match="seed"):
        Window(prompt="", negative="", seed=seed)


def test_a_plan_from_before_timing_films_by_its_text():
    old = plan().model_dump(mode="json", exclude={"timing": True, "windows": {"__all__": {"beats"}}})
    assert "timing" not in old
    assert "beats" not in old["windows"][0]
    assert Plan.model_validate(old) == plan()
    assert plan().timing is Timing.TEXT


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 3), (2, 5)], "follow one another"),
        ([(4, 4)], "follow one another"),
        ([(0, 9)], "character 9 of a prompt of 8"),
    ],
)
def test_the_beats_of_a_window_are_stretches_of_its_prompt(spans, message):
    beats = [BeatSpan(start=start, stop=stop, seconds=1) for start, stop in spans]
    with pytest.raises(ValidationError, match=message):
        Window(prompt="a street", negative="", seed=1, beats=beats)


# ---- what is kept ----


def test_progress_grows_from_nothing_to_the_whole():
    denoising = [(Stage.DENOISING, step) for step in range(1, 5)]
    stages = [(Stage.LOADING, 0), *denoising, (Stage.DECODING, 4), (Stage.FILMED, 4)]
    told = [
        Progress(stage=stage, window=window, windows=2, step=step, steps=4).fraction
        for window in (1, 2)
        for stage, step in stages
    ]
    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[5] < told[6] == told[7] == 0.5  # window 1 is kept; window 2 has not begun
    assert told[-2] < told[-1] == 1.0
    assert Progress(stage=Stage.JOINING, window=2, windows=2, step=4, steps=4).fraction == 1.0


def test_a_job_has_ended_when_no_worker_can_change_it():
    assert {state for state in JobState if state.final} == {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


def test_a_plan_names_every_file_that_it_needs():
    head = ContinueTake(video=VIDEO, tail=TAIL, head_windows=1, head_frames=81)
    anchored = plan(head, windows=2)
    windows = (anchored.windows[0], anchored.windows[1].model_copy(update={"anchor": PICTURE}))
    assert plan().media == {PICTURE}
    assert Plan.model_validate(dict(anchored) | {"windows": windows}).media == {VIDEO, TAIL, PICTURE}


def test_a_take_counts_the_windows_that_it_continues():
    film = Film(video=VIDEO, tail=TAIL, frames=309, render_seconds=1.5)
    source = ContinueTake(video=VIDEO, tail=TAIL, head_windows=2, head_frames=157)
    errand = Errand(channel="discord:1", requester="discord:2")
    take = Take(id=1, job=1, plan=plan(source, windows=2), film=film, errand=errand, created="2026-01-01T00:00:00Z")
    assert take.windows == 4
    assert take.film.seconds == 19.3125


def test_the_states_of_a_job():
    assert [state.value for state in JobState] == ["queued", "running", "done", "failed", "cancelled"]
