"""What the models read: the guide is short, whole, true to the code's arithmetic, and follows its own advice."""

import re

import pytest

from planner.brief import FIRST_SHOWN_SECONDS
from planner.presets import LIGHTNING_3PHASE, LIGHTNING_4, PRESETS, QUALITY
from prompts import guide
from storage.schema import StoryboardWindow
from storage.timeline import WINDOW_FRAMES, WINDOW_STRIDE_SECONDS, film_seconds, window_at

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
    assert f"film seconds = window seconds + {WINDOW_STRIDE_SECONDS} (k - 1)" in text
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
