"""A conversation with the director: a message in its context, and what it is answered with."""

import asyncio
from dataclasses import dataclass

from bot.answers import Facts, answer
from bot.studio import Proposal, Studio, quietly
from bot.wish import Wish
from planner.brief import OnPlanning
from planner.intent import Context
from planner.rules import CREDIT
from planner.wishes import grant
from storage.schema import Intent, IntentKind, Job, JobState, UserError, Wishes


@dataclass(frozen=True)
class Reply:
    """What a message is answered with: sentences, and perhaps a draft to look at, or a job that films it."""

    lines: tuple[str, ...]
    draft: Proposal | None = None
    job: Job | None = None


class Conversation:
    """What people say to a studio, channel by channel."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def talk(self, wish: Wish, on_planning: OnPlanning = quietly) -> Reply:
        """A message as a person writes it, in its context. What it wants filmed becomes the channel's draft, which the
        next messages change, until one of them says "film it"."""
        request, notes = await asyncio.to_thread(self._studio.request, wish)
        context = self._context(wish)
        intent = await self._studio.reader.understand(request, context)
        match intent.kind:
            case IntentKind.APPROVE:
                return self._film_draft(wish)
            case IntentKind.CANCEL:
                return Reply((self._cancel(wish, intent, context),))
            case IntentKind.SETTINGS if intent.wishes != Wishes():
                return Reply(self._remember(wish.channel, intent.wishes))
            case IntentKind.STATUS | IntentKind.SETTINGS | IntentKind.HELP:
                return Reply(answer(intent, self._facts(wish.channel)))
        proposal = await self._studio.propose(wish, request, intent, context, on_planning)
        if intent.kind is IntentKind.ANOTHER_TAKE and context.take:
            return Reply((*notes, *proposal.notes), job=self._studio.submit(proposal))
        self._studio.channels.keep_draft(wish.channel, proposal.draft)
        return Reply((*notes, *proposal.notes), proposal)

    def _context(self, wish: Wish) -> Context:
        """What a message stands beside."""
        replied = self._studio.takes.get(wish.take) if wish.take is not None else None
        return Context(replied, self._studio.takes.last(wish.channel), self._studio.channels.draft(wish.channel))

    def _film_draft(self, wish: Wish) -> Reply:
        draft = self._studio.channels.take_draft(wish.channel)
        if draft is None:
            raise UserError("There is no draft to film any more.")
        self._studio.media.require(draft.plan.media)
        job = self._studio.submit(Proposal(draft, self._studio.errand(wish, draft), ()))
        return Reply((f"Job {job.id} films it.",), job=job)

    def _cancel(self, wish: Wish, intent: Intent, context: Context) -> str:
        """Cancels a job: the one that is named, or the person's newest here. With none, the draft is thrown away."""
        jobs = self._studio.jobs.queue(wish.channel)
        if intent.job is not None and intent.job not in {job.id for job in jobs}:
            raise UserError(f"There is no job {intent.job} to cancel in this channel.")
        own = [
            job.id
            for job in jobs
            if job.id == intent.job or (intent.job is None and job.errand.requester == wish.requester)
        ]
        if own:
            return f"Job {self._studio.cancel(max(own)).id} is cancelled."
        if context.draft:
            self._studio.channels.keep_draft(wish.channel, None)
            return "The draft is thrown away."
        return "There is nothing of yours to cancel here."

    def _remember(self, channel: str, wishes: Wishes) -> tuple[str, ...]:
        """Settings that no film was asked with: they hold for the channel's next films."""
        lasting = wishes.model_copy(update={"seed": None})
        self._studio.channels.keep_wishes(channel, lasting.over(self._studio.channels.wishes(channel)))
        granted = grant(wishes, self._studio.preset, None, None).notes
        return (*granted, "The next films of this channel begin with that.")

    def _facts(self, channel: str) -> Facts:
        jobs = self._studio.jobs.queue(channel)
        return Facts(
            settings=self._studio.settings,
            preset=self._studio.preset,
            planner=f"Planned by {self._studio.model.name}." if self._studio.model else CREDIT,
            wishes=self._studio.channels.wishes(channel),
            jobs=tuple(
                (job, self._studio.jobs.position(job.id) if job.state is JobState.QUEUED else None) for job in jobs
            ),
            waiting=len(self._studio.jobs.queue()),
            takes=tuple(self._studio.takes.history(channel, limit=20)),
        )
