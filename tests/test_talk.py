"""A conversation through the studio: real SQLite, real files, the rules or a scripted model server; nobody films."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from filming import draw
from scripted_model import Script, least, served

from bot.cli.talk import pictures_in
from bot.conversation import Conversation, Reply
from bot.settings import BotSettings
from bot.studio import Studio
from bot.wish import Wish
from planner.settings import PlannerSettings
from storage.schema import Film, JobState, Storyboard, UserError

T = TypeVar("T")


@pytest.fixture
def settings(tmp_path: Path) -> BotSettings:
    return BotSettings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def studio(settings: BotSettings) -> Studio:
    return Studio(settings)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return draw(tmp_path / "dog.png", 1)


def say(studio: Studio, text: str, *images: Path, **more: Any) -> Reply:
    wish = Wish(**{"text": text, "channel": "garden", "requester": "ann", "images": images, **more})
    return asyncio.run(Conversation(studio).talk(wish))


def board(reply: Reply) -> Storyboard:
    assert reply.draft is not None
    return reply.draft.plan.storyboard


def actions(reply: Reply) -> list[list[str]]:
    return [[beat.action for beat in window.beats] for window in board(reply).windows]


def film(studio: Studio, job: int) -> int:
    """Do as a worker that finishes a job; returns the take."""
    claimed = studio.jobs.claim("w", 30)
    assert claimed is not None
    assert claimed.id == job
    video = studio.media.add_bytes(b"video")
    frames = 81 + 76 * (len(claimed.plan.windows) - 1)
    done = Film(video=video, tail=studio.media.add_bytes(b"tail"), frames=frames, render_seconds=6.0)
    return studio.jobs.finish(job, claimed.attempts, done).id


def test_a_draft_is_made_changed_lengthened_and_filmed(studio: Studio, photo: Path) -> None:
    first = say(studio, "my dog runs on the beach, then he digs a hole, 10 s", photo)
    assert actions(first) == [["my dog runs on the beach"], ["he digs a hole"]]
    sunset = say(studio, "make it sunset")
    assert actions(sunset) == actions(first)
    assert all("At sunset." in window.scene for window in board(sunset).windows)
    crab = say(studio, "now he meets a crab")
    assert actions(crab) == [*actions(first), ["he meets a crab"]]
    assert board(crab).windows[:2] == board(sunset).windows
    seeds = [[window.seed for window in reply.draft.plan.windows] for reply in (first, sunset, crab) if reply.draft]
    assert seeds[0] == seeds[1] == seeds[2][:2]
    sits = say(studio, "in the second window he should sit down instead of digging")
    assert actions(sits) == [["my dog runs on the beach"], ["he sits down"], ["he meets a crab"]]
    filmed = say(studio, "looks good, film it 👍")
    assert filmed.job is not None
    assert filmed.job.plan == sits.draft.plan if sits.draft else False
    with pytest.raises(UserError, match="There is no draft to film any more"):
        say(studio, "film it")  # the draft is taken: nothing is filmed twice


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        ("cat.png she runs", "she runs"),
        ("'my cat.png' she runs", "she runs"),
        ('she runs "my cat.png"', "she runs"),
        ("my\\ cat.png she runs  twice", "she runs  twice"),
        ("~/cat.png she runs", "she runs"),
        ("she's on 'my cat.png' and it's dark", "she's on and it's dark"),
    ],
)
def test_pictures_are_named_as_a_terminal_pastes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, rest: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    named = draw(tmp_path / ("my cat.png" if "my" in message else "cat.png"), seed=1)
    pictures, text = pictures_in(message)
    assert [picture.resolve() for picture in pictures] == [named.resolve()]
    assert text == rest
    for other in (message.replace("cat", "dog"), "~3 s of ~nobody/cat.png"):
        assert pictures_in(other) == ([], other)


def test_behind_a_finished_film_the_same_words_are_about_the_film(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    take = film(studio, job.id)
    calmer = say(studio, "again but calmer")
    assert calmer.draft is not None
    assert (calmer.draft.draft.parent, calmer.draft.plan.source.kind) == (None, "image")
    assert say(studio, "cancel that").lines == ("The draft is thrown away.",)
    further = say(studio, "and then a cat arrives")
    assert further.draft is not None
    assert (further.draft.draft.parent, further.draft.plan.first_window) == (take, 2)
    say(studio, "never mind")
    again = say(studio, "again")
    assert again.job is not None  # another take needs no word more
    assert (again.job.plan.storyboard, again.job.errand.again_of) == (job.plan.storyboard, take)
    assert again.job.plan.seed != job.plan.seed


def test_a_draft_behind_a_take_is_lengthened_behind_the_take(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    take = film(studio, job.id)
    say(studio, "then it sleeps")
    longer = say(studio, "then it wakes up")
    assert longer.draft is not None
    assert (longer.draft.draft.parent, longer.draft.plan.first_window, len(longer.draft.plan.windows)) == (take, 2, 2)
    assert re.search(r"14\.6 s in all, 2 new windows", longer.lines[0])


def test_two_people_do_not_film_the_same_draft(settings: BotSettings, photo: Path) -> None:
    one, other = Studio(settings), Studio(settings)
    say(one, "a dog runs", photo)
    assert one.channels.take_draft("garden") is not None
    assert other.channels.take_draft("garden") is None


def test_a_channel_does_not_hear_of_another_ones_draft(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs", photo)
    with pytest.raises(UserError):
        say(studio, "make it sunset", channel="kitchen")
    assert studio.channels.draft("kitchen") is None


def test_pictures_of_a_longer_draft_keep_their_numbers(studio: Studio, photo: Path, tmp_path: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    longer = say(studio, "continue: a cat arrives, 5 s", draw(tmp_path / "cat.png", 2))
    assert longer.draft is not None
    assert [window.anchor for window in board(longer).windows] == [None, 2]
    assert longer.draft.plan.windows[1].anchor == longer.draft.draft.request.images[1].media
    ends = say(studio, "end on picture 1")
    assert ends.draft is not None
    assert ends.draft.plan.windows[1].anchor == longer.draft.draft.request.images[0].media


# ---- questions and settings ----


def test_questions_are_answered_from_facts(studio: Studio, photo: Path) -> None:
    assert say(studio, "status").lines[0] == "Nothing of this channel is being filmed."
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    assert say(studio, "how long is the queue?").lines[0] == f"Job {job.id}, “A dog runs”: queued, number 1."
    assert say(studio, "status", channel="kitchen").lines[0] == (
        "Nothing of this channel is being filmed; 1 of other channels."
    )
    slow = say(studio, "why is it slow?").lines
    assert "A window of 5 s is 8 steps with preset demo, 8 runs of the network." in slow
    assert any("was not measured" in line for line in slow)
    film(studio, job.id)
    assert "The last 1 takes like that took 0:06 a window." in say(studio, "why is it slow?").lines
    assert any("at most 120 s" in line for line in say(studio, "what is the longest film?").lines)
    assert say(studio, "help").lines == say(studio, "what can you do?").lines


def test_a_draft_takes_a_lora_keeps_it_in_what_follows_and_gives_it_back(settings: BotSettings, photo: Path) -> None:
    library = photo.parent / "loras"
    library.mkdir()
    (library / "clay.safetensors").write_bytes(b"clay")
    (library / "clay.json").write_text('{"title": "Clay", "triggers": ["clay figure"]}')
    studio = Studio(settings.model_copy(update={"lora_dir": library}))
    assert "LoRAs, “in the style of …”: Clay." in say(studio, "which loras are there?").lines

    def prompts(reply: Reply) -> list[str]:
        assert reply.draft is not None
        return [window.prompt for window in reply.draft.plan.windows]

    plain = prompts(say(studio, "a dog runs, 5 s", photo))
    assert prompts(say(studio, "make it in the style of clay")) == [f"clay figure. {prompt}" for prompt in plain]
    assert prompts(say(studio, "without LoRAs, please")) == plain
    styled = prompts(say(studio, "again, but with the LoRA Clay at 0.6"))
    assert styled == [f"clay figure. {prompt}" for prompt in plain]
    job = say(studio, "film it").job
    assert job is not None
    film(studio, job.id)
    further = say(studio, "now he jumps")
    assert prompts(further)[0].startswith("clay figure. ")
    assert further.draft is not None
    assert [(lora.name, lora.strength) for lora in further.draft.plan.loras] == [("clay", "0.6")]
    with pytest.raises(UserError, match="There is no LoRA sepia in the library: there are clay"):
        say(studio, "with the LoRA sepia")


def test_a_quality_run_is_counted_with_its_guidance(settings: BotSettings) -> None:
    studio = Studio(settings.model_copy(update={"preset": "quality"}))
    assert any("30 steps with preset quality, 60 runs" in line for line in say(studio, "why is it slow?").lines)


def test_settings_in_words_hold_for_a_draft_or_for_the_channel(studio: Studio, photo: Path) -> None:
    assert say(studio, "vertical please").lines == (
        "Set: portrait, 144x256.",
        "The next films of this channel begin with that.",
    )
    upright = say(studio, "a dog runs, 5 s", photo)
    assert upright.draft is not None
    assert str(upright.draft.plan.size) == "144x256"
    wide = say(studio, "make it square")
    assert wide.draft is not None
    assert wide.draft.plan.size.width == wide.draft.plan.size.height
    assert actions(wide) == actions(upright)
    fast = say(studio, "faster please")
    assert fast.draft is not None
    assert fast.draft.plan.sampling.steps == 4
    assert "Set: fast (preset demo-fast, 4 steps)." in fast.lines
    steady = say(studio, "less shaky")
    assert all("The camera is steady" in window.scene for window in board(steady).windows)


def test_a_revision_changes_no_setting_but_those_that_are_said(settings: BotSettings, photo: Path) -> None:
    studio = Studio(settings.model_copy(update={"preset": "lightning"}))
    say(studio, "a dog runs, 5 s", photo)
    best = say(studio, "best quality, 720p").draft
    assert best is not None
    assert best.plan.sampling.steps == 30
    for words in ("less shaky", "vertical", "less motion", "with seed 5"):
        changed = say(studio, words).draft
        assert changed is not None
        assert (changed.plan.sampling, changed.plan.loras) == (best.plan.sampling, best.plan.loras), words
    assert str(changed.plan.size) == "720x1280"
    assert changed.plan.seed == 5
    fast = say(studio, "faster please").draft
    assert fast is not None
    assert fast.plan.sampling.steps < 30
    assert fast.plan.size == changed.plan.size


def test_numbers_in_words_or_by_name_hold_for_the_channel_the_draft_and_the_film(studio: Studio, photo: Path):
    remembered = say(studio, "add film grain, 32 fps").lines
    assert "Set: interpolation=2 grain=0.1." in remembered
    assert any("interpolation=2 grain=0.1" in line for line in say(studio, "settings").lines)
    drafted = say(studio, "a dog runs", photo, settings=("magcache=2 grain=0.3",)).draft
    assert drafted is not None
    plan = drafted.plan
    assert (plan.finish.grain, plan.finish.interpolation, plan.sampling.magcache.speed) == (0.3, 2, 2)
    changed = say(studio, "make it sunset, skip steps").draft
    assert changed is not None
    assert (changed.plan.finish.grain, changed.plan.sampling.magcache.speed) == (0.3, 1.75), "said last"
    with pytest.raises(UserError, match="the nearest is shift"):
        say(studio, "film it", settings=("shft=3",))


def test_a_change_while_the_film_waits_names_it_and_films_nothing(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    for text in ("make it night", "faster, please", "again but calmer"):
        with pytest.raises(UserError, match=f"Job {job.id}, “A dog runs”, is on its way and cannot be changed"):
            say(studio, text)
    assert "Set for this channel" not in " ".join(say(studio, "settings").lines)
    with pytest.raises(UserError, match="add one"):
        say(studio, "make it night", requester="bob")
    assert board(say(studio, "make it night, a car stops, 5 s", photo)).title != job.plan.storyboard.title


def test_a_change_means_the_own_film_that_waits_unless_one_has_ended_since(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo, requester="bob")
    first = say(studio, "film it", requester="bob").job
    say(studio, "a car stops, 5 s", photo)
    second = say(studio, "film it").job
    say(studio, "a cat sleeps, 5 s", photo)
    third = say(studio, "film it").job
    assert first is not None
    assert second is not None
    assert third is not None
    film(studio, first.id)
    with pytest.raises(UserError, match=f"Job {third.id}, “A cat sleeps”, is on its way"):
        say(studio, "make it night")
    film(studio, second.id)
    changed = say(studio, "make it night").draft
    assert changed is not None
    assert changed.draft.plan.storyboard.title == "A car stops"


def test_cancel_means_the_own_newest_job_or_the_named_one(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    assert say(studio, "cancel", requester="bob").lines == ("There is nothing of yours to cancel here.",)
    with pytest.raises(UserError, match="no job 99"):
        say(studio, "cancel job 99")
    assert say(studio, "stop stop!").lines == (f"Job {job.id} is cancelled.",)
    assert studio.jobs.get(job.id).state is JobState.CANCELLED


def test_cancel_all_means_every_open_job_of_the_asker_here_and_the_draft(studio: Studio, photo: Path) -> None:
    def queued(**more: Any) -> int:
        say(studio, "a dog runs, 5 s", photo, **more)
        job = say(studio, "film it", **more).job
        assert job is not None
        return job.id

    first, bobs, second = queued(), queued(requester="bob"), queued()
    elsewhere = queued(channel="kitchen")
    assert studio.jobs.claim("w", 30) is not None
    said = say(studio, "cancel all", message="7")
    assert said.lines == (f"Jobs {first}, {second} are cancelled.",)
    third = queued()
    assert say(studio, "cancel all", message="7").lines == said.lines, "it is heard again"
    assert [job.id for job in studio.jobs.open_in("garden")] == [bobs, third]
    say(studio, "a car stops, 5 s", photo)
    assert say(studio, "cancel everything").lines == (f"Job {third} is cancelled.", "The draft is thrown away.")
    assert say(studio, "cancel everything").lines == ("There is nothing of yours to cancel here.",)
    assert {job.id for job in studio.jobs.queue()} == {bobs, elsewhere}


def test_cancel_all_that_answers_a_take_means_all_that_goes_on_from_it(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    take = film(studio, job.id)
    say(studio, "a car stops, 5 s", photo)
    other = say(studio, "film it").job
    assert other is not None
    further = [reply.job.id for _ in range(2) if (reply := say(studio, "again", take=take)).job]
    assert say(studio, "cancel all", take=take).lines == (f"Jobs {further[0]}, {further[1]} are cancelled.",)
    assert [job.id for job in studio.jobs.queue()] == [other.id]


def test_cancel_that_answers_a_take_means_what_goes_on_from_it_and_then_the_draft(studio: Studio, photo: Path) -> None:
    say(studio, "a dog runs, 5 s", photo)
    job = say(studio, "film it").job
    assert job is not None
    take = film(studio, job.id)
    say(studio, "a car stops, 5 s", photo)
    other = say(studio, "film it").job
    further = say(studio, "again", take=take).job
    assert other is not None
    assert further is not None
    say(studio, "and then a cat arrives", take=take)
    said = [say(studio, "cancel", take=take).lines for _ in range(3)]
    assert said == [
        (f"Job {further.id} is cancelled.",),
        ("The draft is thrown away.",),
        (f"Take {take} is filmed already, and nothing of yours that goes on from it waits.",),
    ]
    assert [job.id for job in studio.jobs.queue()] == [other.id]


# ---- what is not filmed ----


def test_a_blocked_word_is_refused_and_nothing_is_kept(settings: BotSettings, photo: Path, tmp_path: Path) -> None:
    words = tmp_path / "blocked.txt"
    words.write_text("# what we do not film\nclown*\nred  balloon\n")
    planner = PlannerSettings(blocklist=str(words), _env_file=None)  # type: ignore[call-arg]
    studio = Studio(settings, planner)
    for text in ("a CLOWNS runs", "a cl\u200bown runs", "a red, balloon flies"):
        with pytest.raises(UserError, match=r"^That is not filmed here\.$"):
            say(studio, text, photo)
    assert studio.channels.draft("garden") is None
    assert not [path for path in studio.media.root.rglob("*") if path.is_file()]
    assert say(studio, "a crown falls", photo).draft is not None
    for command in (studio.film, studio.sketch):
        with pytest.raises(UserError, match="not filmed here"):
            asyncio.run(command(Wish("clowns", "garden", "ann", (photo,))))


def test_words_of_a_director_are_judged_as_well(settings: BotSettings, photo: Path, tmp_path: Path) -> None:
    """A function of the owner's own, named in the settings, hears of requests and of the prompts made of them."""
    planner = PlannerSettings(moderation="test_talk:no_secrets", _env_file=None)  # type: ignore[call-arg]
    studio = Studio(settings, planner)
    with pytest.raises(UserError, match="The prompts are secret"):
        say(studio, "a dog runs", photo)
    assert studio.channels.draft("garden") is None


