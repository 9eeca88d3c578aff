"""Slash commands and commands on messages: what they ask, who may, and what is answered."""

import json
from pathlib import Path

import discord
import pytest
from discord_world import World, settings_in, world

from bot.discord.client import WATCH_SECONDS, LongtakeClient
from bot.studio import Studio
from storage.schema import Person, Policy, Style

pytestmark = pytest.mark.asyncio
STORY = "5 s of my dog, he runs to the sea at 2 seconds"


def said(result) -> str:
    """What somebody was told privately."""
    parts = [message.content for message in (result.response, *result.followups) if message]
    assert result.ephemeral or all(message.ephemeral for message in result.followups), parts
    return "\n".join(dict.fromkeys(parts))


async def take_by(w: World, who=None):
    """A film of somebody, made with a command and without a look at the plan."""
    w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False, minutes_per_day=100))
    await (who or w.ann).slash(w.channel, "film", story=STORY, image1=w.photo)
    return await w.filmed()


# ---- films ----


async def test_film_maps_its_options_to_what_is_planned(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(
            f"discord:{w.guild.id}", Policy(styles=(Style(name="noir", words="In black and white."),))
        )
        result = await w.ann.slash(
            w.channel, "film", story="my dog runs to the sea", image1=w.photo, seconds=9.5, shape="tall", seed=41,
            quality="draft", style="noir",
        )  # fmt: skip
        assert "Planned" in said(result)
        (card,) = w.studio.cards.open_cards()
        plan, request = card.draft.plan, card.draft.request
        assert plan.size.height > plan.size.width
        assert (plan.seed, plan.sampling.steps, len(plan.windows)) == (41, 4, 2)
        assert request.text == "my dog runs to the sea. In black and white."
        assert card.asked.startswith("interaction:")
        await w.ann.click(w.messages[-1], label="Film it")
        assert len(w.studio.jobs.queue()) == 1


async def test_numbers_are_set_by_name_wherever_a_film_is_asked_for(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        numbers = "motion_amplitude=1.15 magcache=1.75"
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo, settings=numbers)
        await w.bob.slash(w.channel, "continue", happens="he swims", settings=numbers)
        await w.bob.slash(w.channel, "again", take=take.id, settings=numbers)
        samplings = [job.plan.sampling for job in w.studio.jobs.queue()]
        assert [each.motion_amplitude for each in samplings] == [1.15] * 3
        assert all(each.magcache and each.magcache.speed == 1.75 for each in samplings)
        result = await w.ann.slash(w.channel, "plan", story=STORY, image1=w.photo, settings="flow_shift=99")
        assert "flow_shift is a number from 1 to 25, not 99." in said(result)


async def test_several_takes_of_a_plan_are_jobs_of_their_own_with_cards_and_seeds(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False, minutes_per_day=100))
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo, seed=5, takes=3)
        plans = [job.plan for job in w.studio.jobs.queue()]
        assert len(plans) == len(w.messages) == 3
        assert plans[0].seed == 5
        assert len({plan.seed for plan in plans}) == 3
        assert len({plan.storyboard for plan in plans}) == 1


async def test_several_takes_each_wait_for_a_word_where_plans_are_shown_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo, takes=2)
        first, second = w.studio.cards.open_cards()
        assert first.draft.plan.seed != second.draft.plan.seed
        await w.ann.click(w.messages[-1], label="Film it")
        (job,) = w.studio.jobs.queue()
        assert job.plan == second.draft.plan


async def test_takes_beyond_a_persons_limit_are_said_and_the_others_are_filmed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False, queue_per_person=2))
        result = await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo, takes=4)
        assert "You have 2 films waiting" in said(result)
        assert len(w.studio.jobs.queue()) == len(w.studio.cards.open_cards()) == 2


