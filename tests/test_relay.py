"""Timed prompts: the bias by hand, where the words of a beat are, and what the network makes of both."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_dit import SIGMAS, a_dit, a_text, some_inputs
from tokenizers import Tokenizer

from engine.attention import attention_by_frame, cross_attention
from engine.demo.captions import timed_prompt
from engine.demo.export import WEIGHTS
from engine.demo.untrained import byte_tokenizer
from engine.dit import NAG, BlockText
from engine.relay import SIGMA, relay_bias, segments
from engine.text import TextEncoder, clean
from planner.compiler import beat_spans, compile_prompt
from storage.schema import Beat, BeatSpan, StoryboardWindow

NARROW = 0.1448  # the sigma of the source
STEP = 1 / (2 * NARROW**2)  # penalty of the first latent frame outside, 23.85; of the second four times that


def spans(*seconds: float) -> list[BeatSpan]:
    return [BeatSpan(start=2 * i, stop=2 * i + 1, seconds=at) for i, at in enumerate(seconds)]


def columns(*seconds: float) -> list[list[float]]:
    """The bias of each beat's one token in the 21 latent frames of a window."""
    tokens = [range(i, i + 1) for i in range(len(seconds))]
    return relay_bias(segments(spans(*seconds), tokens, 21), 21, len(seconds), NARROW).T.tolist()


# ---- the bias ----


def test_three_beats_by_hand():
    """Segments 0 to 6, 6 to 13 and 13 to 20; margins of 2 towards one another, none at the window's ends."""
    first, second, third = columns(0, 1.5, 3.25)
    assert first == pytest.approx([0] * 5 + [-STEP * n**2 for n in range(1, 17)], rel=1e-5)
    assert second[8:12] == [0] * 4
    assert second[:8] == pytest.approx([-STEP * n**2 for n in range(8, 0, -1)], rel=1e-5)
    assert second[12:] == pytest.approx([-STEP * n**2 for n in range(1, 10)], rel=1e-5)
    assert third[15:] == [0] * 6
    assert third[:15] == pytest.approx([-STEP * n**2 for n in range(15, 0, -1)], rel=1e-5)


def test_a_single_beat_is_not_seen_before_its_second():
    (only,) = columns(2.0)  # latent frame 8
    assert only[10:] == [0] * 11
    assert only[9] == pytest.approx(-STEP, rel=1e-5)
    assert max(only[:8]) < -STEP * 8


def test_a_short_beat_is_seen_fully_in_the_frame_nearest_to_it():
    _, short, _ = columns(0, 1.0, 1.2)  # from 4 to 4.8; all of it is margin, so that its middle 4.4 counts
    assert short[4] == 0
    assert short[5] == pytest.approx(-STEP * (0.6**2 - 0.4**2), rel=1e-4)
    assert short[3] == pytest.approx(-STEP * (1.4**2 - 0.4**2), rel=1e-4)


def test_beats_of_one_second_share_their_time():
    a, b, c = columns(1.0, 1.0, 3.0)
    assert a == b
    assert a != c


@given(st.lists(st.floats(0, 5.0625), min_size=1, max_size=6))
def test_every_beat_is_seen_somewhere_and_only_weakened(seconds: list[float]):
    for column in columns(*sorted(seconds)):
        assert max(column) == 0
        peak = column.index(0)
        assert all(a <= b for a, b in pairwise(column[: peak + 1]))


def test_what_has_no_time_has_no_bias():
    bias = relay_bias(segments(spans(0, 2.5), [range(3, 6), range(6, 8)], 21), 21, 12)
    assert bias.shape == (21, 12)
    assert bias.dtype == torch.float32
    assert not bias[:, [0, 1, 2, 8, 9, 10, 11]].any()
    assert torch.equal(bias[:, 3], bias[:, 5])


def test_at_a_border_both_beats_have_a_thousandth_of_their_weight():
    bias = relay_bias(segments(spans(0, 2.5), [range(1), range(1, 2)], 21), 21, 2)
    assert bias.exp()[10].tolist() == pytest.approx([0.001, 0.001], rel=1e-4)
    assert pytest.approx(0.538, abs=1e-3) == SIGMA


