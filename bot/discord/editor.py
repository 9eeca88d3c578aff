"""A plan edited by hand: one form a window. Times are seconds of the whole film, as the card shows them."""

import re
from typing import TYPE_CHECKING

import discord

from bot.discord.answering import answering, ask_of, refuse
from bot.discord.safe import one_line
from bot.discord.texts import say
from planner.compiler import rewrite
from storage.schema import Beat, Card, Draft, Plan, StoryboardWindow, Take, UserError
from storage.timeline import film_time, shown_seconds

if TYPE_CHECKING:
    from bot.discord.client import LongtakeClient

MOST_CHOICES = 25
_BEAT = re.compile(r"^\s*(?P<seconds>\d+(?:[.,]\d+)?)\s*s?\s*[:\-–]?\s+(?P<action>\S.*)$")


async def edit_card(client: "LongtakeClient", interaction: discord.Interaction, card: Card) -> None:
    """Let a person edit the plan of a card."""
    ask = ask_of(interaction)
    try:
        client.front.require_own(ask, card, "edit")
        draft = draft_on(client, card.id, ask.locale)
    except UserError as error:
        await refuse(interaction, str(error))
        return
    await choose_window(client, interaction, draft, card.id)


async def edit_take(client: "LongtakeClient", interaction: discord.Interaction, take: Take) -> None:
    """Let a person edit the plan of a take: it becomes a new card."""
    await choose_window(client, interaction, client.front.draft_of(take), None)


async def choose_window(
    client: "LongtakeClient", interaction: discord.Interaction, draft: Draft, card: int | None
) -> None:
    """The form of the only window, or a choice of windows."""
    if len(draft.plan.windows) == 1:
        await interaction.response.send_modal(WindowModal(client, draft, 0, card, str(interaction.locale)))
        return
    view = discord.ui.View(timeout=600)
    view.add_item(WindowChoice(client, draft, card, str(interaction.locale)))
    await interaction.response.send_message(say(str(interaction.locale), "editor.which"), view=view, ephemeral=True)


class WindowChoice(discord.ui.Select[discord.ui.View]):
    """Which window is edited."""

    def __init__(self, client: "LongtakeClient", draft: Draft, card: int | None, locale: str) -> None:
        self._client, self._draft, self._card = client, draft, card
        windows = list(enumerate(draft.plan.storyboard.windows))[:MOST_CHOICES]
        first = draft.plan.first_window
        super().__init__(
            options=[
                discord.SelectOption(
                    label=say(locale, "editor.window", number=first + index),
                    description=window.scene[:100],
                    value=str(index),
                )
                for index, window in windows
            ]
        )

    async def callback(self, interaction: discord.Interaction) -> None:
        """Open the form."""
        locale, index = str(interaction.locale), int(self.values[0])
        try:
            draft = newest(self._client, self._draft, self._card, locale)
        except UserError as error:
            await refuse(interaction, str(error))
            return
        await interaction.response.send_modal(WindowModal(self._client, draft, index, self._card, locale))


class WindowModal(discord.ui.Modal):
    """One window of a storyboard."""

    def __init__(self, client: "LongtakeClient", draft: Draft, index: int, card: int | None, locale: str) -> None:
        number = draft.plan.first_window + index
        super().__init__(title=say(locale, "editor.window", number=number))
        self._client, self._draft, self._index, self._card = client, draft, index, card
        window = draft.plan.storyboard.windows[index]
        discarded = draft.plan.discard_frames
        times = [film_time(number, beat.seconds, discarded) for beat in window.beats]
        beats = "\n".join(f"{time:.2f} {beat.action}" for time, beat in zip(times, window.beats, strict=True))
        paragraph = discord.TextStyle.paragraph
        self.scene = _field(window.scene, paragraph, 1000)
        self.beats = _field(beats, paragraph, 2000)
        self.camera = _field(window.camera, discord.TextStyle.short, 200)
        for key, field in (("scene", self.scene), ("beats", self.beats), ("camera", self.camera)):
            self.add_item(discord.ui.Label(text=say(locale, f"editor.{key}"), component=field))

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        """Show the changed plan."""
        ask = ask_of(interaction)
        async with answering(interaction, "done.edited"):
            edited = self._edited(newest(self._client, self._draft, self._card, ask.locale), ask.locale)
            card = self._client.studio.cards.get(self._card) if self._card is not None else None
            if card:
                await self._client.front.edit(ask, card, edited)
            else:
                await self._client.front.show_draft(ask, edited)

    def _edited(self, draft: Draft, locale: str) -> Draft:
        plan, index = draft.plan, self._index
        window = plan.storyboard.windows[index].model_copy(
            update={
                "scene": self.scene.value.strip(),
                "beats": beats_of(self.beats.value, plan, index, locale),
                "camera": self.camera.value.strip(),
            }
        )
        windows: list[StoryboardWindow] = list(plan.storyboard.windows)
        windows[index] = window
        board = plan.storyboard.model_copy(update={"windows": tuple(windows)})
        return draft.model_copy(update={"plan": rewrite(plan, board)})


def newest(client: "LongtakeClient", draft: Draft, card: int | None, locale: str) -> Draft:
    """What a form changes: a card's draft as it is by now, since other windows may have been edited meanwhile."""
    return draft if card is None else draft_on(client, card, locale)


def draft_on(client: "LongtakeClient", card: int, locale: str) -> Draft:
    """The draft that a card shows by now; UserError if it shows none any more."""
    now = client.studio.cards.get(card)
    if now is None:
        raise UserError(say(locale, "error.card_forgotten"))
    if now.draft is None:
        raise UserError(say(locale, "error.no_draft"))
    return now.draft


def _field(text: str, style: discord.TextStyle, longest: int) -> "discord.ui.TextInput[discord.ui.Modal]":
    return discord.ui.TextInput(default=text[:longest], style=style, max_length=longest, required=False)


def beats_of(text: str, plan: Plan, index: int, locale: str) -> tuple[Beat, ...]:
    """Lines like "6.5 the dog jumps", in seconds of the film, as beats of a plan's window in its own seconds."""
    window, discarded = plan.first_window + index, plan.discard_frames
    begins, ends = shown_seconds(window, discarded)
    beats = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _BEAT.match(line)
        if match is None:
            raise UserError(say(locale, "error.no_beat", line=one_line(line, 60)))
        seconds = float(match["seconds"].replace(",", "."))
        if not begins - 0.05 <= seconds <= ends:
            raise UserError(
                say(locale, "error.beat_outside", seconds=f"{seconds:g}", begins=f"{begins:.2f}", ends=f"{ends:.2f}")
            )
        own = max(seconds, begins) - film_time(window, 0.0, discarded)
        beats.append(Beat(seconds=round(own, 2), action=match["action"].strip()))
    return tuple(sorted(beats, key=lambda beat: beat.seconds))
