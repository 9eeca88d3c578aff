"""Each kernel against its plain twin, on this CPU. test_kernels.py runs this file, under Triton's interpreter.

NOTE: the interpreter cuts numbers off where a GPU rounds them, so in bfloat16 and fp8 neighbours count as equal.
"""

from collections.abc import Callable

import pytest
import torch
from oracles import randomise, relative_error
from torch import Tensor

from engine.dit import DiT, DiTConfig
from engine.kernels import frames, fused, plainly, rows
from engine.kernels.heads import Heads, normed_heads, quantised_heads
from engine.kernels.rows import FP8, Rows
from engine.vae import VAE, VAEConfig

TOKENS, HEADS, HEAD_DIM = 7, 5, 12
WIDTH = HEADS * HEAD_DIM


def noise(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def vectors(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gate, factor and shift, as the modulation gives them: parts of one tensor."""
    gate, factor, shift = noise(batch, 3, WIDTH, seed=2).chunk(3, dim=1)
    return gate, factor, shift


Out = Tensor | Rows


def both(run: Callable[[], Out | tuple[Out, ...]]) -> list[tuple[Out, Out]]:
    """Pairs of what the kernel makes and what its twin makes."""
    assert fused(torch.zeros(1))
    fast = run()
    with plainly():
        assert not fused(torch.zeros(1))
        plain = run()
    return list(zip(fast, plain, strict=True)) if isinstance(fast, tuple) else [(fast, plain)]


def assert_alike(fast: Out, plain: Out) -> None:
    """Equal up to one step of their type."""
    if isinstance(plain, Rows):
        torch.testing.assert_close(fast.scales, plain.scales, rtol=1e-5, atol=0)
        a, b = fast.values.float(), plain.values.float()
        power_of_two = torch.frexp(b).mantissa.abs() == 0.5  # the interpreter forgets to carry into the exponent
        assert ((a - b).abs() <= b.abs() / 8 + 2**-9)[~power_of_two].all()
        assert power_of_two.float().mean() < 0.3
    else:
        assert fast.dtype == plain.dtype
        step = TOLERANCES[plain.dtype]
        torch.testing.assert_close(fast.float(), plain.float(), rtol=step, atol=step / 4)


TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 2**-7}  # relative
norms = {
    "norm": lambda x, change, gate, factor, shift, dtype: rows.layer_norm(x, factor, shift, 1e-6, dtype),
    "add and norm": lambda x, change, gate, *rest: rows.add_and_norm(x, change, gate, *rest[:2], 1e-6, rest[2]),
    "add and norm, ungated": lambda x, change, _, *rest: rows.add_and_norm(x, change, None, *rest[:2], 1e-6, rest[2]),
    "add": lambda x, change, gate, *_: rows.add(x, change, gate),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, FP8])
@pytest.mark.parametrize("name", norms)
@pytest.mark.parametrize("batch", [1, 2])  # of the modulation; there are always two samples
def test_norms_are_their_twins(name, dtype, batch):
    x, change = noise(2, TOKENS, WIDTH) * 3 + 1, noise(2, TOKENS, WIDTH, seed=3, dtype=torch.bfloat16)
    for fast, plain in both(lambda: norms[name](x, change, *vectors(batch), dtype)):
        assert_alike(fast, plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_the_norm_of_queries_and_keys_is_its_twin(dtype, turned, strided):
    whole = noise(2, TOKENS, 3 * WIDTH, dtype=dtype)
    x = (whole[..., WIDTH : 2 * WIDTH] if strided else noise(2, TOKENS, WIDTH, dtype=dtype)).unflatten(2, (HEADS, -1))
    rope = noise(2, TOKENS, 1, HEAD_DIM // 2, seed=4) if turned else None
    before = x.clone()
    [(fast, plain)] = both(lambda: rows.rms_norm(x, noise(WIDTH, seed=5), 1e-6, rope))
    assert_alike(fast, plain)
    assert torch.equal(x, before)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of a large negative number: its GELU is zero
@pytest.mark.parametrize("width", [WIDTH, 1024, 2100])  # one part of a row, a full one, two
def test_rounding_is_its_twin(width):
    x = noise(3, width, dtype=torch.bfloat16) * torch.tensor([[1e-3], [1.0], [50.0]], dtype=torch.bfloat16)
    for run in (lambda: rows.quantised(x), lambda: rows.gelu(x, FP8), lambda: rows.gelu(x, torch.bfloat16)):
        [(fast, plain)] = both(run)
        assert_alike(fast, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, FP8])
def test_shifting_is_its_twin(dtype):
    x, shift = noise(2, TOKENS, WIDTH, dtype=torch.bfloat16), noise(2, WIDTH, seed=2)
    [(fast, plain)] = both(lambda: rows.shifted(x, shift, dtype))
    assert_alike(fast, plain)


def heads_alike(run: Callable[[], Heads]) -> None:
    assert fused(torch.zeros(1))
    fast = run()
    with plainly():
        plain = run()
    torch.testing.assert_close(fast.centre, plain.centre)
    assert_alike(*(Rows(heads.values, heads.scales[..., None]) for heads in (fast, plain)))


@pytest.mark.parametrize("tokens", [TOKENS, 700])  # 700: more than one program's rows
def test_heads_are_rounded_as_by_their_twin(tokens):
    x = (noise(2, tokens, 3 * WIDTH, dtype=torch.bfloat16) - 4)[..., :WIDTH].unflatten(2, (HEADS, -1))
    heads_alike(lambda: quantised_heads(x))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("tokens", [TOKENS, 40])  # 40: more than one is sampled
def test_heads_are_normed_and_rounded_as_by_their_twin(centred, tokens):
    x = (noise(2, tokens, WIDTH, dtype=torch.bfloat16) + 1).unflatten(2, (HEADS, -1))
    rope = noise(2, tokens, 1, HEAD_DIM // 2, seed=4)
    heads_alike(lambda: normed_heads(x, noise(WIDTH, seed=5), 1e-6, rope, centred=centred))


CONVOLUTIONS = [
    (16, 24, (3, 3, 3), True), (24, 16, (1, 3, 3), False), (16, 32, (3, 1, 1), False), (8, 3, (3, 3, 3), False),
    (96, 96, (3, 3, 3), True), (192, 192, (1, 1, 1), True), (32, 384, (1, 1, 1), False),
]  # fmt: skip


@pytest.mark.parametrize(("channels", "outputs", "kernel", "beside"), CONVOLUTIONS)
def test_a_convolution_is_its_twin_and_keeps_its_border_zero(channels, outputs, kernel, beside):
    x = frames.padded(noise(1, channels, 4, 5, 6))
    weight = frames.packed(noise(outputs, channels, *kernel, seed=2) / (channels * 27) ** 0.5)
    residual = frames.padded(noise(1, outputs, 5 - kernel[0], 5, 6, seed=3)) if beside else None
    [(fast, plain)] = both(lambda: frames.convolution(x, weight, noise(outputs, seed=4), kernel, residual))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    inside = torch.zeros_like(fast)
    inside[:, 1:-1, 1:-1] = 1
    assert not fast[inside == 0].any()


@pytest.mark.parametrize("split", [1, 2])
def test_norm_and_enlarging_are_their_twins(split):
    x = frames.padded(noise(1, 12 * split, 3, 4, 5))
    [(fast, plain)] = both(lambda: frames.enlarged(x, split))
    assert torch.equal(fast, plain)
    out = torch.full_like(x, torch.nan), torch.full_like(x, torch.nan)
    frames.norm_silu(x, noise(12 * split), out[0])
    with plainly():
        frames.norm_silu(x, noise(12 * split), out[1])
    torch.testing.assert_close(*out)


@torch.inference_mode()
def test_networks_on_kernels_are_networks_without():
    sizes = DiTConfig(dim=48, heads=4, ffn_dim=80, freq_dim=32, layers=2, text_dim=20, text_len=9)
    dit, vae = DiT(sizes), VAE(VAEConfig(base_dim=8))
    randomise(dit, 1)
    randomise(vae, 2)
    sigma, latents = torch.tensor([0.7], dtype=torch.float64), noise(1, 16, 3, 1, 2)

    def film() -> tuple[Tensor, Tensor]:
        text = dit.encode_text(noise(1, 4, 20))
        return dit(noise(1, 36, 2, 4, 6), sigma, text), vae.decode_all(latents, 1)

    for fast, plain in both(film):
        assert plain.std() > 0.1
        assert relative_error(fast, plain) < 5e-6
