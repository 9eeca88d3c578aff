"""A conversation with the director: a message in its context, and what it is answered with."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.answers import Facts, answer, cancelled
from bot.proposal import Proposal
from bot.studio import Studio, quietly
from bot.wish import Wish
from planner.brief import OnPlanning
from planner.intent import Context
from planner.rules import CREDIT
from planner.wishes import grant
from storage.cards import NothingToFilm
from storage.channels import Channels
from storage.schema import Draft, Intent, IntentKind, Job, Request, Take, UserError, Wishes


@dataclass(frozen=True)
class Reply:
    """What a message is answered with: sentences, and perhaps a draft to look at, or a job that films it. The first
    sentence says which jobs are cancelled, if any are."""

    lines: tuple[str, ...]
    draft: Proposal | None = None
    job: Job | None = None
    cancelled: tuple[int, ...] = ()


class Desk(Protocol):
    """Where a draft lies while it is being discussed."""

    def draft(self) -> Draft | None:
        """The draft; None where nothing is discussed."""

    def keep(self, draft: Draft | None) -> None:
        """Discuss this from now on, or nothing."""

    def film(self, studio: Studio, proposal: Proposal) -> Job:
        """Queue the plan that is discussed, and end the discussion. Of two that ask at once, one gets the job; the
        other gets NothingToFilm."""

    def follow(self, studio: Studio, proposal: Proposal) -> Job:
        """Queue something else, which may be followed from here."""


@dataclass(frozen=True)
class ChannelDesk:
    """One draft a channel."""

    channels: Channels
    channel: str

    def draft(self) -> Draft | None:
        """The channel's."""
        return self.channels.draft(self.channel)

    def keep(self, draft: Draft | None) -> None:
        """For the channel."""
        self.channels.keep_draft(self.channel, draft)

    def film(self, studio: Studio, proposal: Proposal) -> Job:
        """The channel's draft."""
        if self.channels.take_draft(self.channel) is None:
            raise NothingToFilm
        return studio.submit(proposal)

    def follow(self, studio: Studio, proposal: Proposal) -> Job:
        """Who asked waits for it."""
        return studio.submit(proposal)


@dataclass(frozen=True)
class Turn:
    """A message that was understood."""

    wish: Wish
    desk: Desk
    request: Request
    intent: Intent
    context: Context
    notes: tuple[str, ...]

    @property
    def films(self) -> bool:
        """Whether the answer is a draft or a job, so that there is something to plan and to follow."""
        does = (IntentKind.APPROVE, IntentKind.CANCEL, IntentKind.SETTINGS)
        return not self.asks and self.intent.kind not in does

    @property
    def asks(self) -> bool:
        """Whether the message is a question, which changes nothing."""
        kind, sets = self.intent.kind, self.intent.wishes != Wishes()
        return kind in (IntentKind.STATUS, IntentKind.HELP) or (kind is IntentKind.SETTINGS and not sets)

    @property
    def too_late(self) -> Job | None:
        """The film that is to be changed, and cannot be any more: it waits or is filmed."""
        return self.context.filming if self.intent.kind is IntentKind.REVISE else None


