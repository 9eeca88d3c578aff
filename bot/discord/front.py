"""What can be asked in Discord, whoever brings it: a message, a command, a button or a reaction.

Each use case reads an Ask, lets the studio or the conversation do the work, and answers with a card or with sentences.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.conversation import Conversation, Reply
from bot.discord.ask import Ask, pictures_of
from bot.discord.board import Board
from bot.discord.details import details_of
from bot.discord.keys import key_of, number_of
from bot.discord.settings import DiscordSettings
from bot.discord.texts import say
from bot.studio import Proposal, Studio
from bot.wish import Wish
from storage.schema import Card, Draft, Job, JobState, Policy, Request, Take, UserError

Propose = Callable[[Wish], Awaitable[Proposal]]


@dataclass(frozen=True)
class CardDesk:
    """The draft that is discussed lies on a card; what is made of it goes to a new one."""

    front: "Front"
    former: Card | None
    own: Card | None = None

    def draft(self) -> Draft | None:
        """The former card's."""
        return self.former.draft if self.former else None

    def keep(self, draft: Draft | None) -> None:
        """On the new card; the former one is settled by it. Without a new one, on the former."""
        cards = self.front.studio.cards
        if self.own:
            cards.propose(self.own.id, draft)
        if self.former and (self.own or draft is None):
            cards.propose(self.former.id, None)
            cards.change(self.former.id, closed=True)
        elif self.former:
            cards.propose(self.former.id, draft)

    def take(self) -> Draft | None:
        """From the card."""
        card = self.own or self.former
        return self.front.studio.cards.take_draft(card.id) if card else None


