"""Laws of the kernels' plain twins; and the kernels themselves, in a process of their own."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from oracles import randomise, relative_error
from torch import Tensor

from engine.attention import self_attention, self_attention_fp8
from engine.kernels import frames, rows
from engine.kernels.heads import Heads, normed_heads, quantised_heads
from engine.kernels.rows import FP8_MAX
from engine.vae import VAE, CausalState, VAEConfig

KERNELS = Path(__file__).parent / "interpreted_kernels.py"


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton for this system")
def test_every_kernel_is_its_twin():
    """Triton decides when it is imported whether it interprets, so this needs a process that has not imported it."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(KERNELS)],
        env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", run.stdout)[0]) > 40, run.stdout[-500:]


@pytest.mark.parametrize("latents_per_call", [1, 2, 5])
def test_a_decoder_on_padded_frames_is_the_decoder(latents_per_call):
    vae, latents = VAE(VAEConfig(base_dim=8)).requires_grad_(False), noise(1, 16, 4, 3, 5)
    randomise(vae, 3)
    expected = vae.decode_all(latents)
    on_frames, state = frames.FrameDecoder(vae.decoder), CausalState()
    parts = [latents[:, :, :1], *latents[:, :, 1:].split(latents_per_call, dim=2)]
    got = torch.cat([on_frames(vae.conv2(vae.denormalise(part), state), state) for part in parts], dim=2)
    torch.testing.assert_close(got.clamp(-1, 1), expected, rtol=1e-4, atol=1e-5)


def test_a_row_in_fp8_uses_the_whole_range_of_the_type():
    x = noise(6, 40) * torch.tensor([1e-6, 1e-2, 1.0, 30.0, 1e4, 0.0])[:, None]
    x8 = rows.quantised(x)
    assert x8.values.float().abs().amax(-1).tolist() == [FP8_MAX] * 5 + [0.0]
    assert ((x8.wide() - x).abs() <= x.abs() / 16 + x8.scales / 2**9).all()


UPRIGHT = torch.stack((torch.ones(40, 1, 8), torch.zeros(40, 1, 8)))  # the rope that turns nothing


def test_normed_heads_never_leave_the_range_of_the_type():
    """Not even where one number is all of a row, and rope turns it onto the axis of a smaller weight."""
    weight, turned = noise(48, seed=3) * 5, UPRIGHT.flip(0)
    lonely = torch.eye(48)[torch.arange(40) % 48].view(1, 40, 3, 16)
    for x in (lonely, noise(2, 40, 3, 16)):
        heads = heads_of(x, weight, turned)
        torch.testing.assert_close(heads.wide(), rows.rms_norm(x, weight, 1e-6, turned), rtol=1 / 16, atol=1e-2)
        assert heads.values.float().abs().max() <= FP8_MAX


def heads_of(x: Tensor, weight: Tensor, rope: Tensor = UPRIGHT, *, centred: bool = False) -> Heads:
    return normed_heads(x, weight, 1e-6, rope, centred=centred)


def attended(q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
    """Attention of normed queries and keys, unrounded."""
    return self_attention(*(rows.rms_norm(x, weight, 1e-6, UPRIGHT) for x in (q, k)), v)


def attended_in_fp8(q: Tensor, k: Tensor, v: Tensor, weight: Tensor, *, centred: bool = True) -> Tensor:
    values = quantised_heads(v)
    seen = self_attention_fp8(heads_of(q, weight), heads_of(k, weight, centred=centred), values)
    return seen + values.centre[:, None]


def test_centred_keys_leave_an_attention_as_it_is():
    """A vector that all keys share moves all scores of a query alike, so no softmax sees it."""
    q, k, v = (noise(2, 40, 3, 16, seed=seed) for seed in range(3))
    k, weight = k + 20 * noise(1, 1, 3, 16, seed=4), torch.full((48,), 2.0)
    near, far = (attended_in_fp8(q, k, v, weight, centred=centred) for centred in (True, False))
    exact = attended(q, k, v, weight)
    assert relative_error(near, exact) < 0.05 < relative_error(far, exact)


def test_values_keep_what_they_share():
    """However large it is beside what tells them apart."""
    q, k, v = (noise(2, 40, 3, 16, seed=seed) for seed in range(3))
    shared, weight = 50 * noise(1, 1, 3, 16, seed=4), torch.ones(48)
    assert relative_error(attended_in_fp8(q, k, v + shared, weight) - shared, attended(q, k, v, weight)) < 0.05
