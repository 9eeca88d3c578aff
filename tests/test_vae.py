"""Laws of the VAE, and its parity with diffusers."""

import pytest
import torch
from oracles import randomise, relative_error, vae_to_diffusers
from torch import Tensor

from engine.vae import VAE, CausalState, VAEConfig

CONFIG = VAEConfig(base_dim=8)
HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def vae() -> VAE:
    network = VAE(CONFIG)
    randomise(network, seed=1)
    return network.requires_grad_(False)


def a_video(frames: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, frames, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def some_latents(latent_frames: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(latent_frames)
    return torch.randn(batch, 16, latent_frames, HEIGHT // 8, WIDTH // 8, generator=generator)


@pytest.fixture(scope="module")
def oracle(vae):
    from diffusers import AutoencoderKLWan

    network = AutoencoderKLWan(base_dim=CONFIG.base_dim)
    network.load_state_dict(vae_to_diffusers(vae.state_dict()))
    return network.requires_grad_(False)


def test_full_size_has_the_official_tensors():
    with torch.device("meta"):
        tensors = VAE(VAEConfig()).state_dict()
    assert len(tensors) == 194
    assert sum(tensor.numel() for tensor in tensors.values()) == 126_892_531
    assert tensors["encoder.downsamples.5.time_conv.weight"].shape == (192, 192, 3, 1, 1)
    assert tensors["decoder.upsamples.4.shortcut.weight"].shape == (384, 192, 1, 1, 1)
    assert tensors["decoder.middle.0.residual.3.gamma"].shape == (384, 1, 1, 1)
    assert tensors["encoder.middle.1.norm.gamma"].shape == (384, 1, 1)


def test_encodes_as_diffusers(vae, oracle):
    video = a_video(13)
    posterior = oracle.encode(video).latent_dist
    mean, logvar = vae.encode_distribution(video)
    assert relative_error(mean, posterior.mean) < 1e-5
    assert relative_error(logvar, posterior.logvar) < 1e-5
    statistics = oracle.config.latents_mean, oracle.config.latents_std
    shift, scale = (torch.tensor(row).view(1, -1, 1, 1, 1) for row in statistics)
    assert relative_error(vae.encode(video), (posterior.mean - shift) / scale) < 1e-5


def test_decodes_as_diffusers(vae, oracle):
    latents = some_latents(4) * 0.3
    expected = oracle.decode(vae.denormalise(latents)).sample
    got = vae.decode_all(latents)
    assert got.shape == (2, 3, 13, HEIGHT, WIDTH)
    assert relative_error(got, expected) < 1e-5
    assert expected.std() > 0.1
    assert (expected.abs() == 1).float().mean() < 0.5  # a picture, not a clamped plane


@pytest.mark.parametrize("latents_per_call", [2, 3, 7])
def test_chunk_sizes_do_not_change_the_result(vae, latents_per_call):
    video, latents = a_video(25, batch=1), some_latents(7, batch=1)
    assert relative_error(vae.encode(video, latents_per_call), vae.encode(video)) < 1e-5
    assert relative_error(vae.decode_all(latents, latents_per_call), vae.decode_all(latents)) < 1e-5


def test_decoding_streams(vae):
    latents = some_latents(6, batch=1)
    assert [chunk.shape[2] for chunk in vae.decode(latents, latents_per_call=2)] == [1, 8, 8, 4]
    first = next(iter(vae.decode(latents)))
    assert torch.equal(first, vae.decode_all(latents[:, :, :1]))


def test_an_image_is_latent_frame_0_of_every_video_that_begins_with_it(vae):
    video = a_video(9)
    image = vae.encode(video[:, :, :1])
    assert image.shape == (2, 16, 1, HEIGHT // 8, WIDTH // 8)
    torch.testing.assert_close(vae.encode(video)[:, :, :1], image)


def test_no_layer_sees_the_future(vae):
    video, latents = a_video(13), some_latents(4)
    torch.testing.assert_close(vae.encode(video)[:, :, :2], vae.encode(video[:, :, :5]))
    torch.testing.assert_close(vae.decode_all(latents)[:, :, :9], vae.decode_all(latents[:, :, :3]))


def test_two_videos_do_not_share_memory(vae):
    alone = vae.decode_all(some_latents(3))
    streams = [vae.decode(some_latents(3)), vae.decode(some_latents(3) + 1)]
    mixed = [torch.cat(chunks, dim=2) for chunks in zip(*zip(*streams, strict=True), strict=True)]
    assert torch.equal(mixed[0], alone)
    assert not torch.allclose(mixed[1], alone)


def test_normalise_has_an_inverse_and_the_statistics_of_the_config():
    config = VAEConfig(base_dim=4, z_dim=2, latent_mean=(1.0, -2.0), latent_std=(2.0, 0.5))
    network = VAE(config).to(torch.bfloat16)
    raw = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1, 1)
    assert network.normalise(raw).flatten().tolist() == [1.0, 2.0]
    assert torch.equal(network.denormalise(network.normalise(raw)), raw)


def test_bfloat16_with_channels_last_weights_is_close(vae):
    network = VAE(CONFIG)
    network.load_state_dict(vae.state_dict())
    network.to(torch.bfloat16).channels_last().requires_grad_(False)
    video, latents = a_video(9, batch=1), some_latents(3, batch=1)
    encoded, decoded = network.encode(video), network.decode_all(latents, latents_per_call=2)
    assert encoded.dtype == decoded.dtype == torch.float32
    assert relative_error(encoded, vae.encode(video)) < 0.05
    assert relative_error(decoded, vae.decode_all(latents)) < 0.05


def test_channels_last_is_a_layout_and_nothing_else(vae):
    network = VAE(CONFIG)
    network.load_state_dict(vae.state_dict())
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for key, weight in network.channels_last().state_dict().items():
        assert torch.equal(weight, vae.state_dict()[key])
        if key.endswith("weight"):
            assert weight.is_contiguous(memory_format=layouts[weight.ndim]), key


def test_every_weight_learns():
    network = VAE(CONFIG)
    randomise(network, seed=3)
    mean, logvar = network.encode_distribution(a_video(9, batch=1), latents_per_call=2)
    pixels = network.reconstruct(network.normalise(mean + torch.exp(0.5 * logvar)))
    pixels.square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_reconstruct_is_decoding_without_the_clamp(vae):
    latents = some_latents(4) * 3
    pixels = vae.reconstruct(latents)
    assert pixels.abs().max() > 1
    assert relative_error(pixels.clamp(-1, 1), vae.decode_all(latents)) < 1e-5
    assert torch.equal(vae.reconstruct(latents[:, :, :1]).clamp(-1, 1), vae.decode_all(latents[:, :, :1]))


@pytest.mark.parametrize("shape", [(1, 3, 4, 24, 40), (1, 3, 0, 24, 40), (1, 3, 5, 20, 40), (1, 3, 5, 24, 41)])
def test_shapes_that_do_not_fit_are_refused(vae, shape):
    with pytest.raises(ValueError, match="needs 4 k"):
        vae.encode(torch.zeros(shape))


def test_chunks_out_of_order_are_refused(vae):
    with pytest.raises(ValueError, match="latent frame 0 alone, got 2"):
        vae.decode_chunk(some_latents(2), CausalState())
    with pytest.raises(ValueError, match="one frame, the others 4 k frames, got 5"):
        vae.encode_chunk(a_video(5), CausalState())
    with pytest.raises(ValueError, match="latents_per_call"):
        vae.decode(some_latents(2), latents_per_call=0)
    with pytest.raises(ValueError, match="16 numbers"):
        VAEConfig(latent_mean=(0.0,))
