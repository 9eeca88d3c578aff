"""The examination: every case put to a director, scored, and timed.

A storyboard counts as a model's only where the model wrote it. One by the rules, because the model gave none in time or
none that fits, counts as no answer, and is printed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from planner.agent import Reader
from planner.bench.cases import Cases, ConversationCase, RevisionCase, SafetyCase, SettingsCase, Story
from planner.bench.measure import Score, Share, score_intent, score_revision, score_settings, score_story
from planner.brief import Brief, Look, Storyboarder, Told
from planner.compiler import Facts, compile_plan
from planner.director import write_brief
from planner.intent import Context, as_told
from planner.language.model import Answer, LanguageModel, Message, OnWords, Question
from planner.presets import QUALITY
from planner.wishes import mannered
from storage.schema import Draft, Errand, Film, Image, IntentKind, Request, Storyboard, Take, UserError
from storage.timeline import film_frames

GROUPS = ("film", "conversation", "revision", "settings", "safety")
LANGUAGES = "film, other languages"
Say = Callable[[str], None]


@dataclass
class Meter:
    """A language model whose tokens are counted."""

    model: LanguageModel
    questions: int = 0
    tokens_read: int = 0
    tokens_written: int = 0

    @property
    def name(self) -> str:
        """As the model's."""
        return self.model.name

    @property
    def sees(self) -> bool:
        """As the model's."""
        return self.model.sees

    async def ready(self, opening: Message, /) -> None:
        """As the model."""
        await self.model.ready(opening)

    async def answer(self, question: Question, on_words: OnWords = lambda _: None) -> Answer:
        """As the model's."""
        answer = await self.model.answer(question, on_words)
        self.questions += 1
        self.tokens_read += answer.tokens_read
        self.tokens_written += answer.tokens_written
        return answer

    async def close(self) -> None:
        """As the model's."""
        await self.model.close()


@dataclass
class Examination:
    """Puts cases to a storyboarder and a reader."""

    storyboarder: Storyboarder
    reader: Reader
    cases: Cases
    say: Say = lambda _: None
    scores: dict[str, Score] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    async def run(self, limit: int | None = None, groups: tuple[str, ...] = GROUPS) -> None:
        """Every case of some groups, at most `limit` of each."""
        for group in groups:
            for case in getattr(self.cases, group)[:limit]:
                start = time.perf_counter()
                name, score = await self._examine(group, case)
                self.seconds.setdefault(name, []).append(time.perf_counter() - start)
                self.scores[name] = self.scores.get(name, Score(cases=0)) + score
                for note in score.notes:
                    self.say(f"{name}: {note}")

    async def _examine(self, group: str, case: object) -> tuple[str, Score]:
        match case:
            case ConversationCase():
                return group, await self._converse(case)
            case RevisionCase():
                return group, await self._revise(case)
            case SettingsCase():
                return group, await self._set(case)
            case SafetyCase():
                return group, await self._film(case)
            case Story():
                return group if case.language == "en" else LANGUAGES, await self._film(case)
        raise AssertionError(f"no such case: {case}")

    async def _film(self, case: Story) -> Score:
        intent = as_told(IntentKind.FILM, request_of(case), Context())
        return score_story(case, await self._board(case, Context(), intent.kind))

    async def _board(self, case: Story, context: Context, kind: IntentKind) -> Storyboard | None:
        """The storyboard of a story, behind a take or not; None if the director gave none of its own."""
        request = request_of(case)
        intent = as_told(kind, request, context)
        looks = tuple(Look(image.name, image.width, image.height) for image in request.images)
        try:
            told = await self.storyboarder.storyboard(write_brief(intent, request, context.take, looks))
        except UserError as error:
            self.say(f"{case.id}: {error}")
            return None
        return None if self._failed(case.id, told) else mannered(told.storyboard, intent.wishes)

    def _failed(self, name: str, told: Told) -> bool:
        if told.failed:
            self.say(f"{name}: the rules stood in: {told.failed}")
        return bool(told.failed)

    async def _converse(self, case: ConversationCase) -> Score:
        context = context_of(case, self.cases.boards["dog"])
        intent = await self.reader.understand(request_of(case), context)
        score = score_intent(case, intent.kind)
        if case.events and case.intents[0] is IntentKind.CONTINUE:
            behind = context if context.take else Context(last=take_of(self.cases.boards["dog"]))
            return score_story(case, await self._board(case, behind, IntentKind.CONTINUE)) + _uncounted(score)
        return score

    async def _revise(self, case: RevisionCase) -> Score:
        former = self.cases.boards[case.board]
        message = Request(text=case.text, channel="bench", requester="bench")
        intent = await self.reader.understand(message, Context(replied=take_of(former)))
        wish = as_told(IntentKind.REVISE, message, Context()) if intent.kind is not IntentKind.REVISE else intent
        pictures = max((window.anchor for window in former.windows if window.anchor), default=1)
        told = await self.storyboarder.storyboard(
            Brief(wish.story, len(former.windows), pictures=pictures, former=former)
        )
        board = None if self._failed(case.id, told) else mannered(told.storyboard, wish.wishes)
        return score_revision(case, former, board) + _uncounted(
            Score(intent=Share(intent.kind is IntentKind.REVISE, 1))
        )

    async def _set(self, case: SettingsCase) -> Score:
        intent = as_told(IntentKind.FILM, request_of(case), Context())
        score = score_settings(case, intent.wishes, intent.seconds)
        if not case.events:
            return score
        return score_story(case, await self._board(case, Context(), IntentKind.FILM)) + _uncounted(score)


def _uncounted(score: Score) -> Score:
    """A second score of the same case."""
    return Score(cases=0) + Score(**{**vars(score), "cases": 0})


def request_of(case: Story) -> Request:
    """What a case's person sends."""
    names = [*case.names, *(f"picture{number}.jpg" for number in range(len(case.names) + 1, case.pictures + 1))]
    images = tuple(
        Image(media=f"{number:064x}", name=name, width=1920, height=1080)
        for number, name in enumerate(names[: case.pictures], start=1)
    )
    return Request(text=case.text, channel="bench", requester="bench", images=images)


def take_of(board: Storyboard) -> Take:
    """A take that was filmed from a storyboard."""
    pictures = max((window.anchor for window in board.windows if window.anchor), default=1)
    images = tuple(
        Image(media=f"{number:064x}", name=f"{number}.jpg", width=1920, height=1080)
        for number in range(1, pictures + 1)
    )
    plan = compile_plan(board, Facts(QUALITY, 1, images))
    film = Film(video="a" * 64, tail="b" * 64, frames=film_frames(len(board.windows)), render_seconds=1.0)
    errand = Errand(channel="bench", requester="bench")
    return Take(id=1, job=1, plan=plan, film=film, errand=errand, created=datetime(2026, 1, 1, tzinfo=UTC))


def context_of(case: ConversationCase, board: Storyboard) -> Context:
    """What stands around a message: the film or the draft of a storyboard."""
    take, told = take_of(board), case.context
    draft = Draft(request=Request(text="", channel="bench", requester="bench"), plan=take.plan)
    return Context(
        replied=take if told.replies_to_take else None,
        last=take if told.last_take or told.replies_to_take else None,
        draft=draft if told.draft else None,
    )