async def test_film_offers_the_loras_of_the_library_and_a_style_may_bring_one(tmp_path: Path) -> None:
    library = tmp_path / "loras"
    library.mkdir()
    for name in ("clay", "noir"):
        (library / f"{name}.safetensors").write_bytes(name.encode())
        (library / f"{name}.json").write_text(json.dumps({"title": f"The {name}", "triggers": [f"{name} look"]}))
    async with world(tmp_path, lora_dir=library) as w:
        offered = await w.ann.autocomplete(w.channel, "film", "lora", "NOIR")
        assert [(choice["name"], choice["value"]) for choice in offered] == [("noir · The noir", "noir")]

        async def planned(**options: object) -> list[str]:
            said(await w.ann.slash(w.channel, "film", story="my dog runs", image1=w.photo, **options))
            plan = w.studio.cards.open_cards()[-1].draft.plan
            assert all(window.prompt.startswith(f"{plan.loras[0].name} look. ") for window in plan.windows)
            return [f"{lora.name} {lora.strength}" for lora in plan.loras]

        assert await planned(lora="clay:0.6") == ["clay 0.6"]
        adm = await admin(w)
        assert "There is no LoRA sepia" in said(
            await adm.slash(w.channel, "longtake styles add", name="old", words="Grainy.", lora="sepia")
        )
        said(await adm.slash(w.channel, "longtake styles add", name="dark", words="Dark.", lora="The noir"))
        assert await planned(style="dark") == ["noir 1"]
        assert await planned(style="dark", lora="clay") == ["clay 1"]
        refused = said(await w.ann.slash(w.channel, "film", story="a dog", image1=w.photo, lora="sepia"))
        assert "There is no LoRA sepia in the library: there are clay, noir." in refused
        await w.say(w.ann, "my dog runs, in the style of the noir", w.photo)
        plan = w.studio.cards.open_cards()[-1].draft.plan
        assert ([lora.name for lora in plan.loras], plan.storyboard.title) == (["noir"], "My dog runs")


