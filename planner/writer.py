"""The director with a language model: it writes, code checks, the model mends, and at last the rules dictate.

free form  ->  faults?  ->  the same again with the reasons  ->  faults?  ->  dictated form, which has none
"""

import asyncio
import contextlib
from dataclasses import dataclass, field, replace

from planner.brief import Brief, OnPlanning, Told
from planner.check import covered, faults
from planner.cues import cues
from planner.editing import DictatedEdits, EditForm, edit_faults, edits_question
from planner.edits import Edit, apply
from planner.filled import Unreadable
from planner.form import Form, Sketch
from planner.language.model import LanguageModel, ModelFailed, Question
from planner.prompting import dictated_question, storyboard_question, system_message
from planner.revision import edits_by_rules
from planner.rules import RuleDirector, places_pictures, stretched
from planner.trust import Trust
from storage.schema import Storyboard, StoryboardWindow

RULES = RuleDirector()
FREE_SHARE = 0.4  # of the time; the rest is kept for the dictated form, which a slow model can fill as well
PART_WINDOWS = 6  # that are written at once: a longer film is planned in parts, each knowing how the one before ended

Windows = tuple[StoryboardWindow, ...]


@dataclass(frozen=True)
class ModelDirector:
    """Plans with a language model, within `seconds`. Without an answer in time the rules plan, and say so."""

    model: LanguageModel
    seconds: float = 120.0
    boards: Trust = field(default_factory=Trust)  # in storyboards that it writes freely
    edits: Trust = field(default_factory=Trust)

    async def storyboard(self, brief: Brief, on_planning: OnPlanning = lambda _: None) -> Told:
        """A storyboard for a brief."""
        brief = (
            brief if self.model.sees else replace(brief, looks=tuple(replace(look, jpeg=b"") for look in brief.looks))
        )
        rules = RULES.board(brief)
        try:
            await self.model.ready(system_message())
            async with asyncio.timeout(self.seconds):
                if brief.former:
                    return await self._revise(brief, brief.former, on_planning)
                told, freely = cues(brief), self.boards.worth_asking()
                title = lora = ""
                windows: Windows = ()
                starts = range(0, brief.windows, PART_WINDOWS)
                for start in starts:
                    span = range(start, min(start + PART_WINDOWS, brief.windows))
                    form = Form(brief, told, rules, places_pictures(brief), span)
                    seconds = FREE_SHARE * self.seconds / len(starts) if freely else 0.0
                    written = await self._freely(form, windows, seconds, on_planning)
                    freely = written is not None  # a model that is lost, or slow, is asked for less from there on
                    sketch = written or await self._dictated(form, on_planning)
                    title, lora, windows = title or sketch.title, lora or sketch.lora, (*windows, *sketch.windows)
                self.boards.note(useful=freely)
                return Told(Storyboard(title=title, windows=windows), f"Planned by {self.model.name}.", lora=lora)
        except TimeoutError:
            reason = f"the language model {self.model.name} took longer than {self.seconds:g} s"
        except (ModelFailed, Unreadable) as error:
            reason = str(error)
        return Told(rules, f"Planned by rules: {reason}.", failed=reason)

    async def _freely(self, form: Form, before: Windows, seconds: float, on_planning: OnPlanning) -> Sketch | None:
        """The windows as the model tells them, mended once; None if that is not the story, or takes too long."""
        if not seconds:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                answer = await self._ask(storyboard_question(form, before), on_planning, "planning")
                found, sketch = judge(answer, form)
                if sketch and found and worth_mending(sketch, form):
                    mend = storyboard_question(form, before, found, answer)
                    found, sketch = judge(await self._ask(mend, on_planning, "mending the plan"), form)
                if sketch and not found:
                    return sketch
        return None

    async def _dictated(self, form: Form, on_planning: OnPlanning) -> Sketch:
        """The rules' windows, with what the model adds."""
        answer = await self._ask(dictated_question(form), on_planning, "planning in small steps")
        title, windows = form.read_dictated(answer)
        return Sketch(title, windows, events=())

    async def _revise(self, brief: Brief, former: Storyboard, on_planning: OnPlanning) -> Told:
        """The former storyboard with edits."""
        form = EditForm(stretched(former, brief.windows), brief)
        dictated = DictatedEdits(form, edits_by_rules(form.board, brief) if brief.story else [])
        if not brief.story or dictated.exact:
            return Told(apply(dictated.edits, form.board), "Changed by rules.")
        worth = self.edits.worth_asking() or not dictated.can_be_dictated  # there is nothing else to ask
        edits = await self._edits_freely(form, on_planning) if worth else []
        self.edits.note(useful=bool(edits))
        edits = edits or await self._edits_dictated(dictated, on_planning)
        return Told(apply(edits, form.board), f"Changed by {self.model.name}.")

    async def _edits_freely(self, form: EditForm, on_planning: OnPlanning) -> list[Edit]:
        """The edits as the model tells them, mended once; none if they are not the wish, or take too long."""
        question = edits_question(form)
        with contextlib.suppress(TimeoutError, Unreadable):
            async with asyncio.timeout(FREE_SHARE * self.seconds):
                for what in ("changing the plan", "mending the change"):
                    answer = await self._ask(question, on_planning, what)
                    edits = form.read(answer)
                    found = edit_faults(edits, form)
                    if not found:
                        return edits
                    question = edits_question(form, found, answer)
        return []

    async def _edits_dictated(self, dictated: DictatedEdits, on_planning: OnPlanning) -> list[Edit]:
        """The edits of the rules, with what the model adds."""
        if not dictated.can_be_dictated:
            raise Unreadable(f"the edits of {self.model.name} did not fit the wish")
        return dictated.read(await self._ask(dictated.question(), on_planning, "changing the plan in small steps"))

    async def _ask(self, question: Question, on_planning: OnPlanning, what: str) -> str:
        on_planning(f"{what} …")
        answer = await self.model.answer(question, lambda words: on_planning(f"{what} … {words} words"))
        return answer.text


def judge(answer: str, form: Form) -> tuple[list[str], Sketch | None]:
    """What is wrong with an answer, and the windows in it, if they can be read."""
    try:
        sketch = form.read(answer)
    except Unreadable as error:
        return [str(error)], None
    return faults(sketch, form), sketch


def worth_mending(sketch: Sketch, form: Form) -> bool:
    """Whether most of the story is there. A model that is lost is asked for less, not for the same again."""
    return 2 * len(covered(sketch)) >= len(form.expected)
