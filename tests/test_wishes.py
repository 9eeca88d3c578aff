"""Settings by words: what is taken for one, within which limits, and what is said back."""

from typing import Any

import pytest
from directing import directed, draft_of, filmed, picture, plan_of, request
from hypothesis import given
from hypothesis import strategies as st

from planner.chatter import spoken, take_avoided
from planner.intent import Context
from planner.presets import DEMO, LIGHTNING_4, QUALITY, Preset
from planner.wishes import AREAS, grant, mannered, take_wishes
from prompts import negative_prompt
from storage.schema import Size, Storyboard, StoryboardWindow, Tuning, Wishes
from storage.sizes import GRID


@pytest.mark.parametrize(
    ("text", "asked", "rest"),
    [
        ("vertical, best quality: my dog runs", {"pace": "best", "shape": "portrait"}, "my dog runs"),
        ("720p please", {"lines": 720}, ""),
        ("make it faster to render", {"pace": "fast"}, ""),
        ("less shaky", {"steady": True}, ""),
        ("stronger motion and square", {"motion": "more", "shape": "square"}, ""),
        ("my dog runs (720p, seed 42)", {"lines": 720, "seed": 42}, "my dog runs"),
        ("832x480: a dog", {"size": {"width": 832, "height": 480}}, "a dog"),
        ("Hochformat bitte", {"shape": "portrait"}, ""),
        ("he runs faster", {}, "he runs faster"),
        ("the best quality shoes on a shelf", {}, "the best quality shoes on a shelf"),
        ("a vertical wall, he climbs it", {}, "a vertical wall, he climbs it"),
        ("portrait of a lady, she smiles", {}, "portrait of a lady, she smiles"),
    ],
)
def test_only_a_clause_of_its_own_is_a_setting(text: str, asked: dict[str, Any], rest: str) -> None:
    wishes, kept = take_wishes(text)
    assert (wishes.model_dump(exclude_defaults=True), kept) == (asked, rest)


@pytest.mark.parametrize(
    ("asked", "preset", "name", "size", "note"),
    [
        ({"pace": "fast"}, QUALITY, "lightning", None, "Set: fast (preset lightning, 4 steps)."),
        ({"pace": "best"}, LIGHTNING_4, "quality", None, "Set: best quality (preset quality, 30 steps)."),
        ({"pace": "fast"}, DEMO, "demo-fast", None, "Set: fast (preset demo-fast, 4 steps)."),
        (
            {"motion": "more"},
            LIGHTNING_4,
            "lightning-3phase",
            None,
            "Set: preset lightning-3phase, which moves more, more movement, motion_amplitude=1.15.",
        ),
        ({"lines": 720}, QUALITY, "quality", None, "Set: 720p."),
        (
            {"lines": 2160},
            QUALITY,
            "quality",
            None,
            "Set: 720p, the most that the model films, instead of 2160p.",
        ),
        (
            {"lines": 720},
            DEMO,
            "demo",
            None,
            "Set: 256x144 as ever, since the demonstration model knows no other size.",
        ),
        ({"shape": "portrait"}, QUALITY, "quality", "480x848", "Set: portrait, 480x848."),
        (
            {"size": {"width": 4096, "height": 4096}},
            QUALITY,
            "quality",
            "960x960",
            "Set: 960x960, which the model films instead of 4096x4096.",
        ),
        (
            {"size": {"width": 4096, "height": 16}},
            QUALITY,
            "quality",
            None,
            "Set: the picture's own shape, since 4096x16 is too narrow to film.",
        ),
        ({"seed": 42}, QUALITY, "quality", None, "Set: seed 42."),
        ({}, QUALITY, "quality", None, None),
    ],
)
def test_wishes_are_granted_within_the_limits_of_the_model(
    asked: dict[str, Any], preset: Preset, name: str, size: str | None, note: str | None
) -> None:
    granted = grant(Wishes.model_validate(asked), preset, None, None)
    assert granted.preset.name == name
    assert (str(granted.size) if granted.size else None) == size
    assert granted.notes == ((note,) if note else ())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("keep the colours as they are", {"color_correction": 0.8}),
        ("match the colors", {"color_correction": 0.8}),
        ("die Farben angleichen", {"color_correction": 0.8}),
        ("garde les couleurs", {"color_correction": 0.8}),
        ("mantén los colores", {"color_correction": 0.8}),
        ("make it smoother", {"interpolation": 2}),
        ("32 fps please", {"interpolation": 2}),
        ("at 60 fps", {"interpolation": 4}),
        ("bitte flüssiger", {"interpolation": 2}),
        ("plus fluide", {"interpolation": 2}),
        ("más fluido", {"interpolation": 2}),
        ("twice as large", {"upscaling": 2}),
        ("upscale it", {"upscaling": 2}),
        ("4x upscaled", {"upscaling": 4}),
        ("doppelt so groß", {"upscaling": 2}),
        ("deux fois plus grand", {"upscaling": 2}),
        ("el doble de grande", {"upscaling": 2}),
        ("add some film grain", {"grain": 0.1}),
        ("with film grain", {"grain": 0.1}),
        ("mit Filmkorn", {"grain": 0.1}),
        ("avec du grain", {"grain": 0.1}),
        ("skip steps", {"magcache": 1.75}),
        ("use magcache", {"magcache": 1.75}),
        ("less noise", {"frame_denoising": 0.5}),
        ("sans bruit", {"frame_denoising": 0.5}),
        ("no blockiness", {"deblocking": 0.5}),
        ("use the self-refiner", {"refiner_norm": 1}),
        ("with 20 steps", {"steps": 20}),
        ("mit 12 Schritten", {"steps": 12}),
        ("guidance 5", {"guidance": 5, "guidance2": 5}),
        ("cfg 4.5", {"guidance": 4.5, "guidance2": 4.5}),
    ],
)
def test_plain_words_stand_for_numbers(text: str, number: dict[str, float]) -> None:
    wishes, rest = take_wishes(f"my dog runs, {text}")
    assert (wishes.tuning.given, rest) == (number, "my dog runs")
    assert wishes.untuned == Wishes()


