"""A card as Discord shows it (Components V2), from its face.

Discord allows 4000 characters of text and 40 components; every part here has a bound of its own below that.
"""

from dataclasses import replace

import discord

from bot.discord.buttons import PressButton
from bot.discord.faces import CardFace, Phase, WindowFace
from bot.discord.plan_lines import plan_lines, window_line
from bot.discord.safe import one_line, plain
from bot.discord.texts import say
from bot.progress import clock
from storage.schema import Stage

PREVIEW = "preview.jpg"
BAR = 14  # segments
ROOM = 3900  # characters of all text
LONGEST_WORDS, LONGEST_TITLE, LONGEST_NOTE, MOST_NOTES, LONGEST_ERROR = 280, 80, 180, 4, 400
COLOURS = {
    Phase.PLANNING: 0x5865F2, Phase.DRAFT: 0x5865F2, Phase.QUEUED: 0x99AAB5, Phase.RENDERING: 0xFEE75C,
    Phase.JOINING: 0xFEE75C, Phase.UPLOADING: 0x57F287, Phase.FAILED: 0xED4245, Phase.PAUSED: 0xE67E22,
    Phase.CANCELLED: 0x4E5058,
}  # fmt: skip
SIGNS = {
    Phase.PLANNING: "💭", Phase.DRAFT: "📝", Phase.QUEUED: "⏳", Phase.RENDERING: "🎬", Phase.JOINING: "🎞️",
    Phase.UPLOADING: "📤", Phase.FAILED: "⚠️", Phase.CANCELLED: "🚫", Phase.REPLACED: "↩️", Phase.PAUSED: "⏸️",
}  # fmt: skip
ONE_LINE = (Phase.DONE, Phase.REPLACED)
TOLD = (Phase.PLANNING, Phase.DRAFT, Phase.QUEUED, Phase.RENDERING)  # with the director's notes

Item = discord.ui.Item[discord.ui.LayoutView]


def card_view(face: CardFace) -> discord.ui.LayoutView:
    """The message of a card."""
    view = discord.ui.LayoutView(timeout=None)
    if face.phase in ONE_LINE:
        view.add_item(discord.ui.TextDisplay(_done(face) if face.phase is Phase.DONE else _heading(face)))
        return view
    box: discord.ui.Container[discord.ui.LayoutView] = discord.ui.Container(accent_colour=COLOURS.get(face.phase))
    for item in _items(face):
        box.add_item(item)
    view.add_item(box)
    return view


def shows_preview(face: CardFace) -> bool:
    """Whether the card holds a picture of the newest window."""
    return face.preview is not None and face.phase not in ONE_LINE


def buttons_of(face: CardFace) -> tuple[str, ...]:
    """What can be done with a card in its phase."""
    match face.phase:
        case Phase.DRAFT:
            return ("film", "edit", "cancel")
        case Phase.PLANNING:
            return ("cancel",)
        case Phase.QUEUED | Phase.RENDERING:
            return ("cancel", "plan")
        case Phase.JOINING:
            return ("plan",)
        case Phase.FAILED | Phase.CANCELLED if face.job is not None:
            return ("retry",)
        case _:
            return ()


# ---- its parts, from top to bottom ----


def _items(face: CardFace) -> list[Item]:
    head = [_heading(face), _quote(face)]
    state = _state(face)
    small = [f"-# {line}" for line in (*_notes(face), _footer(face)) if line]
    items: list[Item] = [_text(*head)]
    if shows_preview(face):
        gallery: discord.ui.MediaGallery[discord.ui.LayoutView] = discord.ui.MediaGallery()
        gallery.add_item(media=f"attachment://{PREVIEW}", description=alt_text(face), spoiler=face.restricted)
        items.append(gallery)
    if face.windows and face.phase is not Phase.CANCELLED:
        room = ROOM - sum(len(line) + 1 for line in (*head, *state, *small))
        items.append(_text(*plan_lines(face, room)))
    if state:
        items += [discord.ui.Separator(spacing=discord.SeparatorSpacing.small), _text(*state)]
    items.append(_text(*small))
    if buttons := buttons_of(face):
        row: discord.ui.ActionRow[discord.ui.LayoutView] = discord.ui.ActionRow()
        for act in buttons:
            row.add_item(PressButton.labelled("card", act, face.card, face.locale))
        items.append(row)
    return items


def _text(*lines: str) -> Item:
    return discord.ui.TextDisplay("\n".join(filter(None, lines)))


def _heading(face: CardFace) -> str:
    state = say(face.locale, f"card.{face.phase}")
    title = f" · {one_line(face.title, LONGEST_TITLE)}" if face.title else ""
    return f"{SIGNS[face.phase]} {state}" if face.phase in ONE_LINE else f"### {SIGNS[face.phase]} {state}{title}"


