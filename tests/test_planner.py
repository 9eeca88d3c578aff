"""Requests to plans, as a person meets them: what is meant, what is continued, what is said back."""

import asyncio

import pytest
from directing import CLIP, anchors, cameras, directed, filmed, picture, plan_of, request, take_of, timeline
from hypothesis import given
from hypothesis import strategies as st

from planner.brief import Brief, OnPlanning, Told
from planner.commands import calls_off
from planner.compiler import window_seed
from planner.director import Director
from planner.intent import Context, understand
from planner.presets import DEMO, PRESETS, QUALITY
from planner.rules import CREDIT, GOES_ON
from storage.schema import (
    ContinueTake,
    ContinueVideo,
    IntentKind,
    Plan,
    Size,
    Storyboard,
    StoryboardWindow,
    Tuning,
    UserError,
)
from storage.timeline import film_seconds, film_time

FILM = plan_of("10 s: a dog runs on the beach, then it digs a hole, slow zoom out", seed=11)
TAKE = take_of(filmed(FILM))
REPLY = Context(replied=TAKE, last=TAKE)
CHANNEL = Context(last=TAKE)


@pytest.mark.parametrize(
    ("text", "kind", "story"),
    [
        ("a dog runs", "film", "a dog runs"),
        ("and then he jumps", "continue", "he jumps"),
        ("dann springt er", "continue", "springt er"),
        ("然后它跳", "continue", "它跳"),
        ("continue", "continue", ""),
        ("Continue: he jumps", "continue", "he jumps"),
        ("keep going for 10 seconds", "continue", ""),
        ("please continue the film with a jump", "continue", "a jump"),
        ("mach weiter, er springt", "continue", "er springt"),
        ("継続", "film", "継続"),
        ("続けて、彼は跳ぶ", "continue", "彼は跳ぶ"),
        ("继续", "continue", ""),
        ("sigue", "continue", ""),
        ("continues to run", "film", "continues to run"),
        ("again", "another_take", ""),
        ("Another take, please!", "another_take", ""),
        ("try again", "another_take", ""),
        ("noch mal bitte", "another_take", ""),
        ("encore une fois", "another_take", ""),
        ("もう一度", "another_take", ""),
        ("again and again he jumps", "film", "again and again he jumps"),
        ("the dog runs again", "film", "the dog runs again"),
        ("again, but slower", "revise", "slower"),
        ("same but at night", "revise", "at night"),
        ("make it 20 s", "revise", ""),
        ("das gleiche, aber nachts", "revise", "nachts"),
        ("cancel", "cancel", ""),
        ("stop it please", "cancel", ""),
        ("cancel job 12", "cancel", ""),
        ("取消", "cancel", ""),
        ("stop the car and get out", "film", "stop the car and get out"),
        ("status", "status", ""),
        ("how long will it take?", "status", ""),
        ("is it ready yet?", "status", ""),
        ("settings", "settings", ""),
        ("show me the presets", "settings", ""),
        ("help", "help", ""),
        ("?", "help", ""),
        ("was kannst du", "help", ""),
        ("", "help", ""),
        ("help arrives, then they cheer", "film", "help arrives, then they cheer"),
    ],
)
def test_a_message_in_a_channel_is_understood(text: str, kind: str, story: str) -> None:
    intent = understand(request(text), CHANNEL)
    assert (intent.kind, intent.story) == (IntentKind(kind), story)
    assert intent.take == (None if kind == "film" or not text else TAKE.id)


@pytest.mark.parametrize(
    ("text", "kind", "story"),
    [
        ("he jumps", "continue", "he jumps"),
        ("and then he jumps", "continue", "he jumps"),
        ("a cat arrives, 5 s", "continue", "a cat arrives"),
        ("but with a cat", "revise", "a cat"),
        ("slower please", "revise", "slower"),
        ("without the zoom", "revise", "without the zoom"),
        ("again", "another_take", ""),
        ("delete it", "cancel", ""),
        ("delete the dog", "revise", "delete the dog"),
        ("again please, but slower", "revise", "slower"),
        ("again 20 s", "revise", ""),
        ("again for 20 seconds.", "revise", ""),
        ("again 20 dogs run", "continue", "again 20 dogs run"),
        ("status", "status", ""),
        ("run", "continue", "run"),
        ("nice, now he jumps", "continue", "nice, now he jumps"),
        ("beautiful dog", "continue", "beautiful dog"),
    ],
)
def test_what_answers_a_film_goes_on_with_it(text: str, kind: str, story: str) -> None:
    intent = understand(request(text), REPLY)
    assert (intent.kind, intent.story, intent.take) == (IntentKind(kind), story, TAKE.id)


