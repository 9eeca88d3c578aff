"""What the models read: the guide is short, whole and true to the code's arithmetic, and the examples follow it."""

import json
import re
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import pytest
from directing import picture, request, take_of

import prompts
from planner.brief import FIRST_SHOWN_SECONDS, Clock
from planner.compiler import Facts, compile_plan, compile_prompt
from planner.intent import Context, as_told
from planner.pacing import count_windows
from planner.presets import ENHANCED, LIGHTNING_3PHASE, LIGHTNING_4, LIGHTNING_2025, PRESETS, QUALITY
from planner.prompting import WORKED, system_message
from planner.story import read_story
from prompts import Example, example, guide
from storage.schema import IntentKind, StoryboardWindow
from storage.timeline import (
    WINDOW_FRAMES,
    continuation_windows_for,
    film_seconds,
    stride_seconds,
    window_at,
    windows_for,
)

TOKENS_A_WORD = 1.35  # roughly; measured 1.42 to 1.47 with the vocabularies of three language models
MOST_TOKENS = 3000
TOPICS = (
    "Windows and time",
    "Beats",
    "State and motion",
    "Positive prompts",
    "One unbroken shot",
    "Camera",
    "Character movement",
    "Dialogue",
    "Pictures as anchors",
    "Continuing a film",
    "Revising",
    "Negative prompts",
    "Presets and settings",
    "LoRAs",
    "What the network cannot do",
    "Language and trust",
    "Bad and good",
)
DENIES = re.compile(r"(?<!\w)(?:no|not|without|never|none|nobody)(?!\w)", re.IGNORECASE)


def section(heading: str) -> str:
    return guide().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


# ---- the guide ----


def test_the_guide_is_short_enough_to_be_a_prefix() -> None:
    assert 1800 < len(guide().split()) * TOKENS_A_WORD <= MOST_TOKENS


@pytest.mark.parametrize("topic", TOPICS)
def test_the_guide_has_a_section_for_each_topic(topic: str) -> None:
    assert len(section(topic).split()) >= 20


def test_the_guide_explains_each_field_that_the_model_fills_in() -> None:
    assert all(f"`{field}`" in section("Fields") for field in ("title", "windows", *StoryboardWindow.model_fields))
    assert "`seconds`" in section("Fields")
    assert "`action`" in section("Fields")


def test_the_guide_counts_as_the_code_does() -> None:
    text = section("Windows and time")
    assert f"{WINDOW_FRAMES} frames" in text
    assert f"{FIRST_SHOWN_SECONDS} s of its clock" in text
    assert f"film seconds = window seconds + {stride_seconds()} (k - 1)" in text
    shown = re.findall(r"(\d): (\d+(?:\.\d+)?) to\s+(\d+\.\d+)", text)
    ends = [0.0, *(film_seconds(window) for window in (1, 2, 3, 4))]
    assert [int(window) for window, _, _ in shown] == [1, 2, 3, 4]
    assert [float(start) for _, start, _ in shown] == pytest.approx(ends[:-1], abs=0.01)
    assert [float(stop) for _, _, stop in shown] == pytest.approx(ends[1:], abs=0.01)
    said, window, seconds = re.search(r'"At (\d+) seconds" is window (\d), ([\d.]+) s', text).groups()
    assert window_at(float(said)) == (int(window), float(seconds))


def test_the_guide_knows_the_presets() -> None:
    text = section("Presets and settings")
    assert all(f"`{name}`" in text for name in PRESETS)
    said = {name: (int(steps), extra) for name, steps, extra in re.findall(r"`([\w-]+)` \((\d+) steps, (.*?)\)", text)}
    assert said == {
        "quality": (QUALITY.sampling.steps, f"guidance {QUALITY.sampling.phases[0].guidance}"),
        "lightning": (LIGHTNING_4.sampling.steps, f"guidance {LIGHTNING_4.sampling.phases[0].guidance:g}"),
        "lightning-2025": (LIGHTNING_2025.sampling.steps, f"guidance {LIGHTNING_2025.sampling.phases[0].guidance:g}"),
        "enhanced": (ENHANCED.sampling.steps, f"guidance {ENHANCED.sampling.phases[0].guidance:g}"),
        "lightning-3phase": (
            LIGHTNING_3PHASE.sampling.steps,
            f"the first with guidance {LIGHTNING_3PHASE.sampling.phases[0].guidance}",
        ),
    }


