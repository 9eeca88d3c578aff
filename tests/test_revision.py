"""Changes to a storyboard, by rules: what was not asked to change stays word for word."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.brief import Brief
from planner.compiler import compile_prompt
from planner.edits import Edit, apply
from planner.revision import unwanted
from planner.rules import RuleDirector
from planner.targets import find_target
from storage.schema import Beat, Storyboard, StoryboardWindow
from storage.timeline import film_time

RULES = RuleDirector()


def window(
    scene: str, *beats: tuple[float, str], camera: str = "static", anchor: int | None = None
) -> StoryboardWindow:
    told = tuple(Beat(seconds=seconds, action=action) for seconds, action in beats)
    return StoryboardWindow(scene=scene, beats=told, camera=camera, anchor=anchor)


BOARD = Storyboard(
    title="The dog and the crab",
    windows=(
        window("A white dog stands on a beach at noon.", (0, "the dog sniffs"), (2.5, "the dog barks"), anchor=1),
        window("The white dog on the beach at noon.", (0.32, "the dog digs a hole"), (3, "a red crab crawls out")),
        window("The white dog and a red crab on the beach at noon.", (0.5, "the crab waves"), camera="fast pan left"),
        window("The white dog runs along the waves at noon.", (0.5, "the dog jumps over a wave"), anchor=2),
    ),
)


def revised(wish: str, board: Storyboard = BOARD, first_window: int = 1) -> Storyboard:
    return RULES.board(Brief(wish, len(board.windows), first_window, pictures=2, former=board))


def changed(wish: str) -> list[int]:
    """Numbers of the windows whose prompts changed."""
    pairs = zip(BOARD.windows, revised(wish).windows, strict=True)
    return [number for number, (old, new) in enumerate(pairs, 1) if compile_prompt(old) != compile_prompt(new)]


@pytest.mark.parametrize(
    ("wish", "window_number", "words"),
    [
        ("in the second window he should sit down instead of digging", 2, "(at 0.32 seconds: he sits down)"),
        ("window 3: the crab dances", 3, "(at 0.5 seconds: the crab dances)"),
        ("at 12 seconds the crab winks", 3, "(at 2.5 seconds: the crab winks)"),
        ("the ending: he lies down", 4, "he lies down"),
        ("at the beginning the dog sleeps", 1, "the dog sleeps"),
        ("in the last part a bird also lands", 4, "a bird lands"),
        ("don't let the dog dig, he yawns", 2, "he yawns"),
        ("slow zoom in in the first window", 1, "Camera: slow zoom in."),
        ("slower camera in part 3", 3, "Camera: slow pan left."),
    ],
)
def test_revising_one_window_leaves_the_other_prompts_byte_identical(wish: str, window_number: int, words: str) -> None:
    assert changed(wish) == [window_number]
    assert words in compile_prompt(revised(wish).windows[window_number - 1])


@pytest.mark.parametrize(
    ("wish", "windows", "there", "gone"),
    [
        ("make the crab blue", [2, 3], "blue crab", "red crab"),
        ("replace the crab with an otter", [2, 3], "otter", "crab"),
        ("swap the dog for a cat", [1, 2, 3, 4], "cat", "dog"),
        ("remove the crab", [2, 3], "dog", "crab"),
        ("at night", [1, 2, 3, 4], "At night.", "at noon"),
        ("the dog is black, not white", [1, 2, 3, 4], "black dog", "white"),
        ("keep the camera still", [1, 2, 3, 4], "Camera: static camera.", "pan"),
    ],
)
def test_a_change_of_a_thing_or_a_setting_is_made_wherever_it_is_named(
    wish: str, windows: list[int], there: str, gone: str
) -> None:
    assert changed(wish) == windows
    for number in windows:
        text = compile_prompt(revised(wish).windows[number - 1]).lower()
        assert there.lower() in text
        assert gone not in text


def test_a_picture_may_be_moved() -> None:
    assert [w.anchor for w in revised("end on picture 1").windows] == [1, None, None, 1]
    assert changed("end on picture 1") == []


def test_windows_are_counted_as_in_the_film_or_as_seen() -> None:
    brief = Brief("", 4, 3, former=BOARD)
    assert find_target("in window 4 it rains", BOARD, brief).windows == (1,)
    assert find_target("in window 1 it rains", BOARD, brief).windows == (0,)
    assert find_target(f"at {film_time(5, 1)} s it rains", BOARD, brief).windows == (2,)
    short = replace(brief, discard_frames=16)
    assert find_target(f"at {film_time(5, 1, 16)} s it rains", BOARD, short).windows == (2,)
    assert find_target("everywhere it rains", BOARD, brief).windows == (0, 1, 2, 3)
    assert find_target("from window 5 on, rain", BOARD, brief).rest


def test_edits_are_applied_and_nothing_else() -> None:
    edits = [
        Edit(1, "beat", "", 0),
        Edit(1, "beat", "a gull lands", 2, 1.5),
        Edit(3, "camera", "handheld"),
        Edit(0, "anchor", "2"),
        Edit(2, "scene", "Rain."),
    ]
    board = apply(edits, BOARD)
    assert [(b.seconds, b.action) for b in board.windows[1].beats] == [
        (1.5, "a gull lands"),
        (3, "a red crab crawls out"),
    ]
    assert (board.windows[3].camera, board.windows[0].anchor, board.windows[2].scene) == ("handheld", 2, "Rain.")
    assert apply([], BOARD) == BOARD
    assert board.windows[0].beats == BOARD.windows[0].beats
    assert board.windows[2].camera == BOARD.windows[2].camera


def test_what_is_unwanted_is_read_from_a_wish() -> None:
    wishes = {"remove the crab": "a crab", "replace the crab with an otter": "crabs", "make it sunset": None}
    for wish, text in wishes.items():
        pattern = unwanted(wish)
        assert (pattern is not None and pattern.search(text) is not None) if text else pattern is None


@given(st.text(max_size=80), st.integers(1, 6))
def test_any_wish_leaves_a_storyboard(wish: str, windows: int) -> None:
    board = RULES.board(Brief(wish, windows, 1, pictures=2, former=BOARD))
    assert len(board.windows) == windows
    assert board.title == BOARD.title
    for one in board.windows:
        assert [b.seconds for b in one.beats] == sorted(b.seconds for b in one.beats)
        compile_prompt(one)
