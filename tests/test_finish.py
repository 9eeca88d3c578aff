"""Laws of what is done behind the network, frame by frame."""

import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from filming import film_plan, window
from safetensors.torch import save_file

from engine.checkpoints.find import find_models
from engine.finish.filters import cleaner, motion_compensated
from engine.finish.finisher import Finisher
from engine.finish.grain import SALT, STRENGTHS, Grain
from engine.finish.rife import Rife, Widths, load_rife, moments
from storage.footage import Frames
from storage.schema import Finish, Size, UserError

SIZE = Size(width=64, height=48)
SMALL = Widths(features=4, blocks=(16, 16, 16, 16, 16))


def moving(frames: int, step: int = 2) -> Frames:
    """A pattern that wanders to the right, [F, 48, 64, 3]."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 40, 3), dtype=np.uint8)
    wide = coarse.repeat(8, 0).repeat(8, 1)
    smooth = np.stack([np.roll(wide, shift, axis=1) for shift in range(-3, 4)]).mean(0).astype(np.uint8)
    return np.stack([smooth[:, 200 - step * n : 264 - step * n] for n in range(frames)])


def finisher(finish: Finish, folder: Path = Path("nowhere")) -> Finisher:
    plan = film_plan([window(1)]).model_copy(update={"finish": finish})
    return Finisher.of(plan, folder, torch.device("cpu"))


def finished(finish: Finish, chunks: list[Frames], before: Frames | None = None, folder: Path = Path()) -> Frames:
    return np.concatenate(list(finisher(finish, folder).finished(chunks, before, seed=5)))


def rife_in(folder: Path, widths: Widths = SMALL, prefix: str = "module.") -> Path:
    """A RIFE checkpoint with random weights, as flownet.pkl has its names."""
    torch.manual_seed(0)
    tensors = {prefix + name: tensor for name, tensor in Rife(widths).state_dict().items()}
    torch.save(tensors | {f"{prefix}teacher.conv0.0.0.bias": torch.zeros(3)}, folder / "rife.pkl")
    return folder / "rife.pkl"


def test_without_a_finish_frames_stay_as_they_are():
    frames = moving(5)
    assert np.array_equal(finished(Finish(), [frames[:2], frames[2:]]), frames)


@pytest.mark.parametrize(
    "finish",
    [
        Finish(interpolation=2),
        Finish(interpolation=4),
        Finish(interpolation=2, interpolator="rife"),
        Finish(deblocking=0.5, denoising=0.5, upscaling=1.5, interpolation=2),
    ],
    ids=["x2", "x4", "rife", "all"],
)
def test_window_by_window_is_all_at_once_frame_for_frame(finish: Finish, tmp_path: Path):
    rife_in(tmp_path)
    frames = moving(7)
    at_once = finished(finish, [frames], folder=tmp_path)
    parts = [
        finished(finish, [frames[:3]], folder=tmp_path),
        finished(finish, [frames[3:4], frames[4:5]], frames[:3], folder=tmp_path),
        finished(finish, [frames[5:]], frames[1:5], folder=tmp_path),
    ]
    assert np.array_equal(np.concatenate(parts), at_once)
    assert len(at_once) == 6 * finish.interpolation + 1


@pytest.mark.parametrize("times", [2, 4])
def test_interpolation_keeps_the_filmed_frames_and_puts_others_between_them(times: int):
    frames = moving(4)
    made = finished(Finish(interpolation=times), [frames])
    assert np.array_equal(made[::times], frames)
    for first, second in pairwise(range(0, len(made), times)):
        for between in made[first + 1 : second]:
            assert not np.array_equal(between, made[first])
            assert not np.array_equal(between, made[second])


def test_what_the_motion_compensated_filter_puts_between_lies_on_the_way():
    coarse = moving(2, step=4)
    half_way = moving(2, step=2)[1]
    (between,) = motion_compensated(coarse[0], coarse[1], 2)
    inner = slice(8, -8)
    error = np.abs(between[inner, inner].astype(int) - half_way[inner, inner]).mean()
    blend = np.abs(coarse.astype(int).mean(0)[inner, inner] - half_way[inner, inner]).mean()
    assert error < blend / 2


def test_upscaling_gives_multiples_of_16_and_keeps_the_picture():
    made = finished(Finish(upscaling=1.7), [moving(2)])
    assert made.shape == (2, 80, 112, 3)
    assert Finish(upscaling=4).size_of(SIZE) == Size(width=256, height=192)
    small = made[:, ::5, ::7].astype(int)
    assert np.abs(small.mean((1, 2)) - moving(2).mean((1, 2))).max() < 4


def test_deblocking_smooths_the_edges_of_blocks_and_nothing_else():
    ramp = np.linspace(100, 140, 64)[None, :, None].repeat(48, 0).repeat(3, 2)
    blocky = (ramp // 5 * 5).astype(np.uint8)
    blocky[:, :] = blocky[:, (np.arange(64) // 8) * 8]
    clean = cleaner(SIZE, 0.5, 0.0)(blocky)
    edges = np.abs(np.diff(blocky.astype(int), axis=1)).max()
    assert np.abs(np.diff(clean.astype(int), axis=1)).max() < edges
    assert np.array_equal(cleaner(SIZE, 0.5, 0.0)(np.full_like(blocky, 90)), np.full_like(blocky, 90))


def test_denoising_takes_noise_from_a_frame_the_more_the_stronger():
    noise = np.random.default_rng(1).normal(0, 8, (48, 64, 3))
    flat = np.clip(120 + noise, 0, 255).astype(np.uint8)
    spreads = [cleaner(SIZE, 0.0, strength)(flat).std() for strength in (0.0, 0.3, 0.6)]
    assert spreads[2] < spreads[1] < spreads[0] / 2
    pattern = moving(1)[0]
    noisy = np.clip(pattern + noise, 0, 255).astype(np.uint8)
    cleaned = cleaner(SIZE, 0.0, 0.4)(noisy)
    assert np.abs(cleaned.astype(int) - pattern).mean() < 0.7 * np.abs(noisy.astype(int) - pattern).mean()


def test_grain_is_that_of_its_formula_and_of_its_seed():
    grey = np.full((48, 64, 3), 128, np.uint8)
    grain = Grain(7, intensity=0.05, saturation=0.25)
    first, second = grain(grey), grain(grey)
    drawn = torch.randn(48, 64, 3, generator=torch.Generator().manual_seed(7 ^ SALT)).numpy() * STRENGTHS
    mixed = 0.25 * drawn + 0.75 * drawn[..., 1:2]
    np.testing.assert_allclose(first, np.clip(128 / 255 + 0.05 * mixed, 0, 1) * 255, atol=0.51)
    assert not np.array_equal(first, second), "every frame has its own"
    assert np.array_equal(Grain(7, 0.05, 0.25)(grey), first)
    assert not np.array_equal(Grain(8, 0.05, 0.25)(grey), first)
    without_colour = Grain(7, 0.05, 0.0)(grey)
    assert np.array_equal(without_colour[..., 0], without_colour[..., 2])


def test_rife_reads_a_published_checkpoint_by_name_from_a_pickle_and_from_safetensors(tmp_path: Path):
    network = load_rife(rife_in(tmp_path))
    tensors = torch.load(tmp_path / "rife.pkl", weights_only=True)
    save_file({name.removeprefix("module."): tensor for name, tensor in tensors.items()}, tmp_path / "same.safetensors")
    same = load_rife(tmp_path / "same.safetensors")
    first, second = moving(2)
    made, again = list(moments(network, first, second, 4)), list(moments(same, first, second, 4))
    assert len(made) == 3
    assert all(np.array_equal(*pair) for pair in zip(made, again, strict=True))
    assert not np.array_equal(made[0], made[2])


def test_rife_without_movement_blends_two_pictures_and_with_it_follows_them():
    """Weights by hand: the last convolutions are zero but for a bias, which is a flow and a share for every pixel."""
    network = Rife(SMALL).eval()
    for block in (network.get_submodule(f"block{number}") for number in range(5)):
        last = block.lastconv[0]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    first, second = torch.rand(2, 1, 3, 64, 64)
    torch.testing.assert_close(network(first, second, 0.5), (first + second) / 2)
    share = network.get_submodule("block4").lastconv[0].bias.data
    share.view(13, 4)[4] = 100.0  # all from the first picture
    torch.testing.assert_close(network(first, second, 0.5), first)
    share.view(13, 4)[0] = 3.0  # three pixels to the right of the wanted moment
    moved = network(first, second, 0.5)
    torch.testing.assert_close(moved[..., :-3], first[..., 3:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": torch.zeros(3)}, "no RIFE of version 4.25 or 4.26"),
        ({**Rife(SMALL).state_dict(), "block9.beta": torch.zeros(3)}, "no RIFE of version 4.25 or 4.26"),
    ],
    ids=["something else", "a tensor too many"],
)
def test_another_checkpoint_is_refused_in_a_sentence(tensors: dict[str, torch.Tensor], said: str, tmp_path: Path):
    torch.save(tensors, tmp_path / "rife.pkl")
    with pytest.raises(UserError, match=said):
        finisher(Finish(interpolation=2, interpolator="rife"), tmp_path)


def test_a_network_that_is_not_there_or_damaged_is_told_before_anything_is_filmed(tmp_path: Path):
    with pytest.raises(UserError, match=r"There is no big to finish the film with: put big.safetensors or .pth into"):
        finisher(Finish(upscaling=2, upscaler="big"), tmp_path)
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"bad.pth cannot be read: it is damaged"):
        finisher(Finish(interpolation=2, interpolator="bad"), tmp_path)


def test_an_upscaler_without_spandrel_is_told_with_the_extra_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    (tmp_path / "big.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"needs spandrel.*pip install 'longtake\[upscaling\]'"):
        finisher(Finish(upscaling=2, upscaler="big"), tmp_path)


class Doubling(torch.nn.Module):
    """An upscaler as spandrel gives one: it doubles, and turns red into blue."""

    input_channels = output_channels = 3

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.repeat_interleave(2, 2).repeat_interleave(2, 3).flip(1)


class Spandrel(ModuleType):
    """What is used of spandrel 0.4.2, which cannot be installed beside every torch."""

    ImageModelDescriptor = Doubling
    UnsupportedModelError = type("UnsupportedModelError", (Exception,), {})

    class ModelLoader:
        def __init__(self, device: torch.device) -> None:
            assert device.type == "cpu"

        def load_from_file(self, file: Path) -> torch.nn.Module:
            if file.read_bytes() != b"weights":
                raise Spandrel.UnsupportedModelError
            return Doubling()


def test_an_upscaler_enlarges_by_its_factor_and_lanczos_does_the_rest(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", Spandrel("spandrel"))
    (tmp_path / "big.pth").write_bytes(b"weights")
    frames = moving(1)
    twice = finished(Finish(upscaling=2, upscaler="big"), [frames], folder=tmp_path)
    assert np.array_equal(twice, frames.repeat(2, 1).repeat(2, 2)[..., ::-1])
    assert finished(Finish(upscaling=3, upscaler="big"), [frames], folder=tmp_path).shape == (1, 144, 192, 3)
    (tmp_path / "big.pth").write_bytes(b"something else")
    with pytest.raises(UserError, match="spandrel knows no such network"):
        finisher(Finish(upscaling=2, upscaler="big"), tmp_path)


def test_files_of_a_finish_are_no_parts_of_the_14_b_model(tmp_path: Path):
    (tmp_path / "finish").mkdir()
    save_file(
        {name: tensor.contiguous() for name, tensor in Rife(SMALL).state_dict().items()},
        tmp_path / "finish" / "rife.safetensors",
    )
    torch.save({"params_ema": {"conv_first.weight": torch.zeros(64, 3, 3, 3)}}, tmp_path / "finish" / "big.pth")
    found = find_models(tmp_path)
    assert (found.pieces, found.unusable) == ({}, ())


def test_names_of_networks_are_no_paths():
    for name in ("../x", "/x", ".x", "a\\b"):
        with pytest.raises(ValueError, match="pattern"):
            Finish(interpolator=name)
