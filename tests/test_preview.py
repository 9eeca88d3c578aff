"""Laws of pictures of latents, and the tiny decoder's parity with the numbers of its own project."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from card_states import PHOTO
from oracles import randomise, relative_error
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from engine.models import DEMO
from engine.parts import in_folder
from engine.pixels import frames_to_pixels, to_uint8
from engine.previews.preview import STRIP_HEIGHT, decoded_preview, fitted_preview, linear_preview, preview_strip
from engine.previews.taehv import TAEHV, load_taehv
from engine.samplers import sample
from engine.vae import VAE, CausalState, VAEConfig
from storage.schema import Solver, UserError

CPU = torch.device("cpu")
WIDTHS = (12, 8, 6, 4)


def numbered(shape: tuple[int, ...], start: int = 0) -> Tensor:
    """Numbers that look random and depend on nothing but their place: sin(0.7 n^2), n counted from `start`."""
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64) + start
    return torch.sin(0.7 * n * n).reshape(shape).float()


def some_latents(latent_frames: int, batch: int = 1, height: int = 3, width: int = 5) -> Tensor:
    return 2 * numbered((batch, 16, latent_frames, height, width), start=latent_frames)


@pytest.fixture(scope="module")
def tiny() -> TAEHV:
    """Tensors in the order of their names are filled with one run of numbers; few pixels are clamped."""
    network = TAEHV(WIDTHS)
    start = 0
    for name, parameter in sorted(network.named_parameters()):
        gain = 0.3 if parameter.ndim == 1 else (1.5 / parameter[0].numel()) ** 0.5
        middle = 0.5 if name == "decoder.22.bias" else 0
        parameter.data = numbered(tuple(parameter.shape), start) * gain + middle
        start += parameter.numel()
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def vae() -> VAE:
    network = VAE(VAEConfig(base_dim=4))
    randomise(network, seed=1)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def demo_vae(tmp_path_factory) -> VAE:
    return in_folder(DEMO, CPU, torch.float32, tmp_path_factory.mktemp("embeddings")).load_vae()


def test_decodes_as_the_project_of_taehv_does(tiny):
    """Expected: madebyollin/taehv 1f14a56's blocks at these widths, both its ways of decoding; every 653rd number."""
    expected = [
        0.20615, -0.88903, -0.83469, -0.77376, 0.07177, 0.06602, 0.45507, -0.11992,
        0.02014, 0.06032, -0.04274, -0.56799, -0.46085, -0.40641, -0.18904, -0.1161,
    ]  # fmt: skip
    pixels = tiny.decode_all(2 * numbered((1, 16, 3, 2, 3)))
    assert pixels.shape == (1, 3, 9, 16, 24)
    torch.testing.assert_close(pixels.flatten()[::653], torch.tensor(expected), rtol=0, atol=2e-5)


def test_full_size_has_the_tensors_of_the_file():
    with torch.device("meta"):
        tensors = TAEHV().state_dict()
    assert len(tensors) == 64
    assert sum(tensor.numel() for tensor in tensors.values()) == 9_844_611
    assert tensors["decoder.13.conv.weight"].shape == (256, 128, 1, 1)
    assert tensors["decoder.9.conv.0.weight"].shape == (128, 256, 3, 3)


@pytest.mark.parametrize("latents_per_call", [1, 2, 5])
def test_chunk_by_chunk_equals_all_at_once(tiny, latents_per_call):
    latents = some_latents(7, batch=2)
    whole = tiny.decode_all(latents, latents_per_call=7)
    assert whole.shape == (2, 3, 25, 24, 40)
    assert relative_error(tiny.decode_all(latents, latents_per_call), whole) < 1e-6
    assert whole.std() > 0.2


def test_frames_come_as_they_are_made(tiny):
    latents = some_latents(5)
    assert [chunk.shape[2] for chunk in tiny.decode(latents, latents_per_call=2)] == [5, 8, 4]
    first = next(iter(tiny.decode(latents, latents_per_call=2)))
    torch.testing.assert_close(first, tiny.decode_all(latents[:, :, :2]))


def test_two_videos_do_not_share_memory(tiny):
    states = CausalState(), CausalState()
    videos = some_latents(3), -some_latents(3)
    chunks = [[tiny.decode_chunk(v[:, :, t : t + 1], s) for v, s in zip(videos, states, strict=True)] for t in range(3)]
    for video, parts in zip(videos, zip(*chunks, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts, dim=2), tiny.decode_all(video))