# ---- the words ----


@pytest.fixture(scope="module")
def encoder(toy_models_dir):
    return TextEncoder.in_folder(toy_models_dir / "demo" / "text", text_len=200)


def read(text: str, tokens: range) -> str:
    """What tokens of the byte tokenizer say."""
    tokenizer = byte_tokenizer()
    return tokenizer.decode(tokenizer.encode(clean(text)).ids[tokens.start : tokens.stop])


@pytest.mark.parametrize(
    ("scene", "actions"),
    [
        ("A dog (wet)", ["it runs", "it (almost) jumps!"]),
        ("Un café &amp; a  dog\n\n on the  beach", ["it eats  fish &amp;amp; chips", "a 雪 falls"]),
        ("broken: cafÃ© â€œquotedâ€\x9d", ["the cafÃ© closes", "night"]),
        ("", [" two \u00a0 spaces ", "the end"]),
    ],
)
def test_the_tokens_of_a_beat_are_its_words_also_after_cleaning(encoder: TextEncoder, scene, actions):
    beats = tuple(Beat(seconds=i + 0.5, action=action) for i, action in enumerate(actions))
    window = StoryboardWindow(scene=scene, beats=beats, camera="static")
    prompt = compile_prompt(window)
    places = [(span.start, span.stop) for span in beat_spans(window)]
    said = [read(prompt, tokens) for tokens in encoder.tokens_of(prompt, places)]
    assert said == [clean(f"(at {beat.seconds:g} seconds: {beat.action})") for beat in beats], (
        "brackets and all, and nothing of the scene"
    )


def test_a_word_has_the_space_before_it_and_belongs_to_one_beat():
    """The demonstration model's tokens are whole words and marks; ")." at the end is one, and no longer of the beat."""
    encoder = TextEncoder.in_folder(WEIGHTS / "text", text_len=160)
    beats = (Beat(seconds=0, action="pan left"), Beat(seconds=2.25, action="night falls"))
    window = StoryboardWindow(scene="A photograph", beats=beats)
    prompt = compile_prompt(window)
    first, second = encoder.tokens_of(prompt, [(span.start, span.stop) for span in beat_spans(window)])
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "text" / "tokenizer.json"))
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    said, said_then = (tokenizer.decode(ids[tokens.start : tokens.stop]).split() for tokens in (first, second))
    assert said == ["(at", "0", "seconds:", "pan", "left)"]
    assert (said_then[0], said_then[-2:]) == ("(at", ["night", "falls"])
    assert first.stop == second.start
    assert second.stop == len(ids) - 1


def test_no_beat_has_the_tokens_that_the_demonstration_model_puts_before_every_text():
    encoder = TextEncoder.in_folder(WEIGHTS / "text", text_len=160)
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "text" / "tokenizer.json"))
    prompt = "(at 1 seconds: it snows)."
    (beat,) = encoder.tokens_of(prompt, [(0, len(prompt) - 1)])
    said = tokenizer.decode(tokenizer.encode(prompt, add_special_tokens=False).ids[beat.start : beat.stop])
    assert said.split() == ["(at", "1", "seconds:", "it", "snows"]


def test_the_demonstration_model_is_measured_on_prompts_as_the_compiler_writes_them():
    beats = (Beat(seconds=0, action="pan left"), Beat(seconds=2.25, action="night falls"))
    window = StoryboardWindow(scene="A photograph", beats=beats)
    prompt, places = timed_prompt("A photograph.", [(0.0, "pan left"), (2.25, "night falls")])
    assert (prompt, tuple(places)) == (compile_prompt(window), beat_spans(window))


def test_what_does_not_fit_into_the_slots_has_no_tokens(toy_models_dir):
    short = TextEncoder.in_folder(toy_models_dir / "demo" / "text", text_len=8)
    assert short.tokens_of("ab cd ef gh ij", [(3, 5), (6, 11), (12, 14)]) == [range(3, 5), range(6, 7), range(7, 7)]