async def test_film_takes_four_pictures_in_their_order(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        pictures = {f"image{n}": w.photo for n in range(1, 5)}
        await w.ann.slash(w.channel, "film", story="my dog runs, at 4 s picture 2", **pictures)
        (card,) = w.studio.cards.open_cards()
        assert [image.name for image in card.draft.request.images] == [f"picture {n}.png" for n in range(1, 5)]


async def test_what_goes_wrong_with_a_command_is_said_privately_and_leaves_no_card(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        result = await w.ann.slash(w.channel, "film", story=STORY)
        assert "A film starts from a picture: add one." in said(result)
        assert w.messages == []
        assert w.studio.cards.open_cards() == []


async def test_plan_costs_nothing_even_for_who_has_nothing_left(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(queue_per_person=1, approve=False))
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        result = await w.ann.slash(w.channel, "plan", story=STORY, image1=w.photo)
        assert "Planned" in said(result)
        card = w.studio.cards.open_cards()[-1]
        assert card.draft is not None
        assert len(w.studio.jobs.queue()) == 1, "a plan is not filmed by itself"
        pressed = await w.ann.click(w.messages[-1], label="Film it")
        assert "You have 1 films waiting" in said(pressed)
        assert w.studio.cards.get(card.id).draft is not None, "it waits until there is room"


async def test_a_plan_without_a_picture_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        result = await w.ann.slash(w.channel, "plan", story=STORY)
        assert "Add a picture" in said(result)
        assert "sea" in said(result)
        assert w.messages == []


async def test_continue_takes_the_channels_last_take_or_the_one_that_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first = await take_by(w)
        second = await take_by(w)
        await w.bob.slash(w.channel, "continue", happens="now he meets a crab")
        assert w.studio.jobs.queue()[0].errand.parent == second.id
        await w.bob.slash(w.channel, "continue", happens="now he sleeps", take=first.id, seconds=9.0)
        job = w.studio.jobs.queue()[-1]
        assert job.errand.parent == first.id
        assert len(job.plan.windows) == 2
        assert job.errand.requester == f"discord:{w.bob.id}", "it is charged to who asked"


async def test_continue_without_words_goes_on_in_the_same_spirit(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        await w.bob.slash(w.channel, "continue")
        assert w.studio.jobs.queue()[0].errand.parent == take.id


async def test_takes_are_offered_by_number_and_title_and_only_of_this_channel(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        other = w.guild.create_text_channel("other")
        offered = await w.bob.autocomplete(w.channel, "continue", "take", "")
        assert [choice["value"] for choice in offered] == [take.id]
        assert offered[0]["name"] == f"{take.id} · {take.plan.storyboard.title}"
        assert await w.bob.autocomplete(w.channel, "continue", "take", "no such title") == []
        assert await w.bob.autocomplete(other, "continue", "take", "") == []


async def test_no_more_than_25_takes_are_offered_the_newest_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        job = w.studio.jobs.get(take.job)
        for _ in range(27):
            w.studio.jobs.enqueue(job.plan, job.errand)
            claimed = w.studio.jobs.claim("w", 60)
            newest = w.studio.jobs.finish(claimed.id, claimed.attempts, take.film)
        offered = await w.bob.autocomplete(w.channel, "again", "take", "")
        assert [choice["value"] for choice in offered] == [newest.id - n for n in range(25)]


async def test_again_films_the_plan_with_the_seed_that_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        result = await w.bob.slash(w.channel, "again", seed=5)
        assert "Another take" in said(result)
        job = w.studio.jobs.queue()[0]
        assert (job.plan.seed, job.errand.again_of) == (5, take.id)


async def test_continue_without_any_take_says_what_to_do(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert "Film one with /film" in said(await w.ann.slash(w.channel, "continue", happens="more"))


async def test_cancel_takes_the_newest_of_ones_own_or_the_one_that_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False))
        for _ in range(2):
            await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        await w.bob.slash(w.channel, "film", story=STORY, image1=w.photo)
        offered = await w.ann.autocomplete(w.channel, "cancel", "film", "")
        assert [choice["value"] for choice in offered] == [2, 1], "one's own, the newest first"
        await w.ann.slash(w.channel, "cancel")
        assert [job.id for job in w.studio.jobs.queue()] == [1, 3]
        await w.ann.slash(w.channel, "cancel", film=1)
        assert [job.id for job in w.studio.jobs.queue()] == [3]
        assert "nothing of yours" in said(await w.ann.slash(w.channel, "cancel"))


async def test_show_posts_a_take_in_another_channel_where_it_can_be_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        other = w.guild.create_text_channel("other")
        result = await w.bob.slash(other, "show", take=take.id)
        assert "Posted" in said(result)
        shown = other.last_message
        assert [a.filename for a in shown.attachments] == ["take-1.mp4"]
        assert w.studio.takes.by_message(str(shown.id)) == take
        await w.bob.send(other, f"{w.mention} now he meets a crab", reply_to=shown)
        assert w.studio.jobs.queue()[0].errand.parent == take.id


@pytest.fixture
def rare_turns():
    """A watch that goes round every five minutes, or a quarter of an hour has 900 turns."""
    LongtakeClient.watching.change_interval(seconds=300)
    yield
    LongtakeClient.watching.change_interval(seconds=WATCH_SECONDS)


async def test_a_film_that_takes_longer_than_a_token_lives_is_delivered(tmp_path: Path, rare_turns: None) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False))
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        job = await w.work()
        await w.turn(16 * 60)
        take = w.finish(job)
        await w.turn(300)
        assert [a.filename for a in w.messages[-1].attachments] == [f"take-{take.id}.mp4"]


# ---- who may ----


async def hidden_take(w: World):
    """A take of a channel that Bob cannot see."""
    hide = {w.bob: discord.PermissionOverwrite(view_channel=False)}
    secret = w.guild.create_text_channel("secret", overwrites=hide)
    w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False))
    await w.ann.slash(secret, "film", story=STORY, image1=w.photo)
    return await w.filmed()