def _done(face: CardFace) -> str:
    """The card of a finished film: one line that leads to it."""
    took = say(face.locale, "card.took", took=clock(face.elapsed)) if face.elapsed is not None else ""
    return " · ".join(filter(None, (f"✅ **{one_line(face.title, LONGEST_TITLE)}**", _film(face), took)))


def _film(face: CardFace) -> str:
    """The take by name, as a link where its message is known; "" without one."""
    take = say(face.locale, "card.take", take=face.take) if face.take is not None else ""
    return f"[{take}]({face.link})" if take and face.link else take


def _quote(face: CardFace) -> str:
    return f"> {one_line(face.words, LONGEST_WORDS)}" if face.words.strip() else ""


def alt_text(face: CardFace) -> str:
    """What the picture of the newest window shows, for who cannot see it. "" without a picture."""
    if face.preview is None:
        return ""
    window = face.windows[face.preview.window - 1]
    key = "card.preview_alt" if face.preview.drawn is None else "card.under_way_alt"
    what = "; ".join(action for _, action in window.beats) or window.scene
    return plain(say(face.locale, key, window=window.number, what=what), 250)


def window_text(face: CardFace, window: WindowFace) -> str:
    """The line above a window that is posted as it comes."""
    of = say(face.locale, "card.window_of", window=window.number, windows=face.windows[-1].number)
    return f"{of} · {window_line(replace(window, camera=''))}"


def _state(face: CardFace) -> list[str]:
    """Where the film is, how long it takes, or why there is none and what can be done."""
    locale = face.locale
    match face.phase:
        case Phase.QUEUED:
            return [_place(face), _times(face), _again(face)]
        case Phase.RENDERING:
            return [_bar(face), _times(face), _again(face)]
        case Phase.JOINING | Phase.UPLOADING:
            return [f"{bar(1.0)} {say(locale, f'card.{face.phase}_now')}"]
        case Phase.PAUSED if face.progress:
            return [_bar(face)]
        case Phase.FAILED if face.job is not None:
            return [*_why(face), _film(face) if face.link else "", say(locale, "card.failed_now_job")]
        case Phase.FAILED:
            return [*_why(face), say(locale, "card.failed_now_words")]
        case _:
            return []


def _why(face: CardFace) -> list[str]:
    """Why there is no film: what the engine said, or what was found when it was to be handed over."""
    return [one_line(reason, LONGEST_ERROR) for reason in ([face.error] if face.error else face.notes)]


def bar(fraction: float) -> str:
    """A share in [0, 1] as segments; the last one fills only when all is done."""
    full = int(min(1.0, max(0.0, fraction)) * BAR)
    return "▰" * full + "▱" * (BAR - full)


def _bar(face: CardFace) -> str:
    locale, progress = face.locale, face.progress
    if progress is None:
        return f"{bar(0.0)} {say(locale, 'card.stage.loading')}"
    counts = {"step": progress.step, "steps": progress.steps, "window": progress.window, "windows": progress.windows}
    stage = say(locale, f"card.stage.{progress.stage}", **counts)
    if progress.stage in (Stage.LOADING, Stage.RESTORING):
        return f"{bar(progress.fraction)} {stage}"
    number = progress.window + face.windows[0].number - 1
    window = say(locale, "card.window_of", window=number, windows=face.windows[-1].number)
    return f"{bar(progress.fraction)} **{window}** · {stage}"


def _place(face: CardFace) -> str:
    count = str(face.ahead) if face.ahead < 2 else "n"
    return f"**{say(face.locale, f'card.ahead.{count}', count=face.ahead)}**"


def _times(face: CardFace) -> str:
    """Live timestamps: they count by themselves between two edits."""
    moments = {"begun": face.begun, "starts": face.starts, "ends": face.ends}
    told = [say(face.locale, f"card.{key}", time=f"<t:{at}:R>") for key, at in moments.items() if at is not None]
    if face.phase is Phase.QUEUED and face.ends is None:
        told.append(say(face.locale, "card.no_estimate"))
    return " · ".join(told)


def _again(face: CardFace) -> str:
    if not face.error:
        return ""
    return say(face.locale, "card.tried_again", reason=one_line(face.error, LONGEST_ERROR))


def _notes(face: CardFace) -> list[str]:
    if face.phase not in TOLD:
        return []
    return [one_line(note, LONGEST_NOTE) for note in face.notes[:MOST_NOTES]]


def _footer(face: CardFace) -> str:
    locale = face.locale
    parts = [
        say(locale, "card.job", job=face.job) if face.job is not None else "",
        lineage(locale, face.parent, face.again_of),
        say(locale, "card.seed", seed=face.seed) if face.seed is not None and face.phase is not Phase.CANCELLED else "",
        say(locale, "card.asker", asker=f"<@{face.asker}>"),
    ]
    return " · ".join(filter(None, parts))


def lineage(locale: str, parent: int | None, again_of: int | None) -> str:
    """What a film descends from."""
    if again_of is not None:
        return say(locale, "take.again_of", take=again_of)
    return say(locale, "take.continues", take=parent) if parent is not None else ""
