"""What a card shows: in every state, within Discord's limits, and never more than words of what people wrote."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
from card_states import film_window, states
from directing import picture
from discord_world import World, texts_of, world
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from simcord.preview._markdown import markdown_tokens

from bot.discord import board
from bot.discord.card_view import alt_text, buttons_of, card_view
from bot.discord.editor import beats_of
from bot.discord.faces import CardFace, Phase, Preview, WindowFace, windows_of
from bot.discord.plan_lines import DONE, RUNNING, plan_lines
from bot.discord.safe import one_line, plain
from bot.discord.take_view import take_alt, take_text
from bot.discord.texts import LANGUAGES
from planner.compiler import Facts, compile_plan
from planner.presets import QUALITY
from storage.disk import whole
from storage.footage import last_frame
from storage.renders import preview_file
from storage.schema import Beat, Policy, Progress, Stage, Storyboard, StoryboardWindow, UserError

HOSTILE = "@everyone **bold** <@123456789012345678> <@&123456789012345678> [x](http://a.b) # y ~~z~~ ||s|| `c` <t:1:R> "
STATES = {
    "planning": "Planning",
    "draft": "The plan",
    "queued": "1 film ahead",
    "rendering": "window 3 of 4",
    "paused": "Paused",
    "joining": "joining",
    "uploading": "sending",
    "done": "[take 3](https://discord.com/channels/",
    "take": "take #3",
    "failed": "ran out of memory",
    "refused": "add one",
    "replaced": "newer card below",
    "cancelled": "Cancelled",
}
SHAPES = st.text(alphabet=st.sampled_from("*_~`|<>[]()#@!&:/\\-+. 1ae\n\u202e\u200b"), max_size=60)


def window_face(number: int, text: str = "the boat turns", beats: int = 3) -> WindowFace:
    begins = (number - 1) * 4.75
    acts = tuple((begins + beat, f"{text} {beat}") for beat in range(beats))
    return WindowFace(
        number, begins, begins + 4.75, text, acts, f"{text} {number}", done=number < 5, running=number == 5
    )


def face(phase: Phase, windows: int = 24, text: str = HOSTILE * 20, **more: Any) -> CardFace:
    return CardFace(
        card=1, phase=phase, locale="de", asker=123456789012345678, words=text, job=2, title=text,
        windows=tuple(window_face(number, text) for number in range(1, windows + 1)),
        progress=Progress(stage=Stage.DENOISING, window=5, windows=windows, step=3, steps=8),
        ahead=7, starts=1, ends=2, begun=3, seed=2**63 - 1, notes=(text,) * 20, error=text, take=9,
        link="https://discord.com/channels/1/2/3", filmed=min(4, windows),
        preview=Preview(min(4, windows)), elapsed=61.0, parent=1, again_of=2, **more,
    )  # fmt: skip


def said(view: discord.ui.LayoutView) -> list[str]:
    return [item.content for item in view.walk_children() if isinstance(item, discord.ui.TextDisplay)]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("windows", [1, 24, 200])
def test_a_card_keeps_discords_limits_whatever_it_is_told(phase: Phase, windows: int) -> None:
    for locale in LANGUAGES:
        view = card_view(replace(face(phase, windows), locale=locale))
        assert view.content_length() <= 4000
        assert view.total_children_count <= 40
        assert all(len(text) > 0 for text in said(view))
        galleries = [item for item in view.walk_children() if isinstance(item, discord.ui.MediaGallery)]
        assert all(0 < len(item.description or "") <= 256 for gallery in galleries for item in gallery.items)


@given(SHAPES)
def test_words_of_a_person_come_out_as_words(text: str) -> None:
    """A reader of Discord's markdown finds nothing but text in them, and the text is theirs."""
    shown = one_line(text, 200)
    leaves = _leaves(markdown_tokens(f"> {shown}"))
    assert {leaf["type"] for leaf in leaves} <= {"text"}, leaves
    assert "".join(leaf["content"] for leaf in leaves).replace("\u200b", "") == plain(text, 200)