def test_the_guide_follows_its_own_advice() -> None:
    """The network draws what it reads, also behind a "no": what is shown as good names only what should be seen."""
    good = re.findall(r"^Good.*", section("Bad and good"), re.MULTILINE)
    assert len(good) == len(re.findall(r"^Bad", section("Bad and good"), re.MULTILINE)) >= 6
    assert not [line for line in good if DENIES.search(line)]
    negative = re.search(r"separated by commas: (.*?)\.", section("Negative prompts"), re.DOTALL).group(1)
    assert len(negative.split(",")) >= 5
    assert not DENIES.search(negative)


# ---- the examples ----

EXAMPLES = [example(file.stem) for file in sorted(Path(prompts.__file__).with_name("examples").iterdir())]
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.storyboard.title)
POINTS = re.compile(r"(?<!\w)(?:same|again|as before|continues|previous(?:ly)?|meanwhile)(?!\w)", re.IGNORECASE)
CUTS = re.compile(r"(?<!\w)(?:cuts?|fades?|dissolves?|next scene|transitions?|suddenly)(?!\w)", re.IGNORECASE)
IDENTITY_WORDS = 5  # as the guide says: five to ten words, copied


def clock(example: Example) -> Clock:
    return Clock(len(example.storyboard.windows), example.continues.seconds if example.continues else 0.0)


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def shares_a_word(before: str, after: str) -> bool:
    """Whether a word of four letters or more comes back, in whatever form."""
    stems = [{word[:4] for word in words(text) if len(word) > 3} for text in (before, after)]
    return bool(stems[0] & stems[1])


def copied_words(before: str, after: str) -> int:
    """The longest run of words that two scenes have in common."""
    one, two = words(before), words(after)
    return SequenceMatcher(None, one, two, autojunk=False).find_longest_match().size


def test_the_examples_show_every_kind_of_request() -> None:
    assert 8 <= len(EXAMPLES) <= 10
    assert any(example.continues for example in EXAMPLES)
    assert any(example.former for example in EXAMPLES)
    assert any(len(example.pictures) > 1 for example in EXAMPLES)
    assert {len(example.storyboard.windows) for example in EXAMPLES} == {1, 2, 3, 4}
    assert {example.seconds is None for example in EXAMPLES} == {True, False}


def test_the_model_is_shown_worked_examples_in_the_form_it_fills() -> None:
    """And little enough of them that guide, examples, story and six windows fit into the default context."""
    told = system_message()
    shown = [json.loads(line) for line in told.text.splitlines() if line.startswith('{"title"')]
    assert [board["title"] for board in shown] == [example(name).storyboard.title for name in WORKED]
    for board, name in zip(shown, WORKED, strict=True):
        assert [window["scene"] for key, window in board.items() if key != "title"] == [
            window.scene for window in example(name).storyboard.windows
        ]
    assert [*shown[1]] == ["title", "window_3", "window_4"]  # a continuation goes on counting
    assert told.text.startswith(guide())
    assert len(told.text.split()) * TOKENS_A_WORD <= 4500


@every_example
def test_an_example_has_as_many_windows_as_the_code_asks_for(example: Example) -> None:
    windows = len(example.storyboard.windows)
    if example.former:
        assert windows == len(example.former.windows)
        return
    pictures, head_seconds = len(example.pictures), clock(example).head_seconds
    kind = IntentKind.CONTINUE if example.continues else IntentKind.FILM
    intent = as_told(kind, request(example.request, pictures), Context())
    assert intent.seconds == example.seconds
    assert count_windows(read_story(intent.story, pictures), intent.seconds, head_seconds, pictures) == windows
    if example.seconds:
        assert windows == (continuation_windows_for if example.continues else windows_for)(example.seconds)