# ---- the network ----


def test_frames_in_a_batch_are_a_mask_over_everything():
    """Against softmax written out, in float64; two videos of 3 frames."""
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, length, 4, 12, generator=generator) for length in (45, 9, 9))
    bias = -5 * torch.rand(3, 9, generator=generator)
    scores = torch.einsum("blhd,bshd->bhls", q.double(), k.double()) / math.sqrt(12)
    scores = scores + bias.double().repeat_interleave(15, dim=0)
    expected = torch.einsum("bhls,bshd->blhd", scores.softmax(-1), v.double())
    torch.testing.assert_close(attention_by_frame(q, k, v, bias).double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention_by_frame(q, k, v, torch.zeros(3, 9)), cross_attention(q, k, v))
    each = attention_by_frame(q, k, v, torch.stack([bias, torch.zeros(3, 9)]))
    torch.testing.assert_close(each[0], attention_by_frame(q, k, v, bias)[0])
    torch.testing.assert_close(each[1], cross_attention(q, k, v)[1])


def test_without_a_bias_the_text_attention_is_the_plain_one_to_the_bit():
    cross = a_dit().blocks[0].cross_attn
    x, text = torch.randn(2, 2, 45, 48, generator=torch.Generator().manual_seed(3)).unbind()
    keys, values = cross.keys_values(text[:, :9])
    plain = cross.o(cross_attention(cross.norm_q(cross.split(cross.q(x))), keys, values).flatten(2))
    assert torch.equal(cross(x, BlockText(keys, values), None, None), plain)


def test_a_bias_of_nothing_changes_nothing():
    dit = a_dit()
    text = dit.encode_text(a_text())
    plain = dit(some_inputs(), SIGMAS, text)
    torch.testing.assert_close(dit(some_inputs(), SIGMAS, text.with_bias(torch.zeros(3, 9))), plain)


def test_words_that_no_frame_may_see_might_as_well_say_anything():
    """With tokens 1 and 2 hidden from every frame, the velocity does not depend on them; hidden from one, it does."""
    dit = a_dit()
    text, other = a_text(), a_text()
    other[:, 1:3] = a_text(seed=9)[:, 1:3]
    hidden = torch.zeros(3, 9)
    hidden[:, 1:3] = -1e4
    first, second = (dit(some_inputs(), SIGMAS, dit.encode_text(t).with_bias(hidden)) for t in (text, other))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    hidden[1] = 0
    first, second = (dit(some_inputs(), SIGMAS, dit.encode_text(t).with_bias(hidden)) for t in (text, other))
    assert not torch.allclose(first, second, atol=1e-2)


def test_in_one_block_a_bias_changes_its_own_frame_alone():
    """Frames meet in the self-attention of the next block: one block alone shows whose a row of the bias is."""
    dit = a_dit(layers=1)
    text = dit.encode_text(a_text())
    bias = torch.zeros(3, 9)
    bias[2, :2] = -3
    changed = (dit(some_inputs(), SIGMAS, text.with_bias(bias)) - dit(some_inputs(), SIGMAS, text)).abs()
    assert changed[:, :, :2].max() < 1e-5
    assert changed[:, :, 2].mean() > 1e-2


def test_the_negative_of_nag_is_seen_as_ever():
    """Hidden from the positive text only: a negative that is the hidden text itself still pushes away from it."""
    dit = a_dit()
    text = dit.encode_text(a_text())
    bias = torch.full((3, 9), 0.0)
    bias[:, :2] = -1e4
    nag = NAG(scale=4, tau=2.5, alpha=0.5)
    timed = text.with_bias(bias)
    beside_plain = dit(some_inputs(), SIGMAS, timed.with_negative(text), nag=nag)
    beside_timed = dit(some_inputs(), SIGMAS, timed.with_negative(timed), nag=nag)
    torch.testing.assert_close(beside_timed, dit(some_inputs(), SIGMAS, timed), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(beside_plain, beside_timed, atol=1e-2)