def _leaves(tokens: Any) -> list[dict[str, Any]]:
    """What is left of markdown when a quote's paragraphs are opened."""
    found: list[dict[str, Any]] = []
    for token in tokens:
        wraps = token["type"] in ("blockquote", "paragraph", "inline")
        found += _leaves(token["children"]) if wraps else [token]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "@everyone",
        "@here",
        "<@123456789012345678>",
        "<@&123456789012345678>",
        "<#123456789012345678>",
        "<t:1:R>",
        "</film:123456789012345678>",
        "https://evil.example",
        "[a](https://evil.example)",
    ],
)
def test_no_mention_and_no_link_of_a_person_is_alive(text: str) -> None:
    shown = one_line(text, 200)
    assert "@everyone" not in shown
    assert "@here" not in shown
    assert not shown.startswith("<")
    assert "](" not in shown.replace("\\](", "")
    assert "://" not in shown.replace("\\://", "")


def test_a_long_film_shows_the_windows_around_the_one_that_is_filmed_and_counts_the_rest() -> None:
    lines = plan_lines(face(Phase.RENDERING, text="the boat turns"), 1500)
    assert lines[0] == "✅ 3 davor"
    assert lines[2].startswith("▶️ **5**")
    assert lines[-1].startswith("+ ")
    shown = len(lines) - 2
    assert lines[-1] == f"+ {24 - 3 - shown} weitere"


def test_a_short_film_is_shown_whole_with_its_beats_in_seconds_of_the_film() -> None:
    lines = plan_lines(replace(face(Phase.DRAFT, 3, "turns"), job=None), 1500)
    assert len(lines) == 3
    assert "**6.8 s** turns 2" in lines[1].replace("6.75", "6.8")


def test_a_card_and_its_editor_count_seconds_of_a_film_whose_windows_discard_their_ends() -> None:
    beats = tuple(Beat(seconds=second, action="it runs") for second in (1.0, 3.0))
    told = Storyboard(title="", windows=(StoryboardWindow(scene="A dog.", beats=beats),) * 2)
    plan = compile_plan(told, Facts(QUALITY, 1, (picture(1),), discard_frames=8))
    first, second = windows_of(plan)
    assert (first.begins, first.ends) == (0, 73 / 16)
    assert (second.begins, second.ends) == (73 / 16, (73 + 68) / 16)
    assert [seconds for seconds, _ in second.beats] == [5.25, 7.25]
    assert beats_of("5.25 it runs\n7.25 it runs", plan, 1, "en-US") == beats
    with pytest.raises(UserError, match="8\\.81"):
        beats_of("9 it runs", plan, 1, "en-US")


@pytest.mark.parametrize("locale", LANGUAGES)
def test_every_stage_of_filming_is_told_with_the_window_of_the_whole_film(locale: str) -> None:
    third = tuple(window_face(number) for number in (3, 4))  # a continuation of two windows
    shown = set()
    for stage in Stage:
        progress = Progress(stage=stage, window=1, windows=2, step=3, steps=8)
        view = card_view(replace(face(Phase.RENDERING), locale=locale, windows=third, progress=progress, preview=None))
        (line,) = (each for text in said(view) for each in text.splitlines() if each.startswith(("▰", "▱")))
        windows = {Stage.LOADING: "", Stage.RESTORING: "12"}.get(stage, "34")  # restored is another film
        assert all(number in line for number in windows)
        shown.add(line)
    assert len(shown) == len(Stage)


