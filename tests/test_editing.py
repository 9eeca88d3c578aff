"""Revisions by a language model: it names places and writes them anew; everything else stays as it was."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scripted_model import Script, least, served
from test_revision import BOARD

from planner.brief import Brief, Told
from planner.compiler import compile_prompt
from planner.editing import EditForm, edit_faults
from planner.filled import Unreadable
from planner.rules import RuleDirector
from planner.trust import Trust
from planner.writer import ModelDirector

WISH = Brief("in the second window the dog should chase a butterfly", 4, pictures=2, former=BOARD)


def answer(*edits: tuple[str, str]) -> str:
    return json.dumps({"edits": [{"place": place, "text": text} for place, text in edits]})


def revised(script: Script, brief: Brief = WISH, seconds: float = 20) -> Told:
    async def run() -> Told:
        async with served(script) as model:
            return await ModelDirector(model, seconds).storyboard(brief)

    return asyncio.run(run())


CHASE = answer(("window 2, beat 1", "the dog chases a butterfly"))


def test_one_edited_beat_leaves_the_other_prompts_byte_identical() -> None:
    told = revised(Script([CHASE]))
    assert told.credit == "Changed by director."
    before, after = ([compile_prompt(w) for w in board.windows] for board in (BOARD, told.storyboard))
    assert after[1] == before[1].replace("the dog digs a hole", "the dog chases a butterfly")
    assert [after[0], *after[2:]] == [before[0], *before[2:]]


def test_a_wish_that_names_a_window_can_change_no_other() -> None:
    script = Script([CHASE])
    revised(script)
    places = script.form()["properties"]["edits"]["items"]["properties"]["place"]["enum"]
    assert {place.split(",")[0] for place in places} == {"window 2"}
    assert places[1:3] == ["window 2, beat 1", "window 2, beat 2"]
    with pytest.raises(Unreadable, match="a place that there is not: window 3, scene"):
        EditForm(BOARD, WISH).read(answer(("window 3, scene", "Rain.")))


def test_the_model_reads_the_whole_storyboard_and_the_wish_as_material() -> None:
    script = Script([CHASE])
    revised(script)
    assert "window 3, beat 1 at 0.5 seconds: the crab waves" in script.user_text()
    assert script.user_text().endswith(f"<<<{WISH.story}>>>")


@pytest.mark.parametrize(
    ("edits", "fault"),
    [
        (answer(("window 2, beat 1", "the dog digs a hole")), "Nothing is changed."),
        (answer(("window 2, beat 1", "a car passes")), "do not say what the person wishes"),
        (
            answer(
                ("window 2, scene", "蝶" * 320),
                ("window 2, beat 1", "蝶" * 320),
                ("window 2, beat 2", "dog chases butterfly"),
            ),
            "too long",
        ),
    ],
)
def test_edits_that_miss_the_wish_are_sent_back_once(edits: str, fault: str) -> None:
    form = EditForm(BOARD, WISH)
    assert any(fault in found for found in edit_faults(form.read(edits), form))
    script = Script([edits, CHASE])
    assert revised(script).credit == "Changed by director."
    assert fault in script.user_text()


def test_what_was_to_go_must_be_gone() -> None:
    form = EditForm(BOARD, Brief("remove the crab", 4, former=BOARD))
    half = form.read(answer(("window 2, beat 2", "")))
    assert edit_faults(half, form) == ["What was to be removed or replaced is still there."]
    whole = form.read(
        answer(("window 2, beat 2", ""), ("window 3, beat 1", ""), ("window 3, scene", "The white dog on the beach."))
    )
    assert edit_faults(whole, form) == []


def lost(how: str) -> Callable[[dict[str, Any]], str]:
    """A model that never finds the place, and adds `how` where it is dictated an edit."""

    def says(body: dict[str, Any]) -> str:
        schema = body["response_format"]["json_schema"]["schema"]
        return json.dumps(least(schema, how if "how_1" in schema["properties"] else "something else"))

    return says


def test_a_model_that_cannot_edit_is_dictated_the_rules_edits_and_adds_to_them() -> None:
    script = Script([lost("Slowly and happily")])
    told = revised(script)
    rules = RuleDirector().board(WISH)
    assert told.credit == "Changed by director."
    assert not told.failed
    assert len(script.asked) == 3  # edits, mended edits, dictated ones
    (changed,) = [n for n in range(4) if told.storyboard.windows[n] != BOARD.windows[n]]
    beats = rules.windows[changed].beats, told.storyboard.windows[changed].beats
    assert [(b.action, a.action) for b, a in zip(*beats, strict=True) if a != b] == [
        ("the dog chases a butterfly", "the dog chases a butterfly, slowly and happily")
    ]


def test_what_a_lost_model_adds_is_left_out_where_it_spoils_the_change() -> None:
    gone = replace(WISH, story="replace the crab with a lobster")
    told = revised(Script([lost("beside a crab")]), gone)
    assert told.credit == "Changed by director."
    assert told.storyboard == RuleDirector().board(gone)


def test_where_nothing_can_be_dictated_the_rules_edit_and_say_so() -> None:
    bare = replace(WISH, former=BOARD.model_copy(update={"windows": BOARD.windows[1:2]}), windows=1)
    removal = replace(bare, story="remove the hole")
    told = revised(Script([lost("x")]), removal)
    assert told.storyboard == RuleDirector().board(removal) != bare.former
    assert told.failed == "the edits of director did not fit the wish"


def test_a_model_that_is_slow_to_edit_is_asked_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script([lost("Slowly and happily")], silence=lambda body: 3600.0 if "edits" in json.dumps(body) else 0.0)
    monkeypatch.setattr("planner.writer.FREE_SHARE", 0.01)  # so that little is waited for, and much is left
    told = revised(script, seconds=80)
    assert not told.failed
    assert "slowly and happily" in compile_prompt(told.storyboard.windows[1])


def test_a_picture_is_a_number_and_needs_no_model() -> None:
    script = Script([lost("x")])
    told = revised(script, replace(WISH, story="end on picture 1"))
    assert script.asked == []
    assert told.storyboard.windows[3].anchor == 1
    assert told.credit == "Changed by rules."


def test_a_longer_film_keeps_its_windows_without_asking_anybody() -> None:
    script = Script([CHASE])
    told = revised(script, Brief("", 6, former=BOARD))
    assert script.asked == []
    assert told.storyboard.windows[:4] == BOARD.windows


def test_where_nothing_can_be_dictated_even_a_model_that_is_never_of_use_is_asked_freely() -> None:
    bare = replace(WISH, former=BOARD.model_copy(update={"windows": BOARD.windows[1:2]}), windows=1)
    removal = replace(bare, story="remove the hole")

    async def run() -> int:
        async with served(script := Script([lost("x")])) as model:
            await ModelDirector(model, 20, edits=Trust(misses=5)).storyboard(removal)
        return len(script.asked)

    assert asyncio.run(run()) == 2