@pytest.mark.parametrize(
    "story",
    [
        "the colours fade",
        "a smooth stone rolls",
        "the balloon grows twice as large as the house",
        "she takes 20 steps forward",
        "he skips two steps on the stairs",
        "noise fills the street",
        "grain pours into the mill",
    ],
)
def test_a_story_that_sounds_like_a_number_stays_a_story(story: str) -> None:
    assert take_wishes(f"a street, {story}") == (Wishes(), f"a street, {story}")


def test_words_join_and_the_last_one_said_counts() -> None:
    wishes, _ = take_wishes("a dog runs, add film grain, 32 fps, with 20 steps, with 12 steps")
    assert wishes.tuning.given == {"grain": 0.1, "interpolation": 2, "steps": 12}
    assert wishes.over(Wishes(tuning=Tuning(upscaling=2, grain=1))).tuning.given == {
        **wishes.tuning.given,
        "upscaling": 2,
    }


def test_more_motion_also_moves_the_condition() -> None:
    assert grant(Wishes(motion="more"), QUALITY, None, None).tuning == Tuning(motion_amplitude=1.15)
    assert grant(Wishes(motion="less"), QUALITY, None, None).tuning == Tuning()


@given(
    st.integers(1, 10**9).map(lambda lines: Wishes(lines=lines))
    | st.tuples(st.integers(1, 700), st.integers(1, 700)).map(
        lambda sides: Wishes(size=Size(width=16 * sides[0], height=16 * sides[1]))
    ),
    st.sampled_from([DEMO, QUALITY, LIGHTNING_4]),
)
def test_no_words_raise_the_size_over_what_the_model_films(wishes: Wishes, preset: Preset) -> None:
    granted = grant(wishes, preset, None, None)
    most = preset.budget if preset.model == "demo" else AREAS[720]
    size = granted.size or granted.preset.budget
    assert (size.width - GRID / 2) * (size.height - GRID / 2) <= most.width * most.height, "but for the rounding"


