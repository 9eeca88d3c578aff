"""The LoRA library: what lies in a folder, how it is asked for, and what becomes of it in a plan and in a film."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import torch
from directing import directed, filmed, picture, plan_of, request, take_of
from directing import draft_of as drafted
from filming import film_plan, window
from safetensors.torch import save_file
from scripted_model import Script, served

from engine.loras.library import examine
from engine.models import ModelShelf, expert_sizes
from engine.settings import EngineSettings
from planner.compiler import Facts, compile_plan, compile_prompt, reseed, retune, rewrite, styled
from planner.director import Direction, Director
from planner.intent import Context, as_told, understand
from planner.loras import asked_lora, take_loras
from planner.presets import LIGHTNING_4, QUALITY
from planner.wishes import Filming
from planner.writer import ModelDirector
from storage.loras import LoraLibrary
from storage.schema import Beat, Expert, IntentKind, Lora, Request, Storyboard, StoryboardWindow, UserError

NOIR = {
    "title": "Film Noir",
    "description": "Black and white, hard shadows.",
    "triggers": ["noir style", "hard shadows"],
    "strength": "0.8",
    "expert": "high_noise",
    "together": ["noir-low"],
}


def put(folder: Path, name: str, sheet: object = None, seed: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file({"blocks.0.self_attn.q.diff_b": torch.full((4,), float(seed))}, path)
    if sheet is not None:
        (folder / f"{name}.json").write_text(sheet if isinstance(sheet, str) else json.dumps(sheet))
    return path


@pytest.fixture
def library(tmp_path: Path) -> LoraLibrary:
    folder = tmp_path / "loras"
    put(folder, "noir-high", NOIR)
    put(folder, "noir-low", {"triggers": ["noir style"], "expert": "low_noise"}, seed=1)
    put(folder, "clay.v2", {"title": "clay"}, seed=2)
    put(folder, "plain", seed=3)
    return LoraLibrary(folder)


# ---- the folder -----------------------------------------------------------------------------------------------------


def test_a_lora_is_found_by_its_name_or_its_title_and_never_by_a_path(library: LoraLibrary, tmp_path: Path) -> None:
    put(tmp_path, "outside")
    put(library.folder, ".hidden")
    assert [lora.name for lora in library.entries()] == ["clay.v2", "noir-high", "noir-low", "plain"]
    assert library.find("film noir") == library.find("noir-high")
    assert library.find("CLAY").name == "clay.v2"
    for name in ("../outside", str(tmp_path / "outside"), ".hidden", "outside\0", "", "*"):
        with pytest.raises(UserError, match=r"There is no LoRA .* there are clay\.v2, noir-high, noir-low, plain"):
            library.find(name)
    assert LoraLibrary(tmp_path / "nowhere").entries() == ()
    with pytest.raises(UserError, match=r"put \.safetensors files into nowhere"):
        LoraLibrary(tmp_path / "nowhere").find("noir")


def test_a_choice_has_its_strength_by_expert_its_words_its_hash_and_what_comes_with_it(library: LoraLibrary) -> None:
    high, low = library.choose("Film Noir")
    assert (high.name, high.strength, high.triggers) == ("noir-high", "0.8;0", ("noir style", "hard shadows"))
    assert (low.name, low.strength, low.triggers) == ("noir-low", "0;1", ("noir style",))
    assert high.sha256
    assert low.sha256
    assert high.sha256 != low.sha256
    assert [lora.strength for lora in library.choose("noir-high", "0.5")] == ["0.5;0", "0;0.5"]
    assert library.choose("plain", "1;0.2")[0].strength == "1;0.2"
    for strength in ("much", "1..2", "1;;0", "1e9", "nan", "0.5;inf", ""):
        with pytest.raises(
            UserError, match=r"A LoRA's strength is written like 0\.8, 1;0 or 1,0\.5, in numbers up to 4"
        ):
            library.choose("plain", strength)


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ('{"weight": 1}', "broken.json in the LoRA library is wrong: weight: Extra inputs are not permitted"),
        ('{"expert": "both"}', "broken.json in the LoRA library is wrong: expert: Input should be 'high_noise'"),
        ('{"strength": "a lot"}', "broken.json in the LoRA library is wrong: strength: String should match"),
        ("{", "broken.json in the LoRA library is wrong: Invalid JSON"),
    ],
)
def test_a_side_file_that_is_wrong_is_named_and_spoils_no_other(library: LoraLibrary, sheet: str, message: str) -> None:
    put(library.folder, "broken", sheet)
    assert library.choose("plain")
    assert library.find("broken").fault.startswith(message)
    with pytest.raises(UserError, match="^" + message.replace(".", r"\.")):
        library.choose("broken")


def test_a_file_that_changed_under_its_name_is_not_filmed_with(library: LoraLibrary) -> None:
    (lora,) = library.choose("plain")
    assert library.file_of(lora) == library.folder / "plain.safetensors"
    put(library.folder, "plain", seed=9)
    with pytest.raises(UserError, match="The LoRA plain is another file than when this film was planned"):
        library.file_of(lora)
    (library.folder / "plain.safetensors").unlink()
    with pytest.raises(UserError, match=r"There is no LoRA plain: put plain\.safetensors into"):
        library.file_of(lora)


# ---- words and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names", "rest"),
    [
        ("a dog runs, in the style of Film Noir", ["noir-high", "noir-low"], "a dog runs"),
        ("In the style of clay: a dog runs at 2 seconds", ["clay.v2"], "a dog runs at 2 seconds"),
        ("a dog runs with the LoRA plain. It jumps.", ["plain"], "a dog runs. It jumps."),
        ("a dog, in clay style, runs", ["clay.v2"], "a dog, runs"),
        ("ein Hund rennt im Stil von clay", ["clay.v2"], "ein Hund rennt"),
        ("un chien court, dans le style de clay", ["clay.v2"], "un chien court"),
        ("un perro corre con el lora plain", ["plain"], "un perro corre"),
        ("clay风格，一只狗在跑", ["clay.v2"], "一只狗在跑"),
        ("make it in the style of clay", ["clay.v2"], ""),
        ("again, but with the plain LoRA", ["plain"], "again"),
        ("a dog runs without LoRAs", [], "a dog runs"),
    ],
)
def test_words_choose_a_lora_and_leave_the_story(library: LoraLibrary, text: str, names: list[str], rest: str) -> None:
    chosen, story = take_loras(text, library)
    assert chosen is not None
    assert ([lora.name for lora in chosen], story) == (names, rest)


@pytest.mark.parametrize(
    "text",
    [
        "a dog in the style of an old film",
        "clay pots in a row, plain walls",
        "Lora walks home with her dog",
        "in the style of claymation",
        "a plain dog",
    ],
)
def test_what_names_no_lora_is_a_story(library: LoraLibrary, text: str) -> None:
    assert take_loras(text, library) == (None, text)


def test_a_lora_that_is_asked_for_outright_and_is_not_there_is_said(library: LoraLibrary) -> None:
    with pytest.raises(UserError, match="There is no LoRA sepia in the library"):
        take_loras("a dog runs with the LoRA sepia", library)


@pytest.mark.parametrize(
    ("text", "strength"),
    [
        ("with the LoRA plain at 0.6", "0.6"),
        ("with the LoRA plain:1;0.5", "1;0.5"),
        ("with the LoRA plain at 2 seconds it rains", "1"),
        ("in the style of plain at 12 s it rains", "1"),
    ],
)
def test_a_strength_is_no_time(library: LoraLibrary, text: str, strength: str) -> None:
    chosen, rest = take_loras(text, library)
    assert chosen
    assert chosen[0].strength == strength
    assert ("it rains" in rest) == ("it rains" in text)
    assert ("at" in rest) == ("it rains" in text)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("plain", [("plain", "1")]),
        ("plain:0.5", [("plain", "0.5")]),
        ("film noir:1;0", [("noir-high", "1;0"), ("noir-low", "1;0")]),
        ("none", []),
    ],
)
def test_an_option_names_a_lora_and_perhaps_its_strength(
    library: LoraLibrary, asked: str, told: list[tuple[str, str]]
) -> None:
    assert [(lora.name, lora.strength) for lora in asked_lora(asked, library)] == told


# ---- in a plan ------------------------------------------------------------------------------------------------------

BOARD = Storyboard(
    title="",
    windows=(
        StoryboardWindow(scene="A dog.", beats=(Beat(seconds=2, action="it runs"), Beat(seconds=3, action="it jumps"))),
        StoryboardWindow(scene="", beats=(Beat(seconds=1, action="hard shadows fall"),), camera="static"),
    ),
)


def test_trigger_words_open_every_prompt_and_the_beats_stay_where_they_are(library: LoraLibrary) -> None:
    plan = compile_plan(BOARD, Facts(QUALITY, 1, (picture(1),), loras=library.choose("noir-high")))
    first, second = plan.windows
    assert first.prompt == "noir style, hard shadows. A dog. (at 2 seconds: it runs) (at 3 seconds: it jumps)."
    assert second.prompt == "noir style. (at 1 seconds: hard shadows fall). Camera: static."  # said by itself
    spans = [[window.prompt[beat.start : beat.stop] for beat in window.beats] for window in plan.windows]
    assert spans == [
        ["(at 2 seconds: it runs)", "(at 3 seconds: it jumps)"],
        ["(at 1 seconds: hard shadows fall)"],
    ]
    assert rewrite(plan, plan.storyboard) == reseed(plan, 1) == plan
    assert plan.storyboard == BOARD, "the words of a LoRA are none of the story's"


def test_chosen_loras_stand_behind_the_presets_and_stay_until_others_are_chosen(library: LoraLibrary) -> None:
    chosen = library.choose("plain")
    plan = compile_plan(BOARD, Facts(QUALITY, 1, (picture(1),), loras=chosen))
    assert plan.loras == (*QUALITY.loras, *chosen)
    assert compile_plan(BOARD, Facts(QUALITY, 2, parent=take_of(plan))).loras == plan.loras
    assert compile_plan(BOARD, Facts(QUALITY, 2, parent=take_of(plan), loras=())).loras == QUALITY.loras
    assert retune(plan, LIGHTNING_4, None).loras == (*LIGHTNING_4.loras, *chosen)
    noir = styled(plan, library.choose("noir-high"))
    assert [lora.name for lora in noir.chosen_loras] == ["noir-high", "noir-low"]
    assert noir.windows[0].prompt.startswith("noir style, hard shadows. ")
    assert styled(noir, ()) == compile_plan(BOARD, Facts(QUALITY, 1, (picture(1),)))


def test_a_draft_and_a_take_change_their_loras_and_nothing_else(library: LoraLibrary) -> None:
    chosen = library.choose("noir-high")
    message = request("5 s of a dog, it runs", 1)
    direction = plan_of("5 s of a dog, it runs")
    context = Context(draft=drafted(direction, message))
    asked = request("", loras=chosen)
    assert understand(asked, context).kind is IntentKind.REVISE
    changed = directed(asked, context)
    assert filmed(changed) == styled(filmed(direction), chosen)
    assert "LoRAs of the library: noir-high (0.8;0), noir-low (0;1)." in changed.notes
    take = Context(replied=take_of(filmed(changed)))
    assert filmed(directed(request("again", replies_to=1, loras=()), take)) == filmed(direction)


def chosen_by(answer: dict[str, object], library: LoraLibrary, message: Request) -> tuple[Direction, Script]:
    """What a language model that answers this comes to, and what it was asked."""
    script = Script([json.dumps(answer)])

    async def direct() -> Direction:
        async with served(script) as model:
            director = Director(ModelDirector(model), library=library)
            intent = as_told(IntentKind.FILM, message, Context())
            return await director.direct(intent, message, Context(), Filming(QUALITY, seed=7))

    return asyncio.run(direct()), script


def answer(lora: str) -> dict[str, object]:
    beat = {"event": 1, "seconds": 0, "action": "a dog runs"}
    scene = {"scene": "A brown dog on a beach.", "beats": [beat], "camera": "", "anchor": None, "anchor_reason": ""}
    return {"title": "A dog", "lora": lora, "window_1": scene}


def test_a_language_model_is_told_of_the_library_and_may_choose_what_the_story_speaks_of(library: LoraLibrary) -> None:
    message = request("5 s, a dog runs, like an old black and white film", 1)
    direction, script = chosen_by(answer("noir-high"), library, message)
    assert script.form()["properties"]["lora"] == {"enum": ["none", "clay.v2", "noir-high"]}
    assert "  noir-high: Black and white, hard shadows." in script.user_text()
    assert [lora.name for lora in filmed(direction).chosen_loras] == ["noir-high", "noir-low"]
    assert "LoRAs of the library: noir-high (0.8;0), noir-low (0;1)." in direction.notes
    for lora in ("none", "clay.v2", "lost"):
        assert filmed(chosen_by(answer(lora), library, message)[0]).chosen_loras == ()


def test_a_language_model_is_not_asked_what_the_person_has_said(library: LoraLibrary) -> None:
    message = request("5 s, a dog runs", 1, loras=library.choose("noir-high"))
    direction, script = chosen_by(answer("clay.v2"), library, message)
    assert "lora" not in script.form()["properties"]
    assert "begins with words that you need not write: noir style, hard shadows." in script.user_text()
    assert [lora.name for lora in filmed(direction).chosen_loras] == ["noir-high", "noir-low"]


# ---- in the engine --------------------------------------------------------------------------------------------------


@pytest.fixture
def toy_loras(toy_models_dir: Path, shelf: ModelShelf, tmp_path: Path) -> LoraLibrary:
    """A LoRA that fits the toy model, one of another width, one of Wan 2.1 with its image branch, and no LoRA."""
    network = next(iter(shelf.load(film_plan([window(1)])).experts.values()))
    weight = network.get_parameter("blocks.0.self_attn.q.weight")
    pair = {
        "blocks.0.self_attn.q.lora_A.weight": torch.full((1, weight.shape[1]), 0.5),
        "blocks.0.self_attn.q.lora_B.weight": torch.full((weight.shape[0], 1), 0.5),
        "blocks.0.self_attn.q.alpha": torch.tensor(1.0),
    }
    folder = tmp_path / "library"
    folder.mkdir()
    save_file(pair, folder / "fitting.safetensors")
    narrow = {name: tensor[:, :-1].clone() if "lora_A" in name else tensor for name, tensor in pair.items()}
    save_file(narrow, folder / "narrow.safetensors")
    image = {f"blocks.0.cross_attn.k_img.lora_{side}.weight": torch.zeros(1, 1) for side in "AB"}
    save_file(pair | image, folder / "wan21.safetensors")
    (folder / "text.safetensors").write_text("no tensors")
    return LoraLibrary(folder)


def test_which_model_a_lora_fits_is_told_from_its_header(toy_loras: LoraLibrary, toy_models_dir: Path) -> None:
    fits = examine(toy_loras, expert_sizes(toy_models_dir))
    assert fits["fitting"].fits == ("demo",)
    assert fits["fitting"].keys == "fitting.safetensors: 3 keys applied to 1 modules"
    assert fits["narrow"].fits == ()
    assert "The LoRA narrow.safetensors does not fit blocks.0.self_attn.q.weight" in fits["narrow"].keys
    assert fits["wan21"].fits == ("demo",)
    assert fits["wan21"].keys.endswith("3 keys applied to 1 modules, 2 ignored (Wan2.1's image branch)")
    assert fits["text"].fits == ()
    assert "text.safetensors is not a checkpoint" in fits["text"].keys


def test_a_lora_of_the_library_changes_the_network_and_one_that_does_not_fit_is_a_sentence(
    toy_loras: LoraLibrary, toy_models_dir: Path, tmp_path: Path
) -> None:
    settings = EngineSettings(models_dir=toy_models_dir, data_dir=tmp_path, lora_dir=toy_loras.folder)
    shelf = ModelShelf(settings, torch.device("cpu"), torch.float32)
    plain = film_plan([window(1)])

    def weight(loras: tuple[Lora, ...]) -> torch.Tensor:
        experts = shelf.load(plain.model_copy(update={"loras": loras})).experts
        return experts[Expert.HIGH_NOISE].get_parameter("blocks.0.self_attn.q.weight").detach()

    usual, changed = weight(()), weight(toy_loras.choose("fitting"))
    torch.testing.assert_close(changed, usual + 0.25)
    assert torch.equal(changed, weight(toy_loras.choose("wan21")))
    assert shelf.ledgers["wan21"].endswith("2 ignored (Wan2.1's image branch)")
    with pytest.raises(UserError, match=r"The LoRA narrow\.safetensors does not fit blocks\.0\.self_attn\.q\.weight"):
        weight(toy_loras.choose("narrow"))
    planned = toy_loras.choose("fitting")
    shutil.copy(toy_loras.folder / "wan21.safetensors", toy_loras.folder / "fitting.safetensors")
    with pytest.raises(UserError, match="The LoRA fitting is another file than when this film was planned"):
        weight(planned)


def test_a_prompt_without_loras_is_what_it_was() -> None:
    assert compile_prompt(BOARD.windows[0], ()) == compile_prompt(BOARD.windows[0])