@pytest.mark.parametrize("around", [REPLY, CHANNEL, Context()])
@pytest.mark.parametrize(
    "text",
    ["nice!", "wow", "Love it, thanks!", "haha that's so funny", "😂😂", "no", "sehr schön", "c'est magnifique !",
     "太棒了", "why is it so dark?"],
)  # fmt: skip
def test_a_remark_is_no_story(text: str, around: Context) -> None:
    assert understand(request(text), around).kind is IntentKind.HELP


@pytest.mark.parametrize("around", [REPLY, CHANNEL, Context()])
@pytest.mark.parametrize("text", ["film it", "yes", "OK, go ahead", "mach es", "撮って"])
def test_a_word_that_films_a_draft_is_no_story_without_one(text: str, around: Context) -> None:
    assert understand(request(text), around).kind is IntentKind.APPROVE
    assert understand(request(text, 1), around).kind is not IntentKind.APPROVE


@pytest.mark.parametrize("around", [REPLY, CHANNEL, Context()])
@pytest.mark.parametrize(
    "text",
    ["cancel all", "Cancel everything!", "please stop all of my films", "cancel them all", "cancel my jobs",
     "alles abbrechen", "brich alle meine Filme ab", "brich bitte alles ab", "stopp alles, bitte", "cancela todo",
     "cancélalas todas", "para todos mis vídeos por favor", "annule tout", "annule-les tous", "tout arrêter",
     "cancela tudo", "cancele todos os meus filmes", "全部キャンセルしてください", "すべての動画を中止して", "全部取消",
     "取消所有任务", "把我的视频都取消吧"],
)  # fmt: skip
def test_everything_is_cancelled_by_a_word_for_it(text: str, around: Context) -> None:
    intent = understand(request(text), around)
    assert (intent.kind, intent.everything, intent.job) == (IntentKind.CANCEL, True, None)
    assert not calls_off(text)


@pytest.mark.parametrize(
    "text", ["cancel", "stop it", "cancel job 12", "brich es ab", "annule ça", "取消", "stop my film"]
)
def test_a_film_alone_is_cancelled_where_no_word_says_all(text: str) -> None:
    intent = understand(request(text), CHANNEL)
    assert (intent.kind, intent.everything) == (IntentKind.CANCEL, False)


@pytest.mark.parametrize("text", ["he stops everything", "all cars stop", "stop all the cars", "alles bricht ab"])
def test_a_story_of_all_cancels_nothing(text: str) -> None:
    assert understand(request(text), Context()).kind is IntentKind.FILM


def test_a_new_picture_begins_a_new_film_unless_it_is_told_to_continue() -> None:
    assert understand(request("then a dog runs", 1), CHANNEL).kind is IntentKind.FILM
    assert understand(request("continue: a dog runs", 1), CHANNEL).kind is IntentKind.CONTINUE
    assert understand(request("a dog runs", clip=CLIP), Context()).kind is IntentKind.CONTINUE


@given(st.text(max_size=60), st.booleans())
def test_every_text_means_something(text: str, reply: bool) -> None:
    intent = understand(request(text), REPLY if reply else Context())
    assert intent.kind in IntentKind
    assert reply or intent.take is None