@pytest.mark.parametrize(
    ("words", "shape", "size"),
    [
        ("720p", (1080, 1920), "720x1280"),
        ("720p", (1920, 1080), "1280x720"),
        ("480p", (1000, 1000), "624x624"),
        ("720p, vertical", (1920, 1080), "720x1280"),
    ],
)
def test_lines_give_the_area_and_the_picture_the_shape(words: str, shape: tuple[int, int], size: str) -> None:
    message = request(f"a dog runs, {words}").model_copy(update={"images": (picture(1, *shape),)})
    first = directed(message, Context())
    assert str(filmed(first).size) == size
    plain = request("a dog runs").model_copy(update={"images": (picture(1, *shape),)})
    draft = draft_of(directed(plain, Context()), plain)
    revised = filmed(directed(request(words), Context(draft=draft))).size
    assert abs(revised.width / revised.height - filmed(first).size.width / filmed(first).size.height) < 0.05


def test_an_option_comes_before_words() -> None:
    size = Size(width=64, height=64)
    granted = grant(Wishes(shape="portrait", seed=3), QUALITY, size, 7)
    assert (granted.size, granted.seed) == (size, 7)


def test_manners_are_said_once_in_every_window() -> None:
    board = Storyboard(title="", windows=(StoryboardWindow(scene="A dog."), StoryboardWindow(scene="")))
    wishes = Wishes(steady=True, motion="more")
    once = mannered(board, wishes)
    assert all("steady" in window.scene and "energetic" in window.scene for window in once.windows)
    assert mannered(once, wishes) == once
    assert mannered(board, Wishes()) == board


@given(st.text(max_size=100))
def test_any_text_is_parted_without_loss_of_a_story(text: str) -> None:
    wishes, rest = take_wishes(text)
    if wishes == Wishes():
        assert rest == text


# ---- chatter ----


@pytest.mark.parametrize(
    ("text", "story"),
    [
        ("hey, can you pls make a clip where she waves at like 3s? thx!!", "make a clip where she waves at 3s?"),
        ("yo bro can u make him dance", "he dances"),
        ("a dog barks at 4, a cat meows at 8, 10 s", "a dog barks at 4 s, a cat meows at 8 s, 10 s"),
        ("about 6 seconds in he does a kickflip", "at 6 seconds he does a kickflip"),
        ("she bows. 20 seconds should be enough but you know better", "she bows., 20 seconds"),
        ('she whispers "please stay, thanks"', 'she whispers "please stay, thanks"'),
        ("he runs 🎉", "he runs"),
        ("👍", "👍"),
        ("make it sunset", "make it sunset"),
        ("the children sing please sir", "the children sing please sir"),
    ],
)
def test_chatter_is_taken_out_and_the_story_stays(text: str, story: str) -> None:
    assert spoken(text) == story


def test_pictures_may_be_called_by_their_files_names() -> None:
    names = ["beach.jpg", "IMG_2041.jpeg"]
    assert spoken("start with beach.jpg, end with IMG_2041", names) == "start with picture 1, end with picture 2"
    assert spoken("a beach at night", names) == "a beach at night"


@given(st.text(max_size=120))
def test_any_text_is_read(text: str) -> None:
    spoken(text)
    take_avoided(text)


@pytest.mark.parametrize(
    ("text", "avoided", "rest"),
    [
        ("pigeons land, no people, no cars", ("people", "cars"), "pigeons land"),
        ("she turns, without any logo or text", ("logo", "text"), "she turns"),
        ("no camera movement, a dog sleeps", (), "no camera movement, a dog sleeps"),
        ("he walks without looking back", (), "he walks without looking back"),
        ("nobody moves", (), "nobody moves"),
    ],
)
def test_what_must_not_be_seen_is_no_part_of_the_prompt(text: str, avoided: tuple[str, ...], rest: str) -> None:
    assert take_avoided(text) == (avoided, rest)


def test_what_must_not_be_seen_goes_to_the_negative_prompt_and_is_promised_only_where_that_is_read() -> None:
    direction = plan_of("pigeons land, no people")
    plan = filmed(direction)
    assert all("people" not in window.prompt for window in plan.windows)
    assert plan.windows[0].negative == f"{negative_prompt()}, people"
    assert "In the negative prompt: people." in direction.notes
    assert any(
        note.startswith("Not promised: “people”") for note in plan_of("pigeons land, no people", preset=DEMO).notes
    )
