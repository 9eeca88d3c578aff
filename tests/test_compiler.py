import hashlib

import pytest
from directing import CLIP, picture, take_of
from hypothesis import given
from hypothesis import strategies as st

from planner.compiler import Facts, compile_plan, compile_prompt, reseed, rewrite, window_seed
from planner.presets import DEMO, QUALITY
from prompts import negative_prompt
from storage.schema import (
    Beat,
    ContinueTake,
    ContinueVideo,
    Plan,
    Size,
    StartImage,
    Storyboard,
    StoryboardWindow,
    Timing,
    UserError,
)


def board(*anchors: int | None) -> Storyboard:
    windows = [StoryboardWindow(scene=f"Scene {i}.", anchor=anchor) for i, anchor in enumerate(anchors, start=1)]
    return Storyboard(title="A film", windows=tuple(windows))


IMAGES = (picture(1), picture(2, 1080, 1920), picture(3))


def test_a_prompt_is_scene_then_beats_then_camera() -> None:
    window = StoryboardWindow(
        scene="A wet dog on the beach",
        beats=(Beat(seconds=0, action="it shakes"), Beat(seconds=3.2500001, action="it runs!")),
        camera="slow zoom out",
    )
    expected = "A wet dog on the beach. (at 0 seconds: it shakes) (at 3.25 seconds: it runs!). Camera: slow zoom out."
    assert compile_prompt(window) == expected


@pytest.mark.parametrize(
    ("window", "prompt"),
    [
        (StoryboardWindow(scene="A dog runs!"), "A dog runs!"),
        (StoryboardWindow(scene="", beats=(Beat(seconds=0.5, action="rain"),)), "(at 0.5 seconds: rain)."),
        (StoryboardWindow(scene="", camera="static"), "Camera: static."),
    ],
)
def test_what_is_empty_is_left_out(window: StoryboardWindow, prompt: str) -> None:
    assert compile_prompt(window) == prompt


def test_a_beat_behind_the_window_is_a_storyboarders_mistake() -> None:
    with pytest.raises(ValueError, match=r"5\.0625 s, got 7"):
        compile_prompt(StoryboardWindow(scene="", beats=(Beat(seconds=7, action="late"),)))


@pytest.mark.parametrize("scene", ["A wet dog ", " It runs (at 2 seconds: it runs)!", ""])
@pytest.mark.parametrize("camera", ["static", ""])
def test_a_plan_knows_where_its_prompts_tell_of_a_beat(scene: str, camera: str) -> None:
    beats = (Beat(seconds=2, action="it runs"), Beat(seconds=3.126, action="it jumps!"))
    told = Storyboard(title="", windows=(StoryboardWindow(scene=scene, beats=beats, camera=camera),))
    plan = compile_plan(told, Facts(QUALITY, 1, IMAGES))
    for window in (*plan.windows, *rewrite(compile_plan(board(None), Facts(QUALITY, 1, IMAGES)), told).windows):
        assert [window.prompt[beat.start : beat.stop] for beat in window.beats] == [
            "(at 2 seconds: it runs)",
            "(at 3.13 seconds: it jumps!)",
        ]
        assert [beat.seconds for beat in window.beats] == [2, 3.126]


def test_a_film_is_timed_as_asked_for_or_as_the_film_that_it_continues() -> None:
    plain = compile_plan(board(None), Facts(QUALITY, 1, IMAGES))
    relay = compile_plan(board(None), Facts(QUALITY, 1, IMAGES, timing=Timing.RELAY))
    assert (plain.timing, relay.timing) == (Timing.TEXT, Timing.RELAY)
    assert relay.model_copy(update={"timing": Timing.TEXT}) == plain
    assert compile_plan(board(None), Facts(QUALITY, 2, parent=take_of(relay))).timing is Timing.RELAY
    assert compile_plan(board(None), Facts(QUALITY, 2, parent=take_of(relay), timing=Timing.TEXT)).timing is Timing.TEXT
    assert rewrite(relay, board(None, None)).timing is reseed(relay, 3).timing is Timing.RELAY


def test_windows_discard_as_many_frames_as_asked_for_or_as_the_film_that_goes_on() -> None:
    plain, short = (compile_plan(board(None, None), Facts(QUALITY, 1, IMAGES, discard_frames=d)) for d in (None, 4))
    assert (plain.discard_frames, short.discard_frames) == (0, 4)
    assert (plain.new_seconds, short.new_seconds) == (157 / 16, 149 / 16)
    further = compile_plan(board(None), Facts(QUALITY, 2, parent=take_of(short)))
    assert (further.discard_frames, further.new_seconds) == (4, 72 / 16)
    assert further.source == ContinueTake(video="a" * 64, tail="b" * 64, head_windows=2, head_frames=149)
    assert rewrite(short, board(None, None)) == reseed(short, 1) == short
    with pytest.raises(UserError, match="discards 4 frames of each window, so what follows cannot discard 8"):
        compile_plan(board(None), Facts(QUALITY, 2, parent=take_of(short), discard_frames=8))