def test_what_can_be_done_follows_from_the_phase() -> None:
    assert {phase: buttons_of(face(phase)) for phase in Phase} == {
        Phase.PLANNING: ("cancel",),
        Phase.DRAFT: ("film", "edit", "cancel"),
        Phase.QUEUED: ("cancel", "plan"),
        Phase.RENDERING: ("cancel", "plan"),
        Phase.JOINING: ("plan",),
        Phase.UPLOADING: (),
        Phase.DONE: (),
        Phase.FAILED: ("retry",),
        Phase.CANCELLED: ("retry",),
        Phase.REPLACED: (),
        Phase.PAUSED: (),
    }
    assert buttons_of(replace(face(Phase.FAILED), job=None)) == ()


def test_the_picture_of_a_card_is_described() -> None:
    assert "4" in alt_text(face(Phase.RENDERING, text="the boat turns"))
    assert "the boat turns" in alt_text(face(Phase.RENDERING, text="the boat turns"))
    under_way = replace(face(Phase.RENDERING, text="the boat turns"), preview=Preview(5, drawn=1))
    assert "Fenster 5, wie es entsteht: the boat turns" in alt_text(under_way)


async def filming(w: World) -> tuple[Any, discord.Message]:
    await w.say(w.ann, "15 s of my dog, he runs to the sea at 2 seconds, he jumps at 6 seconds", w.photo)
    message = w.last
    await w.ann.click(message, label="Film it")
    job = await w.work()
    await w.turn()
    return job, message


