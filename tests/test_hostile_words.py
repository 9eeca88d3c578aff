"""What is parsed may be anything: each parser reads it, or says in its own error that it cannot."""

import copy
import json
import math
import re
import struct
from contextlib import contextmanager, suppress

import pytest
import torch
from checkpoint_files import TEXT_DIM, cast, dit_weights, text_weights, to_llama, vae_weights, write_gguf
from directing import plan_of
from gguf import GGMLQuantizationType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import save, save_file
from test_editing import WISH, answer
from test_revision import BOARD
from test_writer import DOG, form_of, good

from bot.cli.main import parser
from bot.discord.buttons import PressButton
from bot.discord.commands.gallery import PageButton
from bot.discord.editor import beats_of
from bot.discord.safe import one_line
from engine.checkpoints import open_checkpoint
from engine.checkpoints.header import Kind
from engine.checkpoints.sizes import config_from, shapes_of
from engine.loras.file import read_lora
from engine.loras.strengths import strengths_by_step
from planner.editing import EditForm
from planner.filled import Unreadable, parsed
from planner.writer import judge
from storage.sandbox import Said
from storage.schema import Plan, Storyboard, UserError

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ODD = st.sampled_from([math.nan, math.inf, -1, 0, 10**400, -(10**30), 1e308, True, None, "", "\0", "\ud800", [], {}])
JSON = st.recursive(
    ODD | st.text(max_size=8) | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoilt(draw, whole):
    """A good value of which some places are anything."""
    whole = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = whole
        while True:
            key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            deeper = isinstance(at[key], dict | list) and len(at[key])
            if not deeper or draw(st.integers(0, 3)) == 0:
                break
            at = at[key]
        if isinstance(at, dict) and draw(st.integers(0, 4)) == 0:
            at[draw(st.text(max_size=4))] = at.pop(key)
        else:
            at[key] = draw(JSON)
        if not whole:
            break
    return whole


@contextmanager
def one_sentence():
    """What a person reads of what is wrong is one sentence."""
    refused = None
    try:
        yield
    except UserError as error:
        refused = str(error)
    assert refused is None or (refused.endswith((".", "”")) and "\n" not in refused and len(refused) < 1000), refused


DEEP = ("[" * 100_000, '{"a":' * 100_000, '{"edits": ' + "[" * 5000 + "]" * 5000 + "}")


# ---- plans, storyboards, answers ----


@MANY
@given(spoilt(plan_of("15 s of my dog, he jumps at 8 seconds").plan.model_dump(mode="json")) | JSON)
def test_a_plan_from_a_file_is_a_plan_or_refused(told):
    with suppress(ValidationError):
        plan = Plan.model_validate_json(json.dumps(told))
        assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize("kind", [Plan, Storyboard, Said])
@pytest.mark.parametrize("text", ["", "nul", *DEEP])
def test_what_is_no_json_is_no_value(kind, text):
    with pytest.raises(ValidationError):
        kind.model_validate_json(text)


@MANY
@given(spoilt({"picture": [9, 9], "animated": True, "bytes": 243}) | JSON)
def test_what_the_sandbox_says_is_checked(told):
    with suppress(ValidationError):
        assert Said.model_validate_json(json.dumps(told)).bytes >= 0


@MANY
@given(spoilt(good()) | JSON)
def test_a_models_storyboard_is_judged_whatever_it_is(told):
    faults, sketch = judge(json.dumps(told), form_of(DOG))
    assert sketch is not None or faults
    if sketch:
        board = Storyboard(title=sketch.title, windows=sketch.windows)
        assert Storyboard.model_validate_json(board.model_dump_json()) == board


@MANY
@given(
    spoilt({"title": "a", **{f"window_{n}": {"look": "wet sand", "how_1": "slowly", "how_2": "a"} for n in (1, 2, 3)}})
    | JSON
)
def test_a_dictated_answer_is_read_or_unreadable(told):
    with suppress(Unreadable):
        _, windows = form_of(DOG).read_dictated(json.dumps(told))
        assert len(windows) == 3


@MANY
@given(spoilt(json.loads(answer(("window 2, beat 1", "the dog chases a butterfly")))) | JSON)
def test_a_models_edits_are_read_or_unreadable(told):
    with suppress(Unreadable):
        for edit in EditForm(BOARD, WISH).read(json.dumps(told)):
            assert 0 <= edit.window < len(BOARD.windows)


@pytest.mark.parametrize("text", DEEP)
def test_an_answer_that_is_nested_without_end_is_unreadable(text):
    with pytest.raises(Unreadable):
        EditForm(BOARD, WISH).read(text)
    with pytest.raises(Unreadable):
        parsed(text)


# ---- what is typed and pressed ----


@given(
    st.from_regex(PressButton.__discord_ui_compiled_template__, fullmatch=True)
    | st.from_regex(re.compile(r"longtake:(card|take|page):[a-z]*:\d*"), fullmatch=True)
)
def test_a_custom_id_is_a_number_that_the_database_can_hold_or_none_of_ours(custom_id):
    match = PressButton.__discord_ui_compiled_template__.fullmatch(custom_id)
    if match:
        assert 0 <= int(match["number"]) < 2**63


@given(st.from_regex(PageButton.__discord_ui_compiled_template__, fullmatch=True))
def test_a_page_is_one_that_can_be_shown(custom_id):
    match = PageButton.__discord_ui_compiled_template__.fullmatch(custom_id)
    assert all(len(match[name]) <= 20 for name in ("channel", "person", "number"))
    assert int(match["number"]) < 2**31


LINE = st.text(max_size=30) | st.from_regex(r"\s*[0-9.,]{1,12} ?s?:? .{0,10}", fullmatch=True)


LONG = plan_of("15 s of my dog, he jumps at 8 seconds").plan


@given(st.lists(LINE, max_size=4), st.integers(0, len(LONG.windows) - 1))
def test_beats_that_are_typed_are_beats_or_a_sentence(lines, window):
    with one_sentence():
        beats = beats_of("\n".join(lines), LONG, window, "en-US")
        assert all(0 <= beat.seconds <= 5.0625 for beat in beats)


OPTIONS = st.lists(
    st.sampled_from(["--seed", "--size", "--seconds", "--take", "--keep-frames", "--image", "--channel", "--"])
    | st.text(max_size=6)
    | st.sampled_from(["9" * 5000, "1x1", "-1", "nan", "1e999", "٣", "0x10", "../../etc", "\udcff"]),
    max_size=5,
)


@given(st.sampled_from(["make", "continue", "again", "plan", "cancel", "queue", "show", "talk", "no"]), OPTIONS)
def test_options_that_are_typed_are_options_or_a_usage(command, typed):
    with suppress(SystemExit):
        options = parser().parse_args([command, *typed])
        assert getattr(options, "take", None) is None or 0 <= options.take < 2**63


SAMPLING = plan_of("5 s of my dog").plan.sampling


@given(st.text(alphabet="0123456789.,;|+-einfa_ #\n", max_size=40) | st.text(max_size=20), st.integers(0, 3))
def test_lora_strengths_are_numbers_for_every_step_or_a_sentence(text, loras):
    with one_sentence():
        rows = strengths_by_step(text, loras, SAMPLING)
        assert [len(row) for row in rows] == [SAMPLING.steps] * loras
        assert all(math.isfinite(strength) for row in rows for strength in row)


@given(st.text(max_size=200), st.integers(1, 60))
def test_words_of_anybody_are_one_line_that_names_nobody(text, longest):
    shown = one_line(text, longest)
    assert "\n" not in shown
    assert not re.search(r"@(everyone|here)|<[@#]", shown)


# ---- weights ----


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A text encoder in each kind of file."""
    folder, whole = tmp_path_factory.mktemp("weights"), cast(text_weights(), torch.float32)
    save_file(whole, folder / "a.safetensors")
    torch.save(whole, folder / "a.pth")
    write_gguf(folder / "a.gguf", to_llama(whole), lambda *_: GGMLQuantizationType.F32, "t5encoder")
    return folder


def opened(path):
    """Whatever is wrong with a file is a UserError of one line."""
    with one_sentence():
        for _, tensor in open_checkpoint(path).tensors():
            assert tensor.shape.numel() >= 0


WHERE = st.integers(-1500, 1500) | st.floats(0, 1)  # from either end, or a share of the file
DAMAGE = st.lists(st.tuples(WHERE, st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 8)), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "gguf"])
@MANY
@given(damage=DAMAGE, kept=st.just(1.0) | st.floats(0, 1))
def test_damaged_weights_are_read_or_refused(weights, tmp_path_factory, kind, damage, kept):
    whole = bytearray((weights / f"a.{kind}").read_bytes())
    for where, new in damage:
        at = int(where * len(whole)) if isinstance(where, float) else where % len(whole)
        whole[at : at + len(new)] = new
    path = tmp_path_factory.mktemp("damage") / f"a.{kind}"
    path.write_bytes(whole[: int(kept * len(whole))])
    opened(path)


@pytest.fixture(scope="module")
def networks():
    """The shapes of each kind of network."""
    made = {Kind.DIT: dit_weights(), Kind.VAE: vae_weights(), Kind.T5: text_weights()}
    return {kind: {name: tuple(tensor.shape) for name, tensor in whole.items()} for kind, whole in made.items()}


@pytest.mark.parametrize("kind", Kind)
@settings(MANY, max_examples=20)
@given(
    places=st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    sizes=st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 32, 2**31, 2**62]), max_size=5), min_size=4, max_size=4),
    names=st.lists(st.sampled_from(["blocks.99999999.a", "blocks.-1.a", "blocks.x.a", "blocks.", "blocks.٣.a"])),
    beside=st.dictionaries(st.sampled_from(["num_heads", "num_layers", "text_len"]), st.sampled_from([1, 3, 0.5, 1e9])),
)
def test_a_network_of_any_shapes_has_a_size_or_is_refused(networks, kind, places, sizes, names, beside):
    shapes = dict(networks[kind])
    for place, size in zip(places, sizes, strict=False):
        shapes[sorted(shapes)[place % len(shapes)]] = tuple(size)
    for name in names:
        shapes[name] = (1,)
    with one_sentence():
        assert shapes_of(config_from(kind, "a.safetensors", shapes, beside))


GOOD_HEADER = {"a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {"format": "pt"}}


@MANY
@given(spoilt(GOOD_HEADER) | JSON, st.none() | st.integers(0, 2**64 - 1))
def test_any_safetensors_header_is_read_or_refused(tmp_path_factory, header, length):
    told = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("header") / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(told) if length is None else length) + told + bytes(16))
    opened(path)
    with suppress(UserError):
        read_lora(path, {})


@MANY
@given(st.binary(max_size=60), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_any_gguf_header_is_read_or_refused(tmp_path_factory, rest, tensors, values, version):
    path = tmp_path_factory.mktemp("header") / "a.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version % 5, tensors, values) + rest)
    opened(path)


SHAPES = st.lists(st.integers(0, 3), max_size=3)
PARTS = ("lora_A.weight", "lora_B.weight", "alpha", "diff", "diff_b", "lokr_w1", "lokr_w2_a", "lokr_w2_b", "dora_scale")


@MANY
@given(st.dictionaries(st.sampled_from(PARTS), SHAPES, max_size=4))
def test_a_lora_of_any_shapes_is_read_or_refused(tmp_path_factory, shapes):
    module = "blocks.0.self_attn.q"
    tensors = {f"diffusion_model.{module}.{part}": torch.ones(shape) for part, shape in shapes.items()}
    path = tmp_path_factory.mktemp("lora") / "a.safetensors"
    path.write_bytes(save(tensors))
    parameters = {f"{module}.weight": torch.ones(2, 2), f"{module}.bias": torch.ones(2)}
    with suppress(UserError):
        for changes in read_lora(path, parameters).changes.values():
            assert changes


def test_a_shard_lies_in_its_folder(tmp_path):
    """An index is somebody else's file: what it names elsewhere is not opened."""
    (tmp_path / "model").mkdir()
    save_file({"secret": torch.ones(TEXT_DIM)}, tmp_path / "elsewhere.safetensors")
    for name in ("../elsewhere.safetensors", str(tmp_path / "elsewhere.safetensors"), 7, None, ""):
        index = {"weight_map": {"secret": name}}
        (tmp_path / "model" / "a.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(UserError, match="does not say which shard holds which tensor"):
            open_checkpoint(tmp_path / "model")