class Front:
    """The use cases of the channel."""

    def __init__(self, studio: Studio, settings: DiscordSettings, board: Board) -> None:
        self.studio = studio
        self.settings = settings
        self.board = board
        self.conversation = Conversation(studio)

    # ---- what is said ----

    async def hear(self, ask: Ask) -> tuple[str, ...]:
        """A message in words. What it wants filmed gets a card; everything else is answered in sentences."""
        policy = self.admit(ask)
        former = self._discussed(ask)
        async with pictures_of(ask.attachments, self.settings.discord_picture_mib) as pictures:
            wish = self._wish(ask, policy, pictures, take=self._replied_take(ask))
            turn = await self.conversation.hear(wish, CardDesk(self, former))
        if not turn.films:
            reply = await self.conversation.answer(turn)
            if reply.job and former:
                await self._film_on(former, reply.job)
                return ()
            if former:
                await (self.board.drop if self._dropped(former) else self.board.refresh)(former.id)
            return reply.lines

        async def direct(card: Card) -> Reply:
            told = replace(turn, desk=CardDesk(self, former, card))
            return await self.conversation.answer(told, lambda text: self.board.planning(card.id, text))

        await self._direct(ask, policy, direct)
        if former:
            await self.board.refresh(former.id)
        return ()

    # ---- what is commanded ----

    async def film(self, ask: Ask) -> None:
        """A film from a picture."""
        await self._propose(ask, None, self.studio.film)

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

    async def sketch(self, ask: Ask) -> None:
        """A plan to look at: it waits on a card, and costs nothing."""
        await self._propose(ask, None, self.studio.film, approve=True)

    async def approve(self, ask: Ask, card: Card) -> None:
        """Film a card's draft."""
        self.require_own(ask, card, "film")
        wish = self._wish(ask, self.admit(ask))
        reply = self.conversation.film_draft(wish, CardDesk(self, card))
        assert reply.job is not None
        await self._film_on(card, reply.job)

    async def edit(self, ask: Ask, card: Card, draft: Draft) -> None:
        """Show a draft that was edited by hand."""
        self.require_own(ask, card, "edit")
        if card.draft is None:
            raise UserError(say(ask.locale, "error.no_draft"))
        self.studio.cards.propose(card.id, draft)
        await self.board.refresh(card.id)

    def draft_of(self, take: Take) -> Draft:
        """A take's plan, to be edited and filmed beside it, with a seed of its own."""
        errand = take.errand
        request = Request(text="", channel=errand.channel, requester=errand.requester)
        return Draft(request=request, plan=take.plan, parent=errand.parent, again_of=take.id)

    async def show_draft(self, ask: Ask, draft: Draft, approve: bool = True) -> None:
        """A new card for a draft that is ready: it waits for a word, or is filmed at once."""

        async def direct(card: Card) -> Reply:
            self.studio.cards.propose(card.id, draft)
            proposal = Proposal(draft, self.studio.errand(self._wish(ask, policy), draft), ())
            return Reply((), proposal)

        policy = self.admit(ask)
        await self._direct(ask, policy, direct, approve)

    async def cancel(self, ask: Ask, card: Card) -> None:
        """Cancel a card's job, or throw its draft away."""
        self.require_own(ask, card, "cancel")
        if card.job is not None:
            self.studio.cancel(card.job)
            await self.board.refresh(card.id)
        elif not card.closed:
            await self.board.drop(card.id)

    async def retry(self, ask: Ask, card: Card) -> None:
        """The plan of a card whose film came to nothing, on a new card."""
        self.require_own(ask, card, "film")
        job = self.studio.jobs.get(card.job) if card.job is not None else None
        if job is None or job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise UserError(say(ask.locale, "error.nothing_to_retry"))
        request = Request(text=card.words, channel=ask.channel_key, requester=ask.asker_key)
        draft = Draft(request=request, plan=job.plan, parent=job.errand.parent, again_of=job.errand.again_of)
        await self.show_draft(replace(ask, text=card.words), draft, approve=False)

    async def delete(self, ask: Ask, take: Take) -> None:
        """Take a film out of the channel."""
        if take.errand.requester != ask.asker_key and not ask.moderates:
            owner = f"<@{number_of(take.errand.requester)}>"
            raise UserError(say(ask.locale, "error.not_yours_to_delete", owner=owner))
        await self.board.delivery.remove(take)

    async def send_to(self, ask: Ask, take: Take) -> None:
        """Send a film to a person, who asked for that."""
        await self.board.delivery.send_to(ask.asker, take, ask.locale)

    async def tell_details(self, ask: Ask, take: Take) -> None:
        """Tell a person all about a film."""
        await ask.asker.send(details_of(take, ask.locale))

    # ---- who may ----

    def policy(self, ask: Ask) -> Policy:
        """What holds where something is asked."""
        default = Policy(approve=self.settings.discord_approve, continue_by="anyone" if ask.place else "owner")
        return self.studio.manners.policy(ask.place, default) if ask.place else default

    def admit(self, ask: Ask) -> Policy:
        """The policy; UserError if nothing may be asked here by this person."""
        policy, locale = self.policy(ask), ask.locale
        parent = getattr(ask.channel, "parent_id", None)
        here = {ask.channel_key, *([key_of(parent)] if parent else [])}
        if (policy.channels and not here & set(policy.channels)) or here & set(policy.refused_channels):
            raise UserError(say(locale, "error.channel_refused"))
        roles = {key_of(role) for role in getattr(ask.asker, "roles", ())}
        if policy.roles and not roles & set(policy.roles) and not ask.moderates:
            raise UserError(say(locale, "error.role_missing"))
        return policy

    def require_continue(self, ask: Ask, take: Take) -> None:
        """UserError unless the asker may film on from a take, or film it again, here."""
        if take.errand.channel != ask.channel_key and not self.sees(ask, take):
            raise UserError(say(ask.locale, "error.take_elsewhere", take=take.id))
        own = take.errand.requester == ask.asker_key
        if self.policy(ask).continue_by == "owner" and not own and not ask.moderates:
            raise UserError(say(ask.locale, "error.not_yours_to_continue", take=take.id))

    def sees(self, ask: Ask, take: Take) -> bool:
        """Whether the asker can see the channel that a take was made in, on the same server."""
        channel = ask.guild.get_channel_or_thread(number_of(take.errand.channel)) if ask.guild else None
        return channel is not None and channel.permissions_for(ask.asker).view_channel  # type: ignore[arg-type]

    def require_own(self, ask: Ask, card: Card, act: str) -> None:
        """UserError unless the asker may do this to a card."""
        anyone = act == "cancel" and self.policy(ask).cancel_by == "anyone"
        if card.asker != ask.asker_key and not ask.moderates and not anyone:
            raise UserError(say(ask.locale, f"error.not_yours_to_{act}", owner=f"<@{number_of(card.asker)}>"))

    # ---- inside ----

    async def _propose(self, ask: Ask, take: Take | None, propose: Propose, approve: bool | None = None) -> None:
        policy = self.admit(ask)
        async with pictures_of(ask.attachments, self.settings.discord_picture_mib) as pictures:
            wish = self._wish(ask, policy, pictures, take=take.id if take else None)

            async def direct(card: Card) -> Reply:
                proposal = await propose(wish)
                CardDesk(self, None, card).keep(proposal.draft)
                return Reply(proposal.notes, proposal)

            await self._direct(ask, policy, direct, approve)

    async def _direct(
        self, ask: Ask, policy: Policy, direct: Callable[[Card], Awaitable[Reply]], approve: bool | None = None
    ) -> None:
        """A card from the first word on; what goes wrong is told on it."""
        card = await self.board.open(ask)
        try:
            reply = await direct(card)
            if self._dropped(card):
                return
            if reply.draft and not self._waits(ask, policy, approve):
                wish = self._wish(ask, policy)
                reply = replace(self.conversation.film_draft(wish, CardDesk(self, None, card)), lines=reply.lines)
        except UserError as error:
            await self.board.fail(card.id, str(error))
            return
        if reply.job:
            await self._film_on(card, reply.job)
        await self.board.refresh(card.id, reply.lines)

    def _dropped(self, card: Card) -> bool:
        """Whether a card was cancelled while its plan was made; what was planned is thrown away."""
        now = self.studio.cards.get(card.id)
        if now and not now.closed:
            return False
        self.studio.cards.propose(card.id, None)
        return True

    async def _film_on(self, card: Card, job: Job) -> None:
        self.studio.cards.change(card.id, job=job.id)
        await self.board.refresh(card.id)

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
            if replied or self.studio.takes.by_message(str(ask.replied)):
                return None
        return self.studio.cards.discussed(ask.channel_key, ask.asker_key)

    def _replied_take(self, ask: Ask) -> int | None:
        """The take that a message answers, by its own message or by its card's."""
        if ask.replied is None:
            return None
        take = self.studio.takes.by_message(str(ask.replied))
        if take is None and (card := self.studio.cards.by_message(str(ask.replied))) and card.job is not None:
            job = self.studio.jobs.get(card.job)
            if job.take is None:
                state = "error.not_filmed_yet" if not job.state.final else "error.never_filmed"
                raise UserError(say(ask.locale, state))
            take = self.studio.takes.get(job.take)
        if take:
            self.require_continue(ask, take)
        return take.id if take else None

    def _wish(self, ask: Ask, policy: Policy, pictures: Sequence[Path] = (), take: int | None = None) -> Wish:
        return Wish(
            text=self._styled(ask, policy),
            channel=ask.channel_key,
            requester=ask.asker_key,
            images=pictures,
            seconds=ask.seconds,
            size=ask.size,
            seed=ask.seed,
            preset=ask.preset,
            take=take,
            message=str(ask.message) if ask.message else None,
            policy=policy,
        )

    def _styled(self, ask: Ask, policy: Policy) -> str:
        """The words, with those of the style that was asked for."""
        name = ask.style or self.studio.manners.person(ask.asker_key).style
        if name is None:
            return ask.text
        words = next((style.words for style in policy.styles if style.name == name), None)
        if words is None:
            raise UserError(say(ask.locale, "error.no_style", style=name))
        return f"{ask.text.rstrip('. ')}. {words}" if ask.text else ask.text
