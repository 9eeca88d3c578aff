"""Laws of the transformer, and its parity with diffusers."""

import copy
import math

import pytest
import torch
from oracles import dit_to_diffusers, randomise, relative_error
from torch import Tensor

from engine.dit import NAG, BlockText, DiT, DiTConfig, TextContext, normalized_attention_guidance, rope_table, sinusoid
from storage import timeline

SIZES = {"ffn_dim": 80, "freq_dim": 32, "layers": 3, "text_dim": 20, "text_len": 9}
SIGMAS = torch.tensor([0.937, 0.25], dtype=torch.float64)


def a_dit(dim: int = 48, heads: int = 4, seed: int = 1, **sizes: float) -> DiT:
    network = DiT(DiTConfig(dim=dim, heads=heads, **(SIZES | sizes)))
    randomise(network, seed)
    return network.requires_grad_(False)


def some_inputs(seed: int = 5) -> Tensor:
    return torch.randn(2, 36, 3, 6, 10, generator=torch.Generator().manual_seed(seed))


def a_text(seed: int = 7, batch: int = 2, tokens: int = 4) -> Tensor:
    return torch.randn(batch, tokens, 20, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def dit() -> DiT:
    return a_dit()


def test_full_size_has_the_official_tensors():
    with torch.device("meta"):
        tensors = DiT(DiTConfig()).state_dict()
    assert len(tensors) == 1095
    assert sum(tensor.numel() for tensor in tensors.values()) == 14_288_901_184
    assert sum(tensor.numel() for key, tensor in tensors.items() if key.startswith("blocks.7.")) == 351_394_304
    assert tensors["patch_embedding.weight"].shape == (5120, 36, 1, 2, 2)
    assert tensors["blocks.39.modulation"].shape == (1, 6, 5120)
    assert tensors["head.modulation"].shape == (1, 2, 5120)
    assert tensors["head.head.weight"].shape == (64, 5120)


@pytest.mark.parametrize(
    ("dim", "heads", "eps"), [(48, 4, 1e-6), (56, 4, 0.01), (256, 2, 1e-6)]
)  # heads of 12, 14, 128
@pytest.mark.parametrize("sigmas", [SIGMAS, torch.tensor([0.0, 0.001], dtype=torch.float64)])
def test_predicts_as_diffusers(dim, heads, eps, sigmas):
    from diffusers import WanTransformer3DModel

    dit = a_dit(dim, heads, eps=eps)
    oracle = WanTransformer3DModel(
        num_attention_heads=heads, attention_head_dim=dim // heads, in_channels=36, out_channels=16, num_layers=3,
        ffn_dim=SIZES["ffn_dim"], freq_dim=SIZES["freq_dim"], text_dim=SIZES["text_dim"], eps=eps,
    )  # fmt: skip
    oracle.load_state_dict(dit_to_diffusers(dit.state_dict()))
    padded = torch.cat([a_text(), torch.zeros(2, SIZES["text_len"] - 4, 20)], dim=1)
    with torch.no_grad():
        expected = oracle(some_inputs(), sigmas * 1000, padded).sample
    got = dit(some_inputs(), sigmas, dit.encode_text(a_text()))
    assert got.shape == (2, 16, 3, 6, 10)
    assert expected.std() > 0.5
    assert relative_error(got, expected) < 2e-6


def test_the_noise_level_is_read_exactly():
    waves = sinusoid(torch.tensor([2 / 3], dtype=torch.float64), 6)[0].tolist()
    angles = [2000 / 3 * 10_000 ** (-i / 3) for i in range(3)]
    assert waves == pytest.approx([*map(math.cos, angles), *map(math.sin, angles)], abs=2e-7)


def test_positions_turn_by_frame_then_row_then_column():
    table = rope_table((2, 3, 4), 128, torch.device("cpu"))
    assert table.shape == (2, 24, 1, 64)
    frame, row, column = 1, 2, 3
    turned = torch.atan2(table[1], table[0])[frame * 12 + row * 4 + column, 0]
    expected = [
        place * 10_000 ** (-2 * i / width)
        for place, width in ((frame, 44), (row, 42), (column, 42))
        for i in range(width // 2)
    ]
    torch.testing.assert_close(turned, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_frames_turn_by_the_plain_formula_since_no_window_is_long_enough_for_riflex():
    """RIFLEx slows one speed down in windows of more than 97 frames, which are longer than that speed's period."""
    assert timeline.WINDOW_FRAMES <= 97
    frames = timeline.latent_frames(timeline.WINDOW_FRAMES)
    table = rope_table((frames, 1, 1), 128, torch.device("cpu"))
    turns = torch.arange(frames, dtype=torch.float64)[:, None] * 10000 ** -(torch.arange(0, 44, 2).double() / 44)
    torch.testing.assert_close(table[0, :, 0, :22], turns.cos().float())
    torch.testing.assert_close(table[1, :, 0, :22], turns.sin().float())


def test_one_context_serves_every_step_and_every_video(dit):
    context = dit.encode_text(a_text(batch=1))
    before = copy.deepcopy(context)
    first = dit(some_inputs(), SIGMAS, context)
    again = dit(some_inputs(6), SIGMAS, context)
    fresh = dit.encode_text(a_text(batch=1).expand(2, -1, -1))
    torch.testing.assert_close(first, dit(some_inputs(), SIGMAS, fresh))
    torch.testing.assert_close(again, dit(some_inputs(6), SIGMAS, fresh))
    assert all(
        torch.equal(a, b) for a, b in zip(context.keys + context.values, before.keys + before.values, strict=True)
    )


def test_a_text_is_padded_with_zeros_that_are_seen(dit):
    short = dit.encode_text(a_text())
    padded = dit.encode_text(torch.cat([a_text(), torch.zeros(2, 5, 20)], dim=1))
    assert short.keys[0].shape == (2, 9, 4, 12)
    assert all(torch.equal(a, b) for a, b in zip(short.values, padded.values, strict=True))
    unpadded = TextContext(tuple(k[:, :4] for k in short.keys), tuple(v[:, :4] for v in short.values))
    assert not torch.allclose(dit(some_inputs(), SIGMAS, short), dit(some_inputs(), SIGMAS, unpadded), atol=1e-2)


def test_videos_of_a_batch_do_not_meet(dit):
    together = dit(some_inputs(), SIGMAS, dit.encode_text(a_text()))
    for i in range(2):
        alone = dit(some_inputs()[i : i + 1], SIGMAS[i : i + 1], dit.encode_text(a_text()[i : i + 1]))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)


def test_skipped_blocks_might_as_well_not_exist(dit):
    fewer = a_dit(layers=2)
    kept = {key.replace("blocks.2.", "blocks.1."): t for key, t in dit.state_dict().items() if "blocks.1." not in key}
    fewer.load_state_dict(kept)
    skipping = dit(some_inputs(), SIGMAS, dit.encode_text(a_text()), skip_blocks={1})
    torch.testing.assert_close(skipping, fewer(some_inputs(), SIGMAS, fewer.encode_text(a_text())))


def test_forward_is_its_three_parts(dit):
    text = dit.encode_text(a_text())
    embedded = dit.embed(some_inputs(), SIGMAS)
    parts = dit.unpatch(dit.run_blocks(embedded, text), embedded.time, some_inputs().shape)
    assert torch.equal(parts, dit(some_inputs(), SIGMAS, text))


def test_bfloat16_keeps_the_residual_stream_in_float32():
    """Rounding the stream to bfloat16 after each of 40 blocks would give an error of about 8e-3."""
    dit = a_dit(dim=128, layers=40)
    expected = dit(some_inputs(), SIGMAS, dit.encode_text(a_text()))
    rounded = copy.deepcopy(dit).to_precision(torch.bfloat16)
    got = rounded(some_inputs(), SIGMAS, rounded.encode_text(a_text()))
    assert got.dtype == torch.float32
    assert 1e-4 < relative_error(got, expected) < 5e-3


@pytest.mark.parametrize("attention", [False, True])
def test_fp8_stays_near_bfloat16_over_four_steps(attention):
    dit = a_dit(dim=128, heads=4, layers=6).to_precision(torch.bfloat16)
    near = copy.deepcopy(dit).to_fp8(attention=attention)
    latents = []
    for network in (dit, near):
        text, x = network.encode_text(a_text()), some_inputs()
        for sigma in (1.0, 0.75, 0.5, 0.25):
            velocity = network(x, torch.full((2,), sigma, dtype=torch.float64), text)
            x = torch.cat([x[:, :16] - 0.25 * velocity, x[:, 16:]], dim=1)
        latents.append(x[:, :16])
    error = relative_error(*latents[::-1])
    assert torch.cosine_similarity(*(part.flatten() for part in latents), dim=0) > 0.999
    assert error > 1e-3, "nothing was rounded"


def test_fp8_spares_the_first_and_last_blocks_the_texts_and_what_a_lora_runs_beside():
    dit = a_dit(layers=5).to_precision(torch.bfloat16)
    dit.blocks[2].ffn[2].register_forward_hook(lambda module, inputs, output: output)
    weights = {name: tensor for name, tensor in dit.to_fp8(attention=True).state_dict().items() if "weight" in name}
    rounded = {name for name, tensor in weights.items() if tensor.dtype == torch.float8_e4m3fn}
    products = {f"self_attn.{name}" for name in "qkvo"} | {"cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"}
    expected = {f"blocks.{i}.{name}.weight" for i in (1, 2, 3) for name in products} - {"blocks.2.ffn.2.weight"}
    assert rounded == expected
    assert [block.self_attn.in_fp8 for block in dit.blocks] == [False, True, True, True, False]


def test_to_precision_leaves_everything_outside_the_matrix_products_alone(dit):
    dtypes = {key: tensor.dtype for key, tensor in copy.deepcopy(dit).to_precision(torch.bfloat16).state_dict().items()}
    products = {key for key, dtype in dtypes.items() if dtype == torch.bfloat16}
    in_block = [f"{part}.{name}" for part in ("self_attn", "cross_attn") for name in "qkvo"] + ["ffn.0", "ffn.2"]
    layers = [f"blocks.{i}.{name}" for i in range(3) for name in in_block] + ["text_embedding.0", "text_embedding.2"]
    assert products == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert all(dtypes[key] == torch.float32 for key in dtypes.keys() - products)


def test_autocast_touches_the_matrix_products_only(dit):
    expected = dit(some_inputs(), SIGMAS, dit.encode_text(a_text()))
    embedded = dit.embed(some_inputs(), SIGMAS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = dit(some_inputs(), SIGMAS, dit.encode_text(a_text()))
        cast = dit.embed(some_inputs(), SIGMAS)
        velocity = dit.unpatch(embedded.tokens, embedded.time, some_inputs().shape)
    assert got.dtype == torch.float32
    assert 1e-4 < relative_error(got, expected) < 1e-2
    assert torch.equal(cast.modulation, embedded.modulation)
    assert torch.equal(cast.tokens, embedded.tokens)
    assert torch.equal(velocity, dit.unpatch(embedded.tokens, embedded.time, some_inputs().shape))


def test_nag_follows_its_formula():
    positive, negative = torch.tensor([[[1.0, -2.0, 3.0]]]), torch.tensor([[[0.5, 1.0, -1.0]]])
    got = normalized_attention_guidance(positive, negative, NAG(scale=11, tau=2.5, alpha=0.25))
    assert got.flatten().tolist() == pytest.approx([1.0278, -2.9815, 4.2407], abs=1e-4)
    free = normalized_attention_guidance(positive, negative, NAG(scale=11, tau=20, alpha=1))
    assert free.flatten().tolist() == pytest.approx([6, -32, 43])
    nothing = torch.zeros(1, 1, 3)
    assert torch.equal(normalized_attention_guidance(nothing, nothing, NAG(11, 2.5, 0.25)), nothing)


def test_nag_limits_every_token_by_itself():
    positive = torch.tensor([[[1.0, -2.0, 3.0], [10.0, 10.0, 10.0]]])
    negative = torch.tensor([[[0.5, 1.0, -1.0], [9.0, 10.0, 10.0]]])
    got = normalized_attention_guidance(positive, negative, NAG(scale=11, tau=2.5, alpha=1))[0]
    assert got[0].abs().sum() == pytest.approx(2.5 * 6)
    assert got[1].tolist() == pytest.approx([20, 10, 10])


def test_nag_moves_the_velocity_away_from_the_negative(dit):
    text, negative = dit.encode_text(a_text()), dit.encode_text(a_text(seed=8))
    plain = dit(some_inputs(), SIGMAS, text)
    nag = NAG(scale=4, tau=2.5, alpha=0.5)
    assert torch.equal(dit(some_inputs(), SIGMAS, text.with_negative(negative)), plain)
    same = dit(some_inputs(), SIGMAS, text.with_negative(text), nag=nag)
    torch.testing.assert_close(same, plain, atol=1e-4, rtol=1e-4)
    unmoved = dit(some_inputs(), SIGMAS, text.with_negative(negative), nag=NAG(scale=1, tau=2.5, alpha=0.5))
    torch.testing.assert_close(unmoved, plain, atol=1e-4, rtol=1e-4)
    moved = dit(some_inputs(), SIGMAS, text.with_negative(negative), nag=nag)
    assert relative_error(moved, plain) > 0.01
    with pytest.raises(ValueError, match="negative"):
        dit(some_inputs(), SIGMAS, text, nag=nag)


def test_every_weight_learns_also_with_checkpointing():
    gradients, runs = [], []
    for checkpointing in (False, True):
        dit = a_dit().requires_grad_(True)
        runs.append(0)
        for block in dit.blocks:
            block.register_forward_pre_hook(lambda *_: runs.append(runs.pop() + 1))
        dit.checkpointing = checkpointing
        dit(some_inputs(), SIGMAS, dit.encode_text(a_text())).square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in dit.named_parameters()})
    assert runs == [3, 6]  # checkpointing runs every block a second time instead of keeping what it computed
    plain, checkpointed = gradients
    for name, gradient in plain.items():
        assert gradient.abs().sum() > 0, name
        torch.testing.assert_close(gradient, checkpointed[name])


def test_filming_first_does_not_spoil_training():
    """What one call keeps for the next must not be an inference tensor."""
    rope_table.cache_clear()
    dit = a_dit()
    with torch.inference_mode():
        dit(some_inputs(), SIGMAS, dit.encode_text(a_text()))
    dit.requires_grad_(True)
    dit(some_inputs(), SIGMAS, dit.encode_text(a_text())).sum().backward()
    assert dit.blocks[0].self_attn.q.weight.grad is not None


def test_a_block_is_one_graph(dit):
    text, embedded = dit.encode_text(a_text()), dit.embed(some_inputs(), SIGMAS)
    arguments = embedded.tokens, embedded.modulation, embedded.rope, BlockText(text.keys[0], text.values[0])
    compiled = torch.compile(dit.blocks[0], fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), dit.blocks[0](*arguments))


def test_what_does_not_fit_is_refused(dit):
    with pytest.raises(ValueError, match="even height and width, got 6 and 9"):
        dit(some_inputs()[..., :9], SIGMAS, dit.encode_text(a_text()))
    with pytest.raises(ValueError, match="at most 9 tokens, got 10"):
        dit.encode_text(a_text(tokens=10))
    with pytest.raises(ValueError, match="even width"):
        DiTConfig(dim=50, heads=10)