def test_pixels_are_float32_between_minus_1_and_1_in_any_precision(tiny):
    network = TAEHV(WIDTHS).requires_grad_(False)
    network.load_state_dict(tiny.state_dict())
    latents = 3 * some_latents(3)
    for pixels in (tiny.decode_all(latents), network.to(torch.bfloat16).decode_all(latents)):
        assert pixels.dtype == torch.float32
        assert -1 <= pixels.min() < -0.9
        assert 0.5 < pixels.max() <= 1
    assert relative_error(network.decode_all(latents), tiny.decode_all(latents)) < 0.05


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A whole file at full size, encoder included, in the float16 that the published files have."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in TAEHV().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    decoder = {name: 0.03 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: tensor.half() for name, tensor in (decoder | {"encoder.0.weight": torch.ones(64, 3, 3, 3)}).items()}


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_both_kinds_of_file_give_the_network_that_was_written(weights, tmp_path, suffix):
    path = tmp_path / f"taew2_1.{suffix}"
    save_file(weights, path) if suffix == "safetensors" else torch.save(weights, path)
    network = load_taehv(path, CPU, torch.float32)
    decoder = {name: tensor for name, tensor in weights.items() if name.startswith("decoder.")}
    assert network.state_dict().keys() == decoder.keys()
    assert all(torch.equal(network.state_dict()[name], tensor.float()) for name, tensor in decoder.items())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in load_taehv(path, CPU).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"decoder.22.bias": None}, "decoder.22.bias is missing."),
        ({"decoder.0.weight": torch.ones(1)}, "decoder.0.weight is surplus."),
        ({"decoder.22.bias": torch.ones(12)}, "decoder.22.bias is [12] instead of [3]."),
        (
            {f"decoder.4.conv.{n}.bias": None for n in (0, 2, 4)} | {"more": torch.ones(1), "encoder.x": torch.ones(1)},
            "decoder.4.conv.0.bias is missing, decoder.4.conv.2.bias is missing, decoder.4.conv.4.bias is missing"
            " and 1 more.",
        ),
    ],
)
def test_a_tensor_that_is_amiss_is_named(weights, tmp_path, change, sentence):
    path = tmp_path / "taew2_1.safetensors"
    save_file({name: tensor for name, tensor in (weights | change).items() if tensor is not None}, path)
    with pytest.raises(UserError) as error:
        load_taehv(path, CPU)
    assert str(error.value) == f"taew2_1.safetensors does not fit the preview decoder: {sentence}"


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_the_linear_map_shows_the_mean_latent_and_each_channel_as_it_should():
    """By hand: (1 + bias) 127.5 is 104.1, 116.4, 84.7; channel 2 adds 45.5, 32.5, 22.3; channel 6 takes
    44.3, 51.8, 37.3.
    """
    latents = torch.zeros(1, 16, 3, 2, 5)
    latents[:, 2, 1], latents[:, 6, 2, 1, 4] = 1, 1
    pictures = linear_preview(latents)
    assert (pictures.shape, pictures.dtype) == ((3, 2, 5, 3), np.uint8)
    assert (pictures[0] == (104, 116, 84)).all()
    assert (pictures[1] == (149, 148, 106)).all()
    assert pictures[2, 1, 4].tolist() == [59, 64, 47]
    assert (pictures[2, 0] == (104, 116, 84)).all()


def test_the_linear_map_weighs_all_sixteen_channels():
    """Expected: ComfyUI's factors in float64, which no byte boundary is close to."""
    picture = linear_preview(numbered((1, 16, 1, 1, 5)))[0, 0]
    assert picture.tolist() == [[32, 87, 13], [70, 20, 24], [63, 144, 127], [0, 0, 0], [158, 202, 152]]


def test_the_linear_map_keeps_within_bytes_and_refuses_what_is_not_wans():
    assert set(np.unique(linear_preview(1000 * some_latents(2)))) == {0, 255}
    with pytest.raises(ValueError, match=r"needs latents \[1, 16, T, h, w\], got \[1, 48"):
        linear_preview(torch.zeros(1, 48, 2, 2, 2))