@pytest.mark.parametrize(("name", "options"), [("continue", {"happens": "more"}), ("again", {}), ("show", {})])
async def test_a_take_of_a_channel_that_one_cannot_see_is_refused_by_number(tmp_path: Path, name: str, options) -> None:
    async with world(tmp_path) as w:
        take = await hidden_take(w)
        refused = said(await w.bob.slash(w.channel, name, take=take.id, **options))
        assert f"Take {take.id} was made in a channel that you cannot see" in refused
        assert w.studio.jobs.queue() == []
        assert "Posted" in said(await w.ann.slash(w.channel, "show", take=take.id))


async def test_a_take_of_another_server_is_refused_by_number(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        elsewhere = w.env.create_guild("elsewhere")
        lobby = elsewhere.create_text_channel("lobby")
        ann = elsewhere.add_member(w.ann.user)
        await w.env.settle()
        for name, options in (("continue", {"happens": "more"}), ("again", {}), ("show", {})):
            assert "cannot see" in said(await ann.slash(lobby, name, take=take.id, **options))


async def test_a_take_of_a_direct_message_stays_there(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.ann.user.slash("film", story=STORY, image1=w.photo)
        w.studio.manners.keep_person(f"discord:{w.ann.id}", Person(approve=False))
        await w.ann.user.slash("film", story=STORY, image1=w.photo)
        take = await w.filmed()
        assert "cannot see" in said(await w.bob.slash(w.channel, "show", take=take.id))
        assert "cannot see" in said(await w.ann.slash(w.channel, "show", take=take.id))


async def test_commands_of_a_server_that_is_not_served_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path, discord_guilds="1,2") as w:
        assert "I do not film on this server" in said(await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo))


