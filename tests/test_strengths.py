"""The grammar of LoRA strengths."""

import numpy as np
import pytest

from engine.loras.strengths import phase_numbers, strength_while, strengths_by_step
from storage.schema import Expert, Phase, Sampling, Solver, UserError

HIGH, LOW = Expert.HIGH_NOISE, Expert.LOW_NOISE


def sampling(*thresholds: float, steps: int, experts: tuple[Expert, ...] = (HIGH, LOW)) -> Sampling:
    """UniPC at shift 5, as Wan2.2 has it."""
    levels = np.linspace(0.999, 0, steps + 1)[:-1]
    phases = tuple(Phase(expert=e, above=t) for e, t in zip(experts, (*thresholds, 0.0), strict=True))
    return Sampling(solver=Solver.UNIPC, sigmas=(*(5 * levels / (1 + 4 * levels)).tolist(), 0.0), phases=phases)


FOUR = sampling(0.9, steps=4)  # 999 937 | 833 624
SIX = sampling(0.94, steps=6)  # 999 961 | 909 833 714 500
THREE_PHASES = sampling(0.985, 0.8, steps=8, experts=(HIGH, HIGH, LOW))  # 999 | 972 937 892 833 | 749 624 416
EARLY_SWITCH = sampling(0.985, 0.8, steps=8, experts=(HIGH, LOW, LOW))


def test_the_phase_of_each_step():
    assert phase_numbers(FOUR) == (0, 0, 1, 1)
    assert phase_numbers(SIX) == (0, 0, 1, 1, 1, 1)
    assert phase_numbers(THREE_PHASES) == (0, 1, 1, 1, 1, 2, 2, 2)


@pytest.mark.parametrize(
    ("entry", "plan", "row"),
    [
        ("1;0", FOUR, (1, 1, 0, 0)),
        ("0;1", FOUR, (0, 0, 1, 1)),
        ("0.8", FOUR, (0.8, 0.8, 0.8, 0.8)),
        ("-0.5", FOUR, (-0.5, -0.5, -0.5, -0.5)),
        ("1,0", FOUR, (1, 1, 0, 0)),
        ("1,0.5,0", FOUR, (1, 1, 0.5, 0)),
        ("1,2,3,4,5,6,7,8", FOUR, (1, 3, 5, 7)),
        ("0.9,0.8;1.2,1.1,1", SIX, (0.9, 0.8, 1.2, 1.2, 1.1, 1)),
        ("0.9,0.8;1.2", FOUR, (0.9, 0.8, 1.2, 1.2)),
        ("0;1;0", THREE_PHASES, (0, 1, 1, 1, 1, 0, 0, 0)),
        ("1;0", THREE_PHASES, (1, 1, 1, 1, 1, 0, 0, 0)),
        ("1;0", EARLY_SWITCH, (1, 0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_one_entry(entry, plan, row):
    assert strengths_by_step(entry, 1, plan) == (row,)


@pytest.mark.parametrize(
    "text", ["1;0 0;1 0.5", "1;0\n0;1\n0.5", "1;0 0;1|0.5", "# svi first\n1;0 0;1\n  # mine\n0.5\n"]
)
def test_entries_are_parted_by_spaces_line_ends_and_a_bar(text):
    assert strengths_by_step(text, 3, FOUR) == ((1, 1, 0, 0), (0, 0, 1, 1), (0.5, 0.5, 0.5, 0.5))


def test_a_lora_without_an_entry_runs_at_one():
    assert strengths_by_step("", 2, FOUR) == ((1, 1, 1, 1), (1, 1, 1, 1))
    assert strengths_by_step("0", 2, FOUR) == ((0, 0, 0, 0), (1, 1, 1, 1))
    assert strengths_by_step("", 0, FOUR) == ()


@pytest.mark.parametrize("entry", ["1;0", "0.5", "1,0", "0.9,0.8;1.2,1.1,1", "1,2,3,4,5,6,7,8,9"])
@pytest.mark.parametrize("plan", [FOUR, SIX, THREE_PHASES, EARLY_SWITCH, sampling(0.1, steps=4)])
def test_there_is_a_strength_for_every_step(entry, plan):
    assert [len(row) for row in strengths_by_step(entry, 2, plan)] == [plan.steps, plan.steps]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 1", "2 LoRA strengths"),
        ("strong", "strong is not made of numbers"),
        ("1;;0", "1;;0 is for 3 phases, the sampling has 2"),
        ("1;", "1; is not made of numbers"),
        ("1,", "1, is not made of numbers"),
        ("nan", "nan is not finite"),
    ],
)
def test_what_cannot_be_read_is_said(text, reason):
    with pytest.raises(UserError, match=reason):
        strengths_by_step(text, 1, FOUR)


def test_one_phase_takes_no_pair():
    with pytest.raises(UserError, match="for 2 phases, the sampling has 1"):
        strengths_by_step("1;0", 1, sampling(steps=4, experts=(HIGH,)))


def test_a_strength_is_merged_where_it_does_not_vary():
    assert strength_while(HIGH, (1, 1, 0, 0), FOUR) == 1
    assert strength_while(LOW, (1, 1, 0, 0), FOUR) == 0
    assert strength_while(HIGH, (0.9, 0.8, 1, 1), FOUR) is None
    assert strength_while(LOW, (0.9, 0.8, 1, 1), FOUR) == 1
    assert strength_while(HIGH, (0, 1, 1, 1, 1, 0, 0, 0), THREE_PHASES) is None
    assert strength_while(LOW, (1, 1, 1, 1), sampling(steps=4, experts=(HIGH,))) == 0