@pytest.mark.parametrize("latents_per_call", [1, 3])
def test_a_decoder_shows_the_last_frame_of_each_latent(tiny, vae, latents_per_call):
    latents = some_latents(5)
    for network in (tiny, vae):
        pictures = decoded_preview(lambda x, network=network: network.decode(x, latents_per_call))(latents)
        every_fourth = to_uint8(network.decode_all(latents, latents_per_call)[:, :, ::4])
        assert pictures.shape == (5, 24, 40, 3)
        assert np.array_equal(pictures, every_fourth)


def test_a_fitted_map_finds_any_linear_map_again():
    """A picture that is linear in its latent, 8 pixels a latent pixel, within bytes."""
    rgb, bias = 0.02 * numbered((16, 3), start=3), 0.1 * numbered((3,))
    first, others = some_latents(1, height=9, width=8), some_latents(4)
    picture = torch.einsum("bcthw,cr->brthw", first, rgb) + bias.view(1, 3, 1, 1, 1)
    pixels = picture.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)
    fitted, exact = fitted_preview(first, pixels)(others), linear_preview(others, rgb.tolist(), bias.tolist())
    assert fitted.shape == (4, 3, 5, 3)
    assert abs(fitted.astype(int) - exact).max() <= 1
    assert np.ptp(exact) > 20


def test_a_fitted_map_stays_tame_where_a_picture_says_nothing():
    """Of a picture of one colour it is that colour, whatever the latents are."""
    fitted = fitted_preview(torch.zeros(1, 16, 1, 3, 5), torch.full((1, 3, 1, 24, 40), 0.5))
    assert (fitted(some_latents(2)) == 191).all()


def test_of_the_demonstration_model_a_fitted_map_shows_what_its_decoder_shows(demo_vae):
    """Fitted to one half of a photo, and asked for the other half, at an eighth of the size."""
    photo = frames_to_pixels(np.asarray(Image.open(PHOTO).convert("RGB").resize((256, 288)))[None])
    given, other = photo[..., :144, :], photo[..., 144:, :]
    shown = fitted_preview(demo_vae.encode(given), given)(demo_vae.encode(other))[0]
    eighth = to_uint8(F.avg_pool2d(other[0, :, 0], 8)[None, :, None])[0]
    error = (shown.astype(float) - eighth) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 20


def shades(latents: Tensor) -> np.ndarray:
    """A previewer that shows the number that a latent frame is filled with as grey, 10 high and 20 wide."""
    levels = latents[0, 0, :, 0, 0].numpy().astype(np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (len(levels), 10, 20, 3))


@pytest.mark.parametrize(
    ("latent_frames", "continues", "shown"),
    [(21, False, [0, 7, 13, 20]), (21, True, [1, 7, 14, 20]), (3, True, [1, 2]), (1, False, [0]), (4, False, range(4))],
)
def test_a_strip_is_at_most_four_even_moments_without_the_anchor_of_a_continuation(latent_frames, continues, shown):
    counted = torch.arange(latent_frames).float().view(1, 1, -1, 1, 1).expand(1, 16, -1, 1, 2)
    strip = preview_strip(counted, shades, continues=continues)
    assert (strip.mode, strip.size) == ("RGB", (2 * STRIP_HEIGHT * len(shown), STRIP_HEIGHT))
    assert np.asarray(strip)[100, 200::400, 0].tolist() == list(shown)


def test_pictures_of_a_strip_do_not_run_into_each_other():
    latents = torch.zeros(1, 16, 2, 4, 6)
    latents[:, :, 1] = -1000
    left, right = np.split(np.asarray(preview_strip(latents, linear_preview, continues=False)), 2, axis=1)
    assert len(np.unique(left.reshape(-1, 3), axis=0)) == len(np.unique(right.reshape(-1, 3), axis=0)) == 1
    assert not np.array_equal(left, right)


def test_a_strip_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 latent frames leave nothing"):
        preview_strip(torch.zeros(1, 16, 1, 2, 2), linear_preview, continues=True)


def test_what_a_step_shows_at_last_is_where_the_walk_ends():
    seen: list[Tensor] = []
    ended = sample(
        Solver.EULER,
        lambda x, _: torch.sin(x),
        some_latents(2),
        (1.0, 0.6, 0.0),
        lambda walk: seen.append(walk.videos[0]),
    )
    assert len(seen) == 2
    torch.testing.assert_close(seen[-1], ended)