def test_the_main_path() -> None:
    direction = plan_of(
        "15 s of my dog on the beach, he runs into the water at 8 seconds, then a crab appears, end on picture 2, "
        "slow zoom out",
        pictures=2,
        seed=7,
    )
    plan = filmed(direction)
    assert [window.prompt for window in plan.windows] == [
        "My dog on the beach. Camera: slow zoom out.",
        "My dog on the beach. (at 3.25 seconds: he runs into the water). Camera: slow zoom out.",
        "My dog on the beach. So far: he runs into the water. (at 1.78 seconds: a crab appears). "
        "Camera: slow zoom out.",
    ]
    assert [window.anchor for window in plan.windows] == [None, None, picture(2).media]
    assert (str(plan.size), plan.model, plan.sampling) == ("848x480", "svi2pro", QUALITY.sampling)
    assert [window.seed for window in plan.windows] == [window_seed(7, number) for number in (1, 2, 3)]
    assert direction.notes == ("Length: 14.6 s, 3 windows.", "Planned by rules, without a language model.")
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_plans(name: str) -> None:
    plan = filmed(plan_of("a dog runs", preset=PRESETS[name]))
    assert (plan.model, plan.sampling, plan.loras) == (
        PRESETS[name].model,
        PRESETS[name].sampling,
        PRESETS[name].loras,
    )


@pytest.mark.parametrize(
    "words",
    [
        "he shakes himself and then lies down, tired, next to the hole",
        "Sie dreht sich um; dann lacht sie.",
        "la niña salta, luego corre hacia el mar",
        "突然下雨了，然后他跑回家。",
    ],
)
def test_the_words_of_a_one_window_continuation_survive_word_for_word(words: str) -> None:
    plan = filmed(plan_of(words, 0, REPLY))
    assert len(plan.windows) == 1
    assert words in plan.windows[0].prompt


def test_a_continuation_begins_in_the_state_in_which_its_film_ended() -> None:
    direction = plan_of("he sleeps", 0, REPLY)
    plan = filmed(direction)
    assert plan.source == ContinueTake(video=TAKE.film.video, tail=TAKE.film.tail, head_windows=2, head_frames=157)
    assert (plan.first_window, plan.seed) == (3, TAKE.plan.seed)
    assert plan.windows[0].prompt == (
        "On the beach. So far: a dog runs on the beach; it digs a hole. (at 0.32 seconds: he sleeps)."
    )
    assert direction.notes[0] == "Length: 4.8 s more, 14.6 s in all, 1 new window."


def test_a_continuation_of_a_continuation_remembers_who_it_is_about() -> None:
    context = REPLY
    for number in range(5):
        direction = plan_of(f"it jumps over fence {number}", 0, context)
        take = take_of(filmed(direction), number + 2)
        context = Context(replied=take, last=take)
    scene = take.plan.storyboard.windows[0].scene
    assert scene == "On the beach. So far: a dog runs on the beach; it jumps over fence 2; it jumps over fence 3."
    assert take.plan.first_window == 7


@pytest.mark.parametrize("text", ["in the kitchen it eats. it sleeps. it runs", "10 s. it eats, in the kitchen"])
def test_a_continuation_may_go_to_another_place(text: str) -> None:
    storyboard = filmed(plan_of(text, 0, REPLY)).storyboard
    assert len(storyboard.windows) == 2
    assert storyboard.windows[1].scene.startswith("In the kitchen. So far: ")


def test_a_bare_continue_goes_on_with_the_last_action() -> None:
    assert timeline(plan_of("continue for 10 s", 0, CHANNEL)) == [[(0.32, GOES_ON + "it digs a hole")]] * 2


def test_times_of_a_continuation_are_film_times_or_those_of_the_new_part() -> None:
    head = TAKE.film.seconds
    of_the_film = plan_of(f"at {head + 3} s it barks", 0, REPLY)
    of_the_new_part = plan_of("at 3 s it barks", 0, REPLY)
    assert timeline(of_the_film) == timeline(of_the_new_part) == [[(3.31, "it barks")]]
    assert "Times count from the start of the new part." in of_the_new_part.notes
    assert len(of_the_film.notes) == len(of_the_new_part.notes) - 1


def test_a_picture_sent_with_a_continuation_becomes_its_anchor() -> None:
    direction = plan_of("she walks into this room", 1, REPLY)
    assert anchors(direction) == [1]
    assert filmed(direction).windows[0].anchor == picture(1).media


def test_a_clip_is_continued_in_its_own_time() -> None:
    plan = filmed(plan_of("9 s: he runs. At 10 s he jumps", 0, clip=CLIP, keep_frames=80))
    assert plan.source == ContinueVideo(video=CLIP.media, keep_frames=80)
    assert [beat.seconds for window in plan.storyboard.windows for beat in window.beats] == [0.32, 0.56]
    with pytest.raises(UserError, match=r"Nothing of walk\.mp4 is left"):
        plan_of("he runs", 0, clip=CLIP, keep_frames=-112)