@pytest.mark.asyncio
async def test_every_state_looks_different_and_says_who_asked(tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    async with world(tmp_path) as w:
        async for name, message in states(w):
            seen[name] = texts_of(await _now(w, message))
    assert len(set(seen.values())) == len(seen) == len(STATES)
    for name, words in STATES.items():
        assert words in seen[name], (name, seen[name])
    assert seen["done"].count("\n") == 0
    assert "<t:" in seen["rendering"]
    assert "<t:" in seen["queued"]


@pytest.mark.asyncio
async def test_a_preview_is_sent_once_a_window_and_stays_when_numbers_change(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job, message = await filming(w)
        film_window(w, job, 1)
        await w.turn()
        first = (await _now(w, message)).attachments
        assert [a.filename for a in first] == ["preview.jpg"]
        for step in (1, 2, 3):
            w.progress(job, window=2, step=step)
            await w.turn()
            shown = await _now(w, message)
            assert f"step {step} of 8" in texts_of(shown)
            assert [a.id for a in shown.attachments] == [first[0].id]
            assert _galleries(shown) == 1
        film_window(w, job, 2)
        await w.turn()
        assert [a.id for a in (await _now(w, message)).attachments] != [first[0].id]
        w.finish(job)
        await w.turn()
        assert (await _now(w, message)).attachments == []


@pytest.mark.asyncio
async def test_a_preview_whose_file_is_gone_is_not_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job, message = await filming(w)
        film_window(w, job, 1).unlink()
        await w.turn()
        assert _galleries(await _now(w, message)) == 0


def draw_under_way(w: World, job: Any, number: int, shade: int) -> bytes:
    """Leave a picture of a window under way where its worker would: a grey one."""
    path = preview_file(w.studio.settings.renders, job.id, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, lasting=False) as partial:
        Image.new("RGB", (64, 16), (shade, shade, shade)).save(partial, "JPEG")
    return path.read_bytes()


async def pictures(w: World, message: discord.Message) -> list[bytes]:
    """The pictures that a card shows."""
    shown = await _now(w, message)
    assert _galleries(shown) == len(shown.attachments)
    return [await attachment.read() for attachment in shown.attachments]


@pytest.mark.asyncio
async def test_a_window_is_seen_while_it_takes_shape_and_then_as_it_ended(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job, message = await filming(w)
        for number in (1, 2):
            w.progress(job, window=number, step=1)
            before = await pictures(w, message)
            await w.turn(board.DRAWN_SECONDS)
            assert await pictures(w, message) == before, "of this window nothing is drawn yet"
            for shade in (50, 100):
                drawn = draw_under_way(w, job, number, shade * number)
                await w.turn(board.DRAWN_SECONDS)
                assert await pictures(w, message) == [drawn]
            finished = last_frame(film_window(w, job, number))
            await w.turn()
            assert await pictures(w, message) == [finished]
        w.finish(job)
        await w.turn()
        assert await pictures(w, message) == []


@pytest.mark.asyncio
async def test_a_window_that_is_developed_beside_the_next_one_stays_in_sight_and_under_way(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job, message = await filming(w)
        for number in (1, 2):
            w.progress(job, window=number, step=1)
            drawn = draw_under_way(w, job, number, 50 * number)
            await w.turn(board.DRAWN_SECONDS)
            w.progress(job, window=number + 1, step=1)
            await w.turn(board.DRAWN_SECONDS)
            assert await pictures(w, message) == [drawn], "no older one, and not none"
            marks = {line.split(" `")[0] for line in texts_of(await _now(w, message)).splitlines() if " s` · " in line}
            assert {f"{RUNNING} **{number}**", f"{RUNNING} **{number + 1}**"} <= marks
            film_window(w, job, number)


@pytest.mark.asyncio
async def test_a_window_that_was_kept_and_not_told_of_is_done_with_the_next_one(tmp_path: Path) -> None:
    """Its worker was killed in between."""
    async with world(tmp_path) as w:
        job, message = await filming(w)
        film_window(w, job, 2)
        w.progress(job, window=3, step=1)
        await w.turn()
        assert texts_of(await _now(w, message)).count(DONE) == 2


@pytest.mark.asyncio
async def test_pictures_of_a_window_under_way_are_sent_seldom_while_numbers_go_on(tmp_path: Path) -> None:
    """But the end of a window is shown at once."""
    async with world(tmp_path) as w:
        job, message = await filming(w)
        shown, uploads = [], []
        for step in range(1, 8):
            drawn = draw_under_way(w, job, 1, 30 * step)
            w.progress(job, window=1, step=step)
            await w.turn(board.DRAWN_SECONDS / 3)
            assert f"step {step} of 8" in texts_of(await _now(w, message))
            uploads.append((await _now(w, message)).attachments[0].id)
            shown.append(await pictures(w, message) == [drawn])
        assert shown == [True, False, False, True, False, False, True]
        assert len(set(uploads)) == 3
        finished = last_frame(film_window(w, job, 1))
        await w.turn()
        assert await pictures(w, message) == [finished]


@pytest.mark.asyncio
async def test_no_card_shows_a_picture_of_another_job_or_of_before_its_own(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        attic = w.guild.create_text_channel("attic")
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        mine = w.last
        await w.bob.send(attic, f"{w.mention} 5 s of my dog, he sleeps", attachments=(w.photo,))
        his = attic.last_message
        await w.ann.click(mine, label="Film it")
        await w.bob.click(his, label="Film it")
        job, other = await w.work(), await w.work()
        draw_under_way(w, job, 1, 50)  # left by a job of its number, in another database
        await w.turn(board.DRAWN_SECONDS)
        assert await pictures(w, mine) == []
        w.progress(job, window=1, step=1)
        w.progress(other, window=1, step=1)
        drawn = draw_under_way(w, job, 1, 100)
        await w.turn(board.DRAWN_SECONDS)
        assert await pictures(w, mine) == [drawn]
        assert next(m for m in attic.history() if m.id == his.id).attachments == []


@pytest.mark.asyncio
async def test_windows_are_posted_as_they_come_where_a_server_wants_that_once_each(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(post_windows=True))
        job, message = await filming(w)
        files = [film_window(w, job, 1), film_window(w, job, 2)]
        await w.turn()
        await w.turn()
        w.client.board._shown.clear()  # as after a restart
        await w.turn()
        posted = [m for m in w.messages if any(a.filename.startswith("job-") for a in m.attachments)]
        assert [m.attachments[0].filename for m in posted] == [f"job-{job.id}-window-00{n}.mp4" for n in (1, 2)]
        assert [await m.attachments[0].read() for m in posted] == [file.read_bytes() for file in files]
        assert all(m.reference and m.reference.message_id == message.id for m in posted)
        film_window(w, job, 3)  # the last: it comes with the film
        await w.turn()
        w.finish(job)
        await w.turn()
        assert [a.filename for a in w.last.attachments] == ["take-1.mp4"]
        assert "he runs to the sea" in (w.last.attachments[0].description or ""), "for who cannot see it"
        assert sum(bool(m.attachments) for m in w.messages) == 3


@pytest.mark.asyncio
async def test_windows_are_not_posted_where_nobody_asked_for_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job, message = await filming(w)
        film_window(w, job, 1)
        await w.turn()
        assert w.last.id == message.id


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_what_came_to_nothing_is_filmed_again_by_its_button(tmp_path: Path, end: str) -> None:
    async with world(tmp_path) as w:
        job, message = await filming(w)
        if end == "failed":
            w.studio.jobs.fail(job.id, job.attempts, "The GPU is *gone*.", retry=False)
        else:
            await w.ann.click(message, label="Cancel")
        await w.turn()
        if end == "failed":
            assert "The GPU is \\*gone\\*." in texts_of(await _now(w, message))
        refused = await w.bob.click(await _now(w, message), label="Try again")
        assert "Only <@" in str(refused)
        await w.ann.click(await _now(w, message), label="Try again")
        again = await w.work()
        assert again.id != job.id
        assert again.plan == job.plan
        assert "he runs to the sea" in texts_of(w.messages[-1])


@pytest.mark.asyncio
async def test_a_draft_that_is_thrown_away_says_cancelled_by_button_and_by_word(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for cancel in ("button", "word"):
            await w.say(w.ann, "5 s of my dog, he runs", w.photo)
            message = w.messages[-1]
            if cancel == "button":
                await w.ann.click(message, label="Cancel")
            else:
                await w.say(w.ann, "cancel", reply_to=message)
            assert "Cancelled" in texts_of(await _now(w, message)), cancel


@pytest.mark.asyncio
async def test_a_request_that_is_cancelled_while_it_is_planned_is_not_filmed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False))
        plan = w.studio.propose

        async def cancelled_meanwhile(*told: Any) -> Any:
            proposal = await plan(*told)
            await w.client.board.drop(1)
            return proposal

        w.studio.propose = cancelled_meanwhile  # type: ignore[method-assign]
        await w.say(w.ann, "5 s of my dog, he runs", w.photo)
        assert w.studio.jobs.queue() == []
        assert "Cancelled" in texts_of(w.last)


@pytest.mark.asyncio
async def test_a_take_says_what_it_continues_or_repeats_and_that_its_model_is_untrained(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job, _ = await filming(w)
        take = w.finish(job)
        assert take_text(take, "en-US") == "**My dog** · take #1 · 14.6 s · filmed in 0:06"
        next_one = take.model_copy(update={"errand": take.errand.model_copy(update={"parent": 7})})
        assert take_text(next_one, "en-US").endswith("· continues #7")
        sibling = take.model_copy(update={"errand": take.errand.model_copy(update={"parent": 7, "again_of": 8})})
        assert take_text(sibling, "en-US").endswith("· another take of #8")
        noise = take.model_copy(update={"film": take.film.model_copy(update={"trained": False})})
        assert "untrained" in take_text(noise, "en-US")
        assert "he runs to the sea" in take_alt(take, "en-US")


async def _now(w: World, message: discord.Message) -> discord.Message:
    return next(m for m in w.channel.history() if m.id == message.id)


def _galleries(message: discord.Message) -> int:
    def count(component: Any) -> int:
        own = isinstance(component, discord.MediaGalleryComponent)
        return own + sum(map(count, getattr(component, "children", ()) or ()))

    return sum(map(count, message.components))