class Conversation:
    """What people say to a studio, channel by channel."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def talk(self, wish: Wish, on_planning: OnPlanning = quietly) -> Reply:
        """A message as a person writes it, in its context. What it wants filmed becomes the channel's draft, which the
        next messages change, until one of them says "film it"."""
        turn = await self.hear(wish, ChannelDesk(self._studio.channels, wish.channel))
        return await self.answer(turn, on_planning)

    async def hear(self, wish: Wish, desk: Desk) -> Turn:
        """What a message wants, in its context."""
        request, notes = await self._studio.received(wish)
        context = self._context(wish, desk)
        return Turn(wish, desk, request, await self._studio.reader.understand(request, context), context, notes)

    async def answer(self, turn: Turn, on_planning: OnPlanning = quietly) -> Reply:
        """What is answered, and done."""
        wish, intent, context = turn.wish, turn.intent, turn.context
        if job := turn.too_late:
            raise UserError(
                f"Job {job.id}, “{job.plan.storyboard.title}”, is on its way and cannot be changed any more: cancel it "
                "and ask again, or say that of its film when it is done."
            )
        match intent.kind:
            case IntentKind.APPROVE:
                return self.film_draft(wish, turn.desk)
            case IntentKind.CANCEL:
                return self._cancel(turn)
            case IntentKind.SETTINGS if intent.wishes != Wishes():
                return Reply(self._remember(wish.channel, intent.wishes))
            case IntentKind.STATUS | IntentKind.SETTINGS | IntentKind.HELP:
                return Reply(answer(intent, await asyncio.to_thread(self._facts, wish.channel)))
        proposal = await self._studio.propose(wish, turn.request, intent, context, on_planning)
        proposal = replace(proposal, notes=(*turn.notes, *proposal.notes))
        if intent.kind is IntentKind.ANOTHER_TAKE and context.take:
            return Reply(proposal.notes, job=turn.desk.follow(self._studio, proposal))
        turn.desk.keep(proposal.draft)
        return Reply(proposal.notes, proposal)

    def _context(self, wish: Wish, desk: Desk) -> Context:
        """What a message stands beside."""
        replied = self._studio.takes.get(wish.take) if wish.take is not None else None
        context = Context(replied, self._studio.takes.last(wish.channel), desk.draft())
        return replace(context, filming=None if context.draft or replied else self._filming(wish, context.last))

    def _filming(self, wish: Wish, last: Take | None) -> Job | None:
        """The film that a person who changes something means, though it waits or is filmed: their newest one here,
        unless one of theirs came to its end since they asked for it. A picture is for a new film."""
        own = self._studio.jobs.open_in(wish.channel, wish.requester)
        if not own or wish.images or wish.anchors or wish.video:
            return None
        done = last is not None and last.errand.requester == wish.requester and last.created > own[-1].created
        return None if done else own[-1]

    def film_draft(self, wish: Wish, desk: Desk) -> Reply:
        """Film what is discussed."""
        draft = desk.draft()
        if draft is None:
            raise NothingToFilm
        if wish.policy:
            self._studio.quota.require(wish, wish.policy, draft.plan.new_seconds)
        self._studio.require_files(draft.plan)
        job = desk.film(self._studio, Proposal(draft, self._studio.errand(wish, draft), ()))
        return Reply((f"Job {job.id} films it.",), job=job)

    def _cancel(self, turn: Turn) -> Reply:
        """Cancels a job: the one that is named, or the person's newest here, or all of theirs; where a take is
        answered, of those alone that go on from it. With none, the draft is thrown away. A message that is heard again
        cancels nothing more."""
        wish, intent, take = turn.wish, turn.intent, turn.context.replied
        if wish.message and (done := self._studio.jobs.cancelled_by(wish.message)):
            return _cancelled(done)
        if intent.job is not None:
            return _cancelled([self._cancel_named(wish, intent.job)])
        own = self._studio.jobs.open_in(wish.channel, wish.requester)
        own = [job for job in own if take is None or _goes_on(job, take)]
        thrown: tuple[str, ...] = ()
        if turn.context.discussed if intent.everything else turn.context.draft and not own:
            turn.desk.keep(None)
            thrown = ("The draft is thrown away.",)
        meant = own if intent.everything else own[-1:]
        if done := self._studio.jobs.cancel_all([job.id for job in meant], wish.message or ""):
            return _cancelled(done, *thrown)
        if take and not thrown:
            thrown = (f"Take {take.id} is filmed already, and nothing of yours that goes on from it waits.",)
        return Reply(thrown or ("There is nothing of yours to cancel here.",))

    def _cancel_named(self, wish: Wish, number: int) -> int:
        """Cancels the job of a number in this channel."""
        job = next((job for job in self._studio.jobs.open_in(wish.channel) if job.id == number), None)
        if job is None:
            raise UserError(f"There is no job {number} to cancel in this channel.")
        _require_may_cancel(wish, job)
        return self._studio.cancel(number, wish.message or "").id

    def _remember(self, channel: str, wishes: Wishes) -> tuple[str, ...]:
        """Settings that no film was asked with: they hold for the channel's next films."""
        lasting = wishes.model_copy(update={"seed": None})
        self._studio.channels.keep_wishes(channel, lasting.over(self._studio.channels.wishes(channel)))
        granted = grant(wishes, self._studio.preset, None, None).notes
        return (*granted, "The next films of this channel begin with that.")

    def _facts(self, channel: str) -> Facts:
        return Facts(
            settings=self._studio.settings,
            preset=self._studio.preset,
            planner=f"Planned by {self._studio.model.name}." if self._studio.model else CREDIT,
            wishes=self._studio.channels.wishes(channel),
            jobs=tuple(self._studio.jobs.placed(channel)),
            waiting=sum(self._studio.jobs.counts()),
            takes=tuple(self._studio.takes.history(channel, limit=20)),
            loras=tuple(lora.title for lora in self._studio.library.entries()),
        )


def _cancelled(jobs: Sequence[int], *more: str) -> Reply:
    """The reply that says which jobs are cancelled."""
    return Reply((cancelled(jobs), *more), cancelled=tuple(jobs))


def _goes_on(job: Job, take: Take) -> bool:
    """Whether a job continues a take, or films it again."""
    return job.errand.parent == take.id or job.errand.again_of in (take.id, take.errand.again_of or take.id)


def _require_may_cancel(wish: Wish, job: Job) -> None:
    """UserError for a job of somebody else, unless a moderator asks or everybody may."""
    own = job.errand.requester == wish.requester
    if wish.policy and not own and not wish.moderates and wish.policy.cancel_by != "anyone":
        raise UserError(f"Job {job.id} is somebody else's: only who asked for it or a moderator can cancel it.")