def test_a_continuation_stays_with_its_size_and_model_and_says_so() -> None:
    direction = plan_of("he sleeps", 0, REPLY, DEMO, size=Size(width=64, height=64))
    plan = filmed(direction)
    assert (plan.size, plan.model) == (TAKE.plan.size, "svi2pro")
    assert "The size stays 848x480, as in the film that goes on." in direction.notes
    assert "Filmed with the model svi2pro, as the film before." in direction.notes


def test_said_times_are_kept_where_windows_discard_their_ends() -> None:
    """Each later window gives 60 frames here, so that 8 s and 11 s lie in the third one."""
    story = "12 s of a dog, at 8 seconds it jumps, at 11 s it rains"
    direction = directed(request(story, 1, tuning=Tuning(discard_frames=16)), Context())
    plan = filmed(direction)
    assert (plan.discard_frames, len(plan.windows)) == (16, 3)
    times = {
        beat.action: film_time(number, beat.seconds, 16)
        for number, window in enumerate(plan.storyboard.windows, start=1)
        for beat in window.beats
    }
    assert times["it jumps"] == pytest.approx(8, abs=0.006)
    assert times["it rains"] == pytest.approx(11, abs=0.006)
    assert direction.notes[0] == "Length: 11.6 s, 3 windows."
    take = take_of(plan)
    further = filmed(
        directed(request("at 13 s it sleeps", replies_to=1), Context(replied=take), kind=IntentKind.CONTINUE)
    )
    (window,) = further.storyboard.windows
    assert further.discard_frames == 16
    assert film_time(further.first_window, window.beats[-1].seconds, 16) == pytest.approx(13, abs=0.006)


def test_another_take_is_the_same_plan_with_new_seeds() -> None:
    plan = filmed(plan_of("again", 0, REPLY, seed=99))
    assert (plan.storyboard, plan.source, plan.seed) == (TAKE.plan.storyboard, TAKE.plan.source, 99)
    assert {w.seed for w in plan.windows}.isdisjoint(w.seed for w in TAKE.plan.windows)
    assert filmed(plan_of("again", 0, REPLY, seed=99, **{"seconds": None})) == plan


def test_another_take_of_a_continuation_is_numbered_as_the_continuation() -> None:
    plan = filmed(plan_of("he sleeps", 0, REPLY))
    take = take_of(plan, 2)
    assert filmed(plan_of("again", 0, Context(replied=take), seed=plan.seed)) == plan


def test_a_seed_of_the_request_comes_first() -> None:
    message = request("again", seed=5)
    assert filmed(directed(message, REPLY, QUALITY, 99)).seed == 5
    assert filmed(directed(request("he jumps", seed=0), REPLY, QUALITY, 99)).seed == 0


def test_a_revision_changes_words_and_keeps_the_noise() -> None:
    direction = plan_of("same but at night, static camera", 0, REPLY, seed=99)
    plan = filmed(direction)
    assert [window.prompt for window in plan.windows] == [
        "On the beach. At night. (at 0 seconds: a dog runs on the beach). Camera: static camera.",
        "On the beach. At night. So far: a dog runs on the beach. (at 0.32 seconds: it digs a hole). "
        "Camera: static camera.",
    ]
    assert [window.seed for window in plan.windows] == [window.seed for window in TAKE.plan.windows]
    assert plan.source == TAKE.plan.source


def test_a_revision_replaces_a_setting_of_its_kind() -> None:
    prompts = [window.prompt for window in filmed(plan_of("same but in the kitchen", 0, REPLY)).windows]
    assert all(prompt.startswith("In the kitchen.") for prompt in prompts)


def test_a_revision_may_change_the_length() -> None:
    longer, shorter = (plan_of(f"make it {seconds} s", 0, REPLY) for seconds in (20, 5))
    assert timeline(longer)[:2] == timeline(FILM)
    assert timeline(longer)[2:] == [[(0.32, GOES_ON + "it digs a hole")]] * 2
    assert timeline(shorter) == timeline(FILM)[:1]
    assert set(cameras(longer)) == {"slow zoom out"}