def no_secrets(case: Any) -> str | None:
    return "The prompts are secret." if case.text.startswith(("(at", "A dog", "a dog runs (at")) else None


@pytest.mark.parametrize("name", ["nothing", "no.such:thing", "test_talk:not_there"])
def test_a_moderation_function_that_is_not_there_is_said(settings: BotSettings, name: str) -> None:
    with pytest.raises(UserError, match=f"LONGTAKE_MODERATION names {name}"):
        Studio(settings, PlannerSettings(moderation=name, _env_file=None))  # type: ignore[call-arg]


@pytest.mark.parametrize(("name", "setting"), [("/no/such.gguf", "LLM"), ("/no/list.txt", "BLOCKLIST")])
def test_a_file_that_is_not_there_is_said(settings: BotSettings, name: str, setting: str) -> None:
    with pytest.raises(UserError, match=f"LONGTAKE_{setting} names {name}"):
        Studio(settings, PlannerSettings(**{setting.lower(): name}, _env_file=None))  # type: ignore[arg-type]


# ---- with a language model ----


def with_model(
    script: Script, settings: BotSettings, act: Callable[[Studio], Awaitable[T]], *, sees: bool = False
) -> T:
    async def run() -> T:
        async with served(script, sees=sees) as server:
            planner = PlannerSettings(llm=server._address, llm_eyes="yes" if sees else "", _env_file=None)  # type: ignore[call-arg]
            async with Studio(settings, planner) as studio:
                return await act(studio)

    return asyncio.run(run())


