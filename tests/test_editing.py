"""Revisions by a language model: it names places and writes them anew; everything else stays as it was."""

import asyncio
import json

import pytest
from scripted_model import Script, least, served
from test_revision import BOARD

from planner.brief import Brief, Told
from planner.compiler import compile_prompt
from planner.editing import EditForm, edit_faults
from planner.filled import Unreadable
from planner.rules import RuleDirector
from planner.writer import ModelDirector

WISH = Brief("in the second window the dog should chase a butterfly", 4, pictures=2, former=BOARD)


def answer(*edits: tuple[str, str]) -> str:
    return json.dumps({"edits": [{"place": place, "text": text} for place, text in edits]})


def revised(script: Script, brief: Brief = WISH) -> Told:
    async def run() -> Told:
        async with served(script) as model:
            return await ModelDirector(model, 20).storyboard(brief)

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


def test_a_model_that_cannot_edit_leaves_it_to_the_rules_and_says_so() -> None:
    def nothing(body: dict[str, object]) -> str:
        schema = body["response_format"]["json_schema"]["schema"]  # type: ignore[index,call-overload]
        return json.dumps(least(schema, "something else"))

    told = revised(Script([nothing]))
    assert told.storyboard == RuleDirector().board(WISH)
    assert told.credit == (
        "Planned by rules: the edits of director did not fit: the new texts do not say what the person wishes."
    )


def test_a_longer_film_keeps_its_windows_without_asking_anybody() -> None:
    script = Script([CHASE])
    told = revised(script, Brief("", 6, former=BOARD))
    assert script.asked == []
    assert told.storyboard.windows[:4] == BOARD.windows