@pytest.mark.parametrize(
    ("text", "pictures", "context", "sentence"),
    [
        ("a dog runs", 0, Context(), "A film starts from a picture: add one."),
        ("", 1, Context(), "Say what should happen in the film: one sentence is enough."),
        ("again", 0, Context(), "There is no film in this channel yet: send a picture and say what should happen."),
        ("continue", 0, Context(), "There is no film in this channel yet: send a picture and say what should happen."),
        ("same but darker", 1, REPLY, "A revision keeps the pictures of its film: start a new film to use others."),
    ],
)
def test_what_cannot_be_filmed_is_said_in_one_sentence(
    text: str, pictures: int, context: Context, sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan_of(text, pictures, context)
    assert str(caught.value) == sentence


def test_an_answer_to_a_lost_film_is_not_taken_for_another() -> None:
    with pytest.raises(UserError, match="not there any more"):
        directed(request("again", replies_to=4), CHANNEL, QUALITY, 1)


def test_a_command_says_outright_what_is_meant() -> None:
    film = directed(request("again, but slower", 1), REPLY, QUALITY, 1, kind=IntentKind.FILM)
    assert timeline(film) == [[(0, "again, but slower")]]
    assert filmed(film).first_window == 1
    more = directed(request("continue: he sleeps"), CHANNEL, QUALITY, 1, kind=IntentKind.CONTINUE)
    assert timeline(more) == [[(0.32, "he sleeps")]]


def test_a_storyboard_can_be_seen_before_there_is_a_picture() -> None:
    message = request("10 s: a dog runs, then it sleeps")
    storyboard, notes = asyncio.run(Director().sketch(message, QUALITY))
    assert [[beat.action for beat in window.beats] for window in storyboard.windows] == [["a dog runs"], ["it sleeps"]]
    assert notes == (CREDIT,)


@pytest.mark.parametrize("text", ["help", "status", "cancel", "settings"])
def test_a_question_makes_no_plan(text: str) -> None:
    direction = plan_of(text, 0, CHANNEL)
    assert (direction.storyboard, direction.plan, direction.notes) == (None, None, ())


def test_the_notes_say_what_came_out_other_than_asked() -> None:
    unused = plan_of("5 s: a dog runs", 3)
    assert "Pictures 2 and 3 will not be used." in unused.notes
    rush = plan_of("5 s: " + ". ".join(f"dog {number} barks" for number in range(9)))
    assert "9 actions in one window of 5 s are a rush: ask for more seconds." in rush.notes


def test_any_storyboarder_fits_the_seam() -> None:
    class Poet:
        async def storyboard(self, brief: Brief, on_planning: OnPlanning = print) -> Told:
            windows = [StoryboardWindow(scene=f"{brief.story}, verse {n}.") for n in range(brief.windows)]
            return Told(Storyboard(title="Verses", windows=tuple(windows)), "Planned by a poet.")

    class Lazy(Poet):
        async def storyboard(self, brief: Brief, on_planning: OnPlanning = print) -> Told:
            return Told(Storyboard(title="Verse", windows=(StoryboardWindow(scene="one"),)), "Planned by nobody.")

    message = request("10 s of rain that falls", 1)
    direction = directed(message, Context(), QUALITY, 1, Poet())
    assert [window.prompt for window in filmed(direction).windows] == [
        "rain that falls, verse 0.",
        "rain that falls, verse 1.",
    ]
    assert direction.notes[-1] == "Planned by a poet."
    with pytest.raises(ValueError, match="1 windows, the brief asks for 2"):
        directed(message, Context(), QUALITY, 1, Lazy())


@given(st.text(min_size=1, max_size=80), st.integers(0, 2**63 - 1), st.floats(0.5, 60))
def test_the_same_request_makes_the_same_plan(text: str, seed: int, seconds: float) -> None:
    try:
        direction = plan_of(text, 2, seed=seed, seconds=seconds)
    except UserError:
        return
    assert direction == plan_of(text, 2, seed=seed, seconds=seconds)
    if direction.plan:
        assert all(window.prompt.strip() for window in direction.plan.windows)
        assert film_seconds(len(direction.plan.windows)) >= 0.95 * seconds - 0.5