@every_example
def test_an_example_compiles_into_a_plan(example: Example) -> None:
    images = tuple(picture(number) for number, _ in enumerate(example.pictures, start=1))
    parent = None
    if example.continues:
        head = StoryboardWindow(scene=example.continues.scene)
        board = example.storyboard.model_copy(update={"windows": (head, head)})
        parent = take_of(compile_plan(board, Facts(QUALITY, 1, (picture(9),))))
        assert parent.film.seconds == example.continues.seconds
    plan = compile_plan(example.storyboard, Facts(QUALITY, 1, images, parent))
    assert {image.media for image in images} <= plan.media


@every_example
def test_an_examples_beats_fit_their_windows(example: Example) -> None:
    for number, window in enumerate(example.storyboard.windows):
        times = [beat.seconds for beat in window.beats]
        assert 1 <= len(times) <= 3
        assert times[0] >= clock(example).first_shown(number)
        assert all(later - earlier >= 1 for earlier, later in pairwise(times))
        assert times[-1] <= 4


@every_example
def test_an_example_keeps_the_times_that_were_said(example: Example) -> None:
    said = [float(time) for time in re.findall(r"\b(?:at|bei) (\d+(?:\.\d+)?) s", example.request, re.IGNORECASE)]
    told = [
        clock(example).film_time(number, beat.seconds)
        for number, window in enumerate(example.storyboard.windows)
        for beat in window.beats
    ]
    assert set(said) <= set(told)


def test_some_examples_say_times() -> None:
    assert sum(bool(re.search(r"\b(?:at|bei) \d", example.request, re.IGNORECASE)) for example in EXAMPLES) >= 3


@every_example
def test_an_examples_prompts_are_as_long_as_the_guide_says(example: Example) -> None:
    fewest, most, characters = map(
        int, re.search(r"Write (\d+) to (\d+) words a window, at most (\d+) characters", guide()).groups()
    )
    for window in example.storyboard.windows:
        prompt = compile_prompt(window)
        assert fewest <= len(prompt.split()) <= most
        assert len(prompt) <= characters == 1000
        assert window.camera


@every_example
def test_an_example_copies_the_identity_and_begins_where_the_window_before_ended(example: Example) -> None:
    scenes = [window.scene for window in example.storyboard.windows]
    ends = [window.beats[-1].action for window in example.storyboard.windows]
    if example.continues:
        scenes, ends = [example.continues.scene, *scenes], [example.continues.state, *ends]
    for (before, after), end in zip(pairwise(scenes), ends, strict=False):
        assert copied_words(before, after) >= IDENTITY_WORDS
        assert shares_a_word(end, after)


@every_example
def test_an_example_names_only_what_is_seen_in_one_shot(example: Example) -> None:
    for window in example.storyboard.windows:
        prompt = compile_prompt(window)
        for unseen in (DENIES, POINTS, CUTS):
            assert not unseen.search(prompt), unseen.search(prompt)


@every_example
def test_an_example_says_its_anchors_and_repeats_none(example: Example) -> None:
    """Window 1 of a new film names its picture, a later window only another one."""
    anchors = [window.anchor for window in example.storyboard.windows]
    assert (anchors[0] is None) == (example.continues is not None)
    named = [anchor for anchor in anchors if anchor is not None]
    assert all(anchor <= len(example.pictures) for anchor in named)
    assert all(before != after for before, after in pairwise(named))


def test_a_revision_changes_one_beat_and_nothing_else() -> None:
    (example,) = (example for example in EXAMPLES if example.former)
    assert example.former is not None
    former, revised = ((board.title, *board.windows) for board in (example.former, example.storyboard))
    changed = [(old, new) for old, new in zip(former, revised, strict=True) if old != new]
    assert len(changed) == 1
    old, new = changed[0]
    assert old.model_copy(update={"beats": new.beats}) == new
    assert sum(before != after for before, after in zip(old.beats, new.beats, strict=True)) == 1