def test_no_beat_begins_in_an_end_that_is_discarded() -> None:
    beats = (Beat(seconds=3.5, action="it runs"), Beat(seconds=4.5, action="it jumps"))
    told = Storyboard(title="", windows=(StoryboardWindow(scene="A dog.", beats=beats),))
    plan = compile_plan(told, Facts(QUALITY, 1, IMAGES, discard_frames=20))
    assert [beat.seconds for beat in plan.windows[0].beats] == [3.5, 61 / 16 - 0.5]
    assert plan.storyboard.windows[0].beats[1].seconds == 61 / 16 - 0.5
    assert compile_plan(told, Facts(QUALITY, 1, IMAGES)).storyboard == told


def test_the_negative_prompt_is_the_stock_one_to_the_letter() -> None:
    digest = hashlib.sha256(negative_prompt().encode()).hexdigest()
    assert digest == "ce96e0324e4b54ce4b6e867f669ca520952e1a34cc116543516b1897f0d3c47e"


def test_the_film_starts_from_the_picture_of_window_one() -> None:
    first, second = (compile_plan(board(anchor, None), Facts(QUALITY, 1, IMAGES)) for anchor in (None, 2))
    assert first.source == StartImage(image=IMAGES[0].media)
    assert second.source == StartImage(image=IMAGES[1].media)
    assert (str(first.size), str(second.size)) == ("848x480", "480x848")


def test_anchors_become_the_pictures_files() -> None:
    plan = compile_plan(board(1, None, 3), Facts(QUALITY, 1, IMAGES))
    assert [window.anchor for window in plan.windows] == [None, None, IMAGES[2].media]
    assert plan.media == {IMAGES[0].media, IMAGES[2].media}


@pytest.mark.parametrize(("pictures", "has"), [(2, "2 pictures"), (1, "1 picture"), (0, "no pictures")])
def test_a_picture_that_is_not_there_is_named(pictures: int, has: str) -> None:
    with pytest.raises(UserError, match=rf"^There is no picture 3: this request has {has}\.$"):
        compile_plan(board(None, 3), Facts(QUALITY, 1, IMAGES[:pictures]))


def test_a_film_needs_a_picture() -> None:
    with pytest.raises(UserError, match="starts from a picture"):
        compile_plan(board(None), Facts(QUALITY, 1))


def test_a_size_that_is_asked_for_is_the_size() -> None:
    size = Size(width=256, height=144)
    assert compile_plan(board(2), Facts(QUALITY, 1, IMAGES, size=size)).size == size
    assert compile_plan(board(None), Facts(QUALITY, 1, clip=CLIP, size=size)).size == size


@given(st.integers(0, 2**63 - 1), st.integers(1, 4))
def test_three_windows_at_once_have_the_seeds_of_two_and_a_continuation(seed: int, cut: int) -> None:
    whole = compile_plan(board(None, None, None, None, None), Facts(DEMO, seed, IMAGES))
    head = compile_plan(board(*[None] * cut), Facts(DEMO, seed, IMAGES))
    rest = compile_plan(board(*[None] * (5 - cut)), Facts(DEMO, seed, parent=take_of(head)))
    seeds = [window.seed for plan in (head, rest) for window in plan.windows]
    assert seeds == [window.seed for window in whole.windows]
    assert len(set(seeds)) == 5
    assert rest.first_window == cut + 1


def test_a_window_seed_is_the_same_for_ever() -> None:
    digest = hashlib.sha256(b"7:3").digest()
    assert window_seed(7, 3) == int.from_bytes(digest[:8], "big") // 2
    assert 0 <= window_seed(2**63 - 1, 10**6) < 2**63


def test_a_continuation_keeps_what_its_tail_belongs_to() -> None:
    head = compile_plan(board(None, None), Facts(QUALITY, 1, IMAGES))
    take = take_of(head)
    plan = compile_plan(board(None, 1), Facts(DEMO, 2, (IMAGES[1],), parent=take))
    assert plan.source == ContinueTake(video=take.film.video, tail=take.film.tail, head_windows=2, head_frames=157)
    assert (plan.size, plan.model, plan.sampling, plan.loras) == (head.size, head.model, head.sampling, head.loras)
    assert [window.anchor for window in plan.windows] == [None, IMAGES[1].media]


def test_a_clip_is_continued_in_its_own_shape() -> None:
    plan = compile_plan(board(None), Facts(QUALITY, 1, clip=CLIP, keep_frames=-8))
    assert plan.source == ContinueVideo(video=CLIP.media, keep_frames=-8)
    assert plan.size.height > plan.size.width


def test_another_take_changes_the_seeds_and_nothing_else() -> None:
    plan = compile_plan(board(1, 2), Facts(QUALITY, 1, IMAGES))
    other = reseed(plan, 2)
    assert other == compile_plan(board(1, 2), Facts(QUALITY, 2, IMAGES))
    assert {w.seed for w in plan.windows}.isdisjoint(w.seed for w in other.windows)
    assert reseed(other, 1) == plan


def test_a_rewritten_film_keeps_its_pictures_and_its_noise() -> None:
    plan = compile_plan(board(1, 2), Facts(QUALITY, 1, IMAGES))
    longer = Storyboard(title="A film", windows=tuple(StoryboardWindow(scene=f"New {i}.") for i in range(3)))
    other = rewrite(plan, longer)
    assert [w.prompt for w in other.windows] == ["New 0.", "New 1.", "New 2."]
    assert [w.anchor for w in other.windows] == [None, IMAGES[1].media, None]
    assert [w.seed for w in other.windows[:2]] == [w.seed for w in plan.windows]
    assert Plan.model_validate(other.model_dump()) == other