def test_a_model_is_asked_what_a_message_means_where_the_rules_cannot_know(settings: BotSettings, photo: Path) -> None:
    def answers(body: dict[str, Any]) -> str:
        form = body["response_format"]["json_schema"]["schema"]
        if "kind" in form["properties"]:
            return json.dumps({"kind": "help" if "quack" in body["messages"][-1]["content"] else "film"})
        return json.dumps(least(form))

    script = Script([answers])

    async def act(studio: Studio) -> tuple[Reply, Reply, Reply]:
        wish = Wish("a duck swims", "garden", "ann", (photo,))
        draft = await Conversation(studio).talk(wish)
        asked = await Conversation(studio).talk(Wish("quack quack quack", "garden", "ann"))
        command = await Conversation(studio).talk(Wish("cancel", "garden", "ann"))
        return draft, asked, command

    draft, asked, command = with_model(script, settings, act)
    assert draft.draft is not None
    assert asked.lines[0].startswith("Send a picture")
    assert command.lines == ("The draft is thrown away.",)
    kinds = [
        form["properties"]["kind"]["enum"]
        for form in map(script.form, range(len(script.asked)))
        if "kind" in form["properties"]
    ]
    assert len(kinds) == 1  # a new picture and a command need no question
    assert "approve" in kinds[0]
    question = next(
        body for body in script.asked if "kind" in body["response_format"]["json_schema"]["schema"]["properties"]
    )
    assert "A draft is being discussed" in question["messages"][-1]["content"]


