"""What can be asked in Discord, whoever brings it: a message, a command, a button or a reaction.

Each use case reads an Ask, lets the studio or the conversation do the work, and answers with a card or with sentences.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bot.batch import repeated
from bot.conversation import Conversation, Reply
from bot.discord.answering import sentence_of
from bot.discord.ask import Ask, pictures_of
from bot.discord.board import Board
from bot.discord.cdn import Cdn
from bot.discord.desk import CardDesk
from bot.discord.details import details_of, storyboard_text
from bot.discord.forgetting import Forgetting
from bot.discord.halves import completed
from bot.discord.rest import passes
from bot.discord.safe import one_line
from bot.discord.settings import DiscordSettings
from bot.discord.shown import cancelled_text, not_filmed, on_its_way, require_open, shown_by
from bot.discord.texts import say
from bot.proposal import Proposal
from bot.studio import Studio, new_seed
from bot.wish import Wish, require_place
from planner.commands import calls_off
from storage.cards import Withdrawn
from storage.schema import Card, Draft, IntentKind, Job, JobState, Policy, Request, Style, Take, UserError

Propose = Callable[[Wish], Awaitable[Proposal]]
LONGEST_LINE = 1000  # letters of a sentence that answers
FREE = {"queue_per_person": 50, "minutes_per_day": 1440.0, "max_seconds": None, "paused": False,
        "server_queue": None, "server_minutes": None}  # of a plan to look at  # fmt: skip


class Front(Forgetting):
    """The use cases of the channel."""

    def __init__(self, studio: Studio, settings: DiscordSettings, board: Board, cdn: Cdn) -> None:
        super().__init__(studio, settings, board)
        self._cdn = cdn
        self.conversation = Conversation(studio)

    # ---- what is said ----

    async def hear(self, ask: Ask) -> tuple[str, ...]:
        """A message in words. What it wants filmed gets a card; everything else is answered in sentences."""
        policy = self.admit_request(ask)
        ask = await completed(self.studio, ask)
        take, card = shown_by(self.studio, ask.replied) if ask.replied is not None else (None, None)
        if card and card.take_message is None and calls_off(ask.text):
            require_open(card, ask.locale)
            await self.cancel(ask, card)
            return (say(ask.locale, "done.cancelled"),)
        former = self._discussed(ask)
        if take:
            self.require_continue(ask, take)
        waits = not_filmed(self.studio, card, ask.locale) if card and card.job is not None and not take else None
        async with pictures_of(ask.attachments, self.settings.discord_picture_mib, self._cdn) as pictures:
            wish = self._wish(ask, policy, pictures, take=take.id if take else None)
            turn = await self.conversation.hear(wish, CardDesk(self.studio.cards, former))
        if waits and not turn.asks and not turn.intent.everything:
            raise waits
        if turn.too_late:
            raise on_its_way(turn.too_late, ask.locale)
        if turn.films and turn.intent.kind is not IntentKind.FILM and turn.context.take:
            self.require_continue(ask, turn.context.take)  # also the channel's last one, which nobody named
        if not turn.films:
            reply = await self.conversation.answer(turn)
            if former:
                filmed = reply.job is not None or not self._dropped(former)
                await (self.board.refresh if filmed else self.board.drop)(former.id)
            if reply.job and former:
                return ()
            lines = tuple(one_line(line, LONGEST_LINE) for line in reply.lines)  # they may quote people
            return (cancelled_text(reply.cancelled, ask.locale), *lines[1:]) if reply.cancelled else lines

        async def direct(card: Card) -> Reply:
            told = replace(turn, desk=CardDesk(self.studio.cards, former, card))
            return await self.conversation.answer(told, lambda text: self.board.planning(card.id, text))

        await self._direct(ask, policy, direct)
        if former:
            await self.board.refresh(former.id)
        return ()

    # ---- what is commanded ----

    async def film(self, ask: Ask, takes: int = 1) -> None:
        """A film from a picture, or several of one plan: each has a card and seeds of its own."""
        proposal = await self._propose(ask, None, self.studio.film)
        others = repeated([proposal], takes, new_seed)[1:] if proposal else []
        for number, other in enumerate(others, start=2):
            await self.show_draft(replace(ask, event=f"{ask.event}/{number}"), other.draft, approve=None)

    async def proceed(self, ask: Ask, take: Take) -> None:
        """What comes after a take. Without words, the director says what happens next."""
        self.require_continue(ask, take)
        if not ask.text.strip():
            ask = replace(ask, text=say(ask.locale, "continue.same_spirit"))
        await self._propose(ask, take, self.studio.proceed)

    async def again(self, ask: Ask, take: Take) -> None:
        """A take's plan with new seeds. There is nothing to approve: it was filmed before."""
        self.require_continue(ask, take)
        await self._propose(ask, take, self.studio.again, approve=False)

    async def sketch(self, ask: Ask) -> tuple[str, ...]:
        """A plan to look at: it waits on a card, and costs nothing, so no limit holds. Without a picture it cannot be
        filmed, and is told."""
        if ask.attachments:
            await self._propose(ask, None, self.studio.film, approve=True)
            return ()
        storyboard, _, notes = await self.studio.sketch(self._wish(ask, self.admit_request(ask)))
        return (*storyboard_text(storyboard), *notes, say(ask.locale, "plan.no_picture"))

    async def approve(self, ask: Ask, card: Card) -> None:
        """Film a card's draft."""
        self.require_own(ask, card, "film")
        wish = self._wish(ask, self.admit(ask))
        self.conversation.film_draft(wish, CardDesk(self.studio.cards, card))
        await self.board.refresh(card.id)

    async def edit(self, ask: Ask, card: Card, draft: Draft) -> None:
        """Show a draft that was edited by hand."""
        self.require_own(ask, card, "edit")
        if card.draft is None:
            raise UserError(say(ask.locale, "error.no_draft"))
        self.studio.cards.propose(card.id, self.studio.judged(self._wish(ask, self.policy(ask)), draft))
        await self.board.refresh(card.id)

    def draft_of(self, take: Take) -> Draft:
        """A take's plan, to be edited and filmed beside it, with a seed of its own."""
        errand = take.errand
        request = Request(text="", channel=errand.channel, requester=errand.requester, restricted=errand.restricted)
        return Draft(request=request, plan=take.plan, parent=errand.parent, again_of=take.id)

    async def show_draft(self, ask: Ask, draft: Draft, approve: bool | None = True) -> None:
        """A new card for a draft that is ready: it waits for a word, or is filmed at once."""
        policy = self.admit(ask)
        wish = self._wish(ask, policy)
        judged = self.studio.judged(wish, draft)

        async def direct(card: Card) -> Reply:
            self.studio.cards.propose(card.id, judged)
            return Reply((), Proposal(judged, self.studio.errand(wish, judged), ()))

        await self._direct(ask, policy, direct, approve)

    async def cancel(self, ask: Ask, card: Card) -> None:
        """Cancel a card's job, or throw its draft away."""
        self.require_own(ask, card, "cancel")
        card = self.studio.cards.get(card.id) or card  # it may have been filmed since it was looked at
        if card.job is not None:
            self.studio.cancel(card.job)
            await self.board.refresh(card.id)
        elif not card.closed:
            await self.board.drop(card.id)

    async def retry(self, ask: Ask, card: Card) -> None:
        """The plan of a card whose film came to nothing, on a new card."""
        self.require_own(ask, card, "film")
        job = self.studio.jobs.get(card.job) if card.job is not None else None
        if job is None or not (job.state in (JobState.FAILED, JobState.CANCELLED) or await self._lost(job)):
            raise UserError(say(ask.locale, "error.nothing_to_retry"))
        request = Request(
            text=card.words,
            channel=ask.channel_key,
            requester=ask.asker_key,
            restricted=job.errand.restricted,
        )
        draft = Draft(request=request, plan=job.plan, parent=job.errand.parent, again_of=job.errand.again_of)
        await self.show_draft(replace(ask, text=card.words), draft, approve=False)

    async def show(self, ask: Ask, take: Take, most_bytes: int | None = None) -> None:
        """Post a take here once more."""
        policy = self.admit(ask)
        self.require_seen(ask, take)
        wish = self._wish(ask, policy)
        require_place(wish, take.errand.restricted)
        await self.board.delivery.show(ask.channel, take, ask.locale, most_bytes)

    async def send_to(self, ask: Ask, take: Take) -> None:
        """Send a film to a person, who asked for that."""
        await self.board.delivery.send_to(ask.asker, take, ask.locale)

    async def tell_details(self, ask: Ask, take: Take) -> None:
        """Tell a person all about a film."""
        await ask.asker.send(details_of(take, ask.locale))

    # ---- inside ----

    async def _propose(
        self, ask: Ask, take: Take | None, propose: Propose, approve: bool | None = None
    ) -> Proposal | None:
        """What is planned and stands on a card of its own; None if that was cancelled meanwhile."""
        policy = self.admit(ask) if approve is False else self.admit_request(ask)
        if approve:
            policy = policy.model_copy(update=FREE)
        async with pictures_of(ask.attachments, self.settings.discord_picture_mib, self._cdn) as pictures:
            wish = self._wish(ask, policy, pictures, take=take.id if take else None)

            async def direct(card: Card) -> Reply:
                proposal = await propose(wish)
                CardDesk(self.studio.cards, None, card).keep(proposal.draft)
                return Reply(proposal.notes, proposal)

            reply = await self._direct(ask, policy, direct, approve)
            return reply.draft if reply else None

    async def resume(self, ask: Ask, card: Card, approve: bool | None = None) -> None:
        """Go on with what was asked before we were killed, and whose plan lies on its card."""
        if card.draft and not card.closed and not self._waits(ask, self.policy(ask), approve):
            self.conversation.film_draft(self._wish(ask, self.policy(ask)), CardDesk(self.studio.cards, None, card))
        await self.board.refresh(card.id)

    async def _direct(
        self, ask: Ask, policy: Policy, direct: Callable[[Card], Awaitable[Reply]], approve: bool | None = None
    ) -> Reply | None:
        """A card from the first word on; what goes wrong is told on it, and then there is no reply."""
        card = await self.board.open(ask)
        try:
            reply = await direct(card)
            if self._dropped(card):
                return None
            if reply.draft and not self._waits(ask, policy, approve):
                filmed = self.conversation.film_draft(self._wish(ask, policy), CardDesk(self.studio.cards, None, card))
                reply = replace(reply, job=filmed.job)
        except Withdrawn:
            return None
        except Exception as error:  # whatever it was, the asker is told and the card is settled
            if self._dropped(card):
                return None
            if passes(error) and ask.message is not None:
                raise  # it is heard again
            if ask.message is None:  # there is a way to say it privately
                await self.board.forget(card)
                raise
            await self.board.fail(card.id, sentence_of(error, ask.locale, "error.planner_failed"))
            return None
        finally:
            self.board.opening.directed(card)
        await self.board.refresh(card.id, reply.lines)
        return reply

    async def _lost(self, job: Job) -> bool:
        """Whether a film was made and is not there any more, or damaged. Its plan gives the same once more."""
        take = self.studio.takes.made_by(job.id)
        return take is not None and not await asyncio.to_thread(self.studio.media.intact, take.film.video)

    def _dropped(self, card: Card) -> bool:
        """Whether a card was cancelled while its plan was made; what was planned is thrown away, and not filmed."""
        now = self.studio.cards.get(card.id)
        if now and not now.closed:
            return False
        if now:
            self.studio.cards.propose(card.id, None)
        return True

    def _waits(self, ask: Ask, policy: Policy, approve: bool | None) -> bool:
        """Whether a plan waits for a word before it is filmed."""
        if approve is not None:
            return approve
        own = self.studio.manners.person(ask.asker_key).approve
        return policy.approve if own is None else own

    def _discussed(self, ask: Ask) -> Card | None:
        """The card whose draft a message is about: the one that it answers, or the asker's newest here."""
        if ask.replied is not None:
            replied = self.studio.cards.by_message(str(ask.replied))
            if replied and replied.draft and not replied.closed:
                self.require_own(ask, replied, "edit")
                return replied
            if replied and replied.outcome != "failed":
                require_open(replied, ask.locale)
            if replied or self.studio.takes.by_message(str(ask.replied)):
                return None
        return self.studio.cards.discussed(ask.channel_key, ask.asker_key)

    def _wish(self, ask: Ask, policy: Policy, pictures: Sequence[Path] = (), take: int | None = None) -> Wish:
        style = self._style(ask, policy)
        return Wish(
            text=f"{ask.text.rstrip('. ')}. {style.words}" if style and ask.text else ask.text,
            channel=ask.channel_key,
            requester=ask.asker_key,
            place=ask.place,
            images=pictures,
            seconds=ask.seconds or self._own_seconds(ask, take),
            size=ask.size,
            seed=ask.seed,
            preset=ask.preset,
            settings=(ask.settings,) if ask.settings else (),
            loras=(lora,) if (lora := ask.lora or (style.lora if style else "")) else (),
            take=take,
            message=str(ask.message) if ask.message else None,
            policy=policy,
            age_restricted=ask.restricted,
            moderates=ask.moderates,
        )

    def _own_seconds(self, ask: Ask, take: int | None) -> float | None:
        """How long a person's films are, where their words name no number."""
        named = take is not None or any(letter.isdigit() for letter in ask.text)
        return None if named or not ask.text else self.studio.manners.person(ask.asker_key).seconds

    def _style(self, ask: Ask, policy: Policy) -> Style | None:
        """The style that was asked for. A person's own one is for new films: said words without a picture may be
        "film it" or a change, and have to stay what they are."""
        own = self.studio.manners.person(ask.asker_key).style if ask.message is None or ask.attachments else None
        name = ask.style or own
        style = next((style for style in policy.styles if style.name == name), None)
        if style is None and ask.style is not None:  # a default of their own may be from another server
            raise UserError(say(ask.locale, "error.no_style", style=ask.style))
        return style