async def test_commands_are_there_in_direct_messages_but_for_the_admins(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        here = w.ann.user.available_commands()
        assert {"film", "continue", "me", "mydata delete"} <= set(here)
        assert not any(name.startswith("longtake") for name in here)
        result = await w.ann.user.slash("film", story=STORY, image1=w.photo)
        assert "Planned" in said(result)
        assert w.studio.cards.open_cards()[0].place == ""


# ---- looking around ----


async def test_the_queue_tells_places_and_hides_what_one_cannot_see(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert "nothing waits" in said(await w.bob.slash(w.channel, "queue"))
        await hidden_take(w)  # measured: a film of that kind took 6 s
        secret = w.guild.channels["secret"]
        await w.ann.slash(secret, "film", story=STORY, image1=w.photo)
        await w.work()
        await w.bob.slash(w.channel, "film", story=STORY, image1=w.photo)
        await w.ann.send_dm("hello")
        lines = said(await w.bob.slash(w.channel, "queue")).splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("▶ window 1 of 1 · a film in another channel")
        assert lines[1].startswith("number 1 in line · **")
        assert "⭐" in lines[1]
        assert "ready <t:" in lines[1]


async def test_the_queue_counts_other_places_without_telling_of_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", Policy(approve=False))
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        elsewhere = w.env.create_guild("elsewhere")
        lobby, cat = elsewhere.create_text_channel("lobby"), elsewhere.add_member(w.env.create_user("cat"))
        await w.env.settle()
        text = said(await cat.slash(lobby, "queue"))
        assert text == "1 more of other places share this queue."


async def test_the_gallery_pages_and_its_buttons_survive_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        job = w.studio.jobs.get(take.job)
        for _ in range(19):
            w.studio.jobs.enqueue(job.plan, job.errand)
            claimed = w.studio.jobs.claim("w", 60)
            w.studio.jobs.finish(claimed.id, claimed.attempts, take.film)
        result = await w.bob.slash(w.channel, "takes")
        text = said(result)
        assert "**20 takes**, newest first · page 1 of 3" in text
        assert text.index("**20**") < text.index("**19**")
        settings = settings_in(tmp_path)
        await w.env.restart_bot(LongtakeClient(Studio(settings), settings))
        page = next(m for m in (result.response, *result.followups) if m and m.components)
        await w.bob.click(page, label="Older")
        assert "page 2 of 3" in page.content
        await w.bob.click(page, label="Older")
        assert "page 3 of 3" in page.content
        posted = w.studio.takes.messages(take.id)[0]
        link = f"https://discord.com/channels/{w.guild.id}/{w.channel.id}/{posted}"
        assert f"[1]({link})" in page.content


async def test_the_tree_of_takes_stands_each_continuation_below_its_parent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await take_by(w)
        await take_by(w, w.bob)
        await w.bob.slash(w.channel, "continue", happens="now he meets a crab", take=1)
        await w.filmed()
        lines = said(await w.bob.slash(w.channel, "takes", order="tree")).splitlines()[1:]
        assert [line.lstrip(" ")[0] for line in lines] == ["*", "└", "*"]
        assert "[3]" in lines[1]
        only = said(await w.bob.slash(w.channel, "takes", person=w.ann)).splitlines()
        assert "**1 takes**" in only[0]


async def test_me_tells_what_is_left_and_keeps_defaults(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        text = said(await w.ann.slash(w.channel, "me"))
        assert f"You had {take.plan.new_seconds / 60:.1f} of 100 minutes" in text
        assert "<t:" in text
        await w.ann.slash(w.channel, "me", approve=True, seconds=9.5, notify=False)
        wants = w.studio.manners.person(f"discord:{w.ann.id}")
        assert (wants.approve, wants.seconds, wants.notify) == (True, 9.5, False)
        await w.ann.slash(w.channel, "film", story="my dog runs to the sea", image1=w.photo)
        card = w.studio.cards.open_cards()[-1]
        assert len(card.draft.plan.windows) == 2, "9.5 s"
        await w.ann.slash(w.channel, "film", story="5 s of my dog", image1=w.photo)
        assert len(w.studio.cards.open_cards()[-1].draft.plan.windows) == 1, "words that name a length win"
        await w.ann.slash(w.channel, "me", reset=True)
        assert w.studio.manners.person(f"discord:{w.ann.id}").approve is None


async def test_a_style_that_is_not_there_is_no_default(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert "There is no style noir here" in said(await w.ann.slash(w.channel, "me", style="noir"))


async def test_help_and_privacy_are_told_privately(tmp_path: Path) -> None:
    async with world(tmp_path, retention_days=30) as w:
        assert "/continue" in said(await w.ann.slash(w.channel, "help"))
        assert "for 30 days" in said(await w.ann.slash(w.channel, "privacy"))


# ---- one's own data ----


async def test_mydata_export_is_a_file_with_everything_and_for_oneself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await take_by(w)
        await take_by(w, w.bob)
        result = await w.ann.slash(w.channel, "mydata export")
        file = next(m for m in (result.response, *result.followups) if m and m.attachments)
        assert file.ephemeral
        told = json.loads(await file.attachments[0].read())
        assert told["person"] == f"discord:{w.ann.id}"
        assert [take["number"] for take in told["takes"]] == [1]
        assert told["requests"][0]["words"] == STORY
        assert str(w.bob.id) not in json.dumps(told)


async def test_mydata_delete_wants_to_be_meant(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await take_by(w)
        assert "Nothing was deleted" in said(await w.ann.slash(w.channel, "mydata delete", sure=False))
        assert w.studio.takes.last(f"discord:{w.channel.id}") is not None


# ---- commands on messages ----


async def test_film_from_this_message_takes_its_words_and_pictures(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for text in (STORY, f"{w.mention} {STORY}"):
            message = await w.bob.send(w.channel, text, attachments=[w.photo])
            result = await w.ann.context_menu(w.channel, "Film from this message", message)
            assert "Planned" in said(result)
            card = w.studio.cards.open_cards()[-1]
            assert (card.words, card.asker) == (STORY, f"discord:{w.ann.id}")


async def test_a_message_without_words_and_pictures_cannot_be_filmed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        message = await w.bob.send(w.channel, w.mention)
        assert "no story in that message" in said(
            await w.ann.context_menu(w.channel, "Film from this message", message)
        )


async def test_continue_this_take_asks_what_happens_next(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        for message in (w.messages[-1], w.messages[0]):  # the take, and its card
            shown = await w.bob.context_menu(w.channel, "Continue this take", message)
            fields = [c["component"]["custom_id"] for c in shown.modal["components"]]
            await w.bob.submit_modal(shown, {fields[0]: "now he meets a crab"})
            assert w.studio.jobs.queue()[-1].errand.parent == take.id


async def test_take_details_tells_prompts_and_seeds(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        take = await take_by(w)
        text = said(await w.bob.context_menu(w.channel, "Take details", w.messages[-1]))
        assert str(take.plan.windows[0].seed) in text


@pytest.mark.parametrize("name", ["Continue this take", "Take details"])
async def test_a_message_without_a_take_is_refused_with_what_to_choose(tmp_path: Path, name: str) -> None:
    async with world(tmp_path) as w:
        message = await w.bob.send(w.channel, "hello")
        assert "Choose one of my films" in said(await w.ann.context_menu(w.channel, name, message))


# ---- admins ----


async def admin(w: World):
    role = w.guild.create_role(
        "admins", permissions=discord.Permissions(manage_guild=True, view_channel=True, send_messages=True)
    )
    return w.guild.add_member(w.env.create_user("adm"), roles=[role])


async def test_the_admin_group_is_hidden_and_checked_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert not any(name.startswith("longtake") for name in w.ann.available_commands(w.channel))
        known = await w.client.tree.fetch_commands()
        group = next(command for command in known if command.name == "longtake")
        w.guild.set_command_permissions(group, {w.ann: True})
        given = {
            "channel": w.channel, "role": w.guild.default_role, "person": w.bob, "name": "noir", "words": "x",
            "policy": "spoiler", "who": "owner", "wanted": True, "days": 0, "sure": True,
        }  # fmt: skip
        for made in w.client.tree.get_command("longtake").walk_commands():
            options = {o.name: given[o.name] for o in getattr(made, "parameters", ()) if o.required}
            if isinstance(made, discord.app_commands.Command):
                refused = said(await w.ann.slash(w.channel, made.qualified_name, **options))
                assert "Only who may manage this server" in refused, made.qualified_name
        assert w.studio.manners.policy(f"discord:{w.guild.id}") == Policy()


async def test_every_setting_of_a_server_can_be_set_and_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        adm, here = await admin(w), f"discord:{w.guild.id}"
        role, other = w.guild.create_role("makers"), w.guild.create_text_channel("other")
        for path, options in (
            ("channels allow", {"channel": w.channel}),
            ("channels deny", {"channel": other}),
            ("roles allow", {"role": role}),
            ("limits", {"waiting": 2, "minutes": 5.0, "seconds": 20.0}),
            ("styles add", {"name": "noir", "words": "In black and white."}),
            ("restricted", {"policy": "spoiler"}),
            ("who-may continue", {"who": "owner"}),
            ("who-may cancel", {"who": "anyone"}),
            ("ban", {"person": w.bob}),
            ("approve", {"wanted": False}),
            ("post-windows", {"wanted": True}),
            ("log-channel", {"channel": other}),
            ("pause", {}),
        ):
            said(await adm.slash(w.channel, f"longtake {path}", **options))
        assert w.studio.manners.policy(here) == Policy(
            channels=(f"discord:{w.channel.id}",), refused_channels=(f"discord:{other.id}",),
            roles=(f"discord:{role.id}",),
            banned=(f"discord:{w.bob.id}",), queue_per_person=2, minutes_per_day=5.0, max_seconds=20.0, approve=False,
            post_windows=True, continue_by="owner", cancel_by="anyone", restricted="spoiler",
            styles=(Style(name="noir", words="In black and white."),), paused=True, log_channel=f"discord:{other.id}",
        )  # fmt: skip
        assert f"<@{adm.id}>: **New films are paused.**" in other.last_message.content
        status = said(await adm.slash(w.channel, "longtake status"))
        for part in ("0 filmed now", "2 films waiting", "5 minutes", "20 s", "noir", "spoiler", f"<@{w.bob.id}>"):
            assert part in status
        for path, options in (
            ("channels clear", {}),
            ("roles clear", {}),
            ("styles remove", {"name": "noir"}),
            ("unban", {"person": w.bob}),
            ("resume", {}),
            ("log-channel", {}),
        ):
            said(await adm.slash(w.channel, f"longtake {path}", **options))
        now = w.studio.manners.policy(here)
        assert (now.channels, now.refused_channels, now.roles, now.styles, now.banned) == ((), (), (), (), ())
        assert (now.paused, now.log_channel) == (False, None)


async def test_a_ban_and_a_pause_hold(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        adm = await admin(w)
        await adm.slash(w.channel, "longtake ban", person=w.bob)
        for name, options in (
            ("film", {"story": STORY, "image1": w.photo}),
            ("plan", {"story": STORY, "image1": w.photo}),
        ):
            assert "You may not ask for films" in said(await w.bob.slash(w.channel, name, **options))
        await adm.slash(w.channel, "longtake pause")
        await adm.slash(w.channel, "longtake approve", wanted=False)
        assert "Filming is paused" in said(await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo))
        await adm.slash(w.channel, "longtake resume")
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        assert len(w.studio.jobs.queue()) == 1


async def test_purge_deletes_what_is_older_on_this_server_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        adm = await admin(w)
        await take_by(w)
        assert "Deleted: 0 films" in said(await adm.slash(w.channel, "longtake purge", days=1, sure=True))
        assert "Nothing was deleted" in said(await adm.slash(w.channel, "longtake purge", days=0, sure=False))
        assert "Deleted: 1 films" in said(await adm.slash(w.channel, "longtake purge", days=0, sure=True))
        await w.env.settle()
        assert w.studio.takes.last(f"discord:{w.channel.id}") is None


async def test_troubles_are_reported_to_the_log_channel(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        log = w.guild.create_text_channel("log")
        policy = Policy(approve=False, log_channel=f"discord:{log.id}")
        w.studio.manners.keep_policy(f"discord:{w.guild.id}", policy)
        await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo)
        job = await w.work()
        w.studio.jobs.fail(job.id, job.attempts, "The card burnt.", retry=False)
        await w.turn()
        assert "Job 1" in log.last_message.content
        assert "The card burnt." in log.last_message.content


# ---- what Discord is told ----


async def test_discord_is_told_of_the_commands_once_until_they_change(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        puts = [entry for entry in w.env.http_requests if entry.method == "PUT" and entry.path.endswith("/commands")]
        assert len(puts) == 1
        settings = settings_in(tmp_path)
        await w.env.restart_bot(LongtakeClient(Studio(settings), settings))
        puts = [entry for entry in w.env.http_requests if entry.method == "PUT" and entry.path.endswith("/commands")]
        assert len(puts) == 1
        assert "Planned" in said(await w.ann.slash(w.channel, "film", story=STORY, image1=w.photo))


async def test_every_command_fits_discord_and_has_its_texts(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        tree = w.client.tree
        commands = list(tree.walk_commands())
        assert {"film", "longtake who-may continue", "mydata delete"} <= {c.qualified_name for c in commands}
        for made in commands:
            assert 1 <= len(made.description) <= 100, made.qualified_name
            for option in getattr(made, "parameters", ()):
                assert 1 <= len(option.description) <= 100
                assert option.description != "…", f"{made.qualified_name} {option.name}"