def test_a_model_may_say_that_words_mean_the_film_that_waits(settings: BotSettings, photo: Path) -> None:
    def answers(body: dict[str, Any]) -> str:
        form = body["response_format"]["json_schema"]["schema"]
        if "kind" in form["properties"]:
            asked = body["messages"][-1]["content"]
            return json.dumps({"kind": "revise" if "Their film that waits" in asked else "film"})
        return json.dumps(least(form))

    async def act(studio: Studio) -> None:
        conversation = Conversation(studio)
        await conversation.talk(Wish("a duck swims, 5 s", "garden", "ann", (photo,)))
        await conversation.talk(Wish("film it", "garden", "ann"))
        with pytest.raises(UserError, match="add one"):
            await conversation.talk(Wish("snow would be nicer", "garden", "bob"))
        with pytest.raises(UserError, match=r"Job 1, .* is on its way"):
            await conversation.talk(Wish("snow would be nicer", "garden", "ann"))

    with_model(Script([answers]), settings, act)


def test_a_model_that_sees_is_shown_small_pictures_and_their_colours(settings: BotSettings, tmp_path: Path) -> None:
    script = Script([lambda body: json.dumps(least(body["response_format"]["json_schema"]["schema"]))])
    photo = draw(tmp_path / "big.png", 3, (2000, 1000))

    async def act(studio: Studio) -> Reply:
        return await Conversation(studio).talk(Wish("a duck swims", "garden", "ann", (photo,)))

    with_model(script, settings, act, sees=True)
    text, picture = script.asked[0]["messages"][-1]["content"]
    assert re.search(r"1: <<<big\.png>>>, 2000x1000 \(wide\), mostly \w+", text["text"])
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert len(picture["image_url"]["url"]) < 100_000


def test_a_model_that_fails_leaves_the_conversation_to_the_rules(settings: BotSettings, photo: Path) -> None:
    async def act(studio: Studio) -> tuple[Reply, Reply]:
        first = await Conversation(studio).talk(Wish("a duck swims", "garden", "ann", (photo,)))
        return first, await Conversation(studio).talk(Wish("make it sunset", "garden", "ann"))

    first, second = with_model(Script([""], status=503), settings, act)
    for reply in (first, second):
        assert reply.lines[-1] == "Planned by rules: the language model server director answered with status 503." or (
            "answered with status 503" in reply.lines[-1]
        )
    assert all("At sunset." in window.scene for window in board(second).windows)
