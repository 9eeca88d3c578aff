"""Laws of video to video: on tensors made by hand, on a window of the toy networks, and on files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from filming import PHOTO, SIZE, draw, film_plan, window
from noise import noise_of
from PIL import Image
from torch import Tensor

from engine.condition import window_noise
from engine.denoise import denoise
from engine.folder import Handover, WorkFolder
from engine.guide import WindowGuide, mask_of
from engine.guide_video import read_mask, window_guide
from engine.models import Models, ModelShelf
from engine.pixels import frames_to_pixels
from engine.samplers import noised, sample
from engine.segments import write_segment
from storage.footage import read_frames, read_part
from storage.schema import ContinueTake, Guide, MagCacheSettings, MediaId, Plan, Sampling, SkipLayers, Solver

GRID = tuple(1 - step / 10 for step in range(11))
SHAPE = (1, 2, 5, 2, 4)


NOISE, VIDEO = noise_of(1, SHAPE), noise_of(2, SHAPE)
LEFT = torch.zeros(1, 1, 1, 2, 4)
LEFT[..., :2] = 1  # the film may change on the left


def some_velocity(latents: Tensor, sigma: Tensor) -> Tensor:
    return torch.tanh(1.3 * latents) - 0.3 * latents * float(sigma[0]) + 0.2 * latents.roll(1, 2)


class Seen:
    """`some_velocity`, and the latents that it was shown at each step."""

    def __init__(self) -> None:
        self.latents: list[Tensor] = []

    def __call__(self, latents: Tensor, sigma: Tensor) -> Tensor:
        self.latents.append(latents)
        return some_velocity(latents, sigma)


def led(guide: WindowGuide, velocity=some_velocity, solver: Solver = Solver.EULER) -> Tensor:
    first = guide.first_step(10, SHAPE[2])
    return sample(solver, velocity, NOISE, GRID[first:], around=lambda step: guide.lead(step, NOISE, 10))


# ---- denoising ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "denoising", "left_out"),
    [(30, 0.9, 3), (8, 0.9, 0), (8, 0.8, 1), (20, 0.55, 9), (10, 0.5, 5), (10, 1.0, 0), (4, 0.01, 3), (8, 1e-6, 7)],
)
def test_steps_are_left_out_as_in_the_source_but_never_all(steps, denoising, left_out):
    guide = WindowGuide(VIDEO, None, denoising, 0.0)
    assert guide.first_step(steps, SHAPE[2]) == left_out
    assert guide.first_step(steps, SHAPE[2] + 1) == 0, "a guide that ends before saves no step"


@pytest.mark.parametrize("solver", Solver)
@pytest.mark.parametrize("denoising", [0.3, 0.7])
def test_a_window_begins_from_the_guide_noised_as_far_as_its_first_step(solver, denoising):
    first = 10 - round(10 * denoising)
    expected = sample(solver, some_velocity, noised(VIDEO, NOISE, GRID[first]), GRID[first:])
    assert torch.equal(led(WindowGuide(VIDEO, None, denoising, 0.5), solver=solver), expected)


def test_less_denoising_is_nearer_to_the_guide_and_all_of_it_knows_no_guide():
    distances = [float((led(WindowGuide(VIDEO, None, d, 0.0)) - VIDEO).norm()) for d in (0.1, 0.3, 0.5, 0.9)]
    assert distances == sorted(distances)
    for grid in (GRID, GRID[1:]):  # from 1, where there is nothing but noise, and from less
        free = sample(
            Solver.EULER, some_velocity, NOISE, grid,
            around=lambda step: WindowGuide(VIDEO, None, 1.0, 0.0).lead(step, NOISE, 9),
        )  # fmt: skip
        assert torch.equal(free, sample(Solver.EULER, some_velocity, NOISE, grid))


def test_a_guide_that_ends_in_the_window_leads_its_own_frames_up_to_the_step_that_would_be_the_first():
    guide, seen = WindowGuide(VIDEO[:, :, :2], None, 0.7, 0.0), Seen()
    led(guide, seen)
    assert len(seen.latents) == 10
    for step, latents in enumerate(seen.latents):
        held = torch.equal(latents[:, :, :2], noised(VIDEO[:, :, :2], NOISE[:, :, :2], GRID[step]))
        assert held is (step <= 3)
    assert torch.equal(seen.latents[0][:, :, 2:], NOISE[:, :, 2:])


# ---- masking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", Solver)
def test_outside_of_the_mask_the_guide_stays_for_the_first_steps(solver):
    """ceil(10 * 0.25) = 3 steps: what is shown at steps 1, 2 and 3 is the guide on the right, noised for that step."""
    seen = Seen()
    led(WindowGuide(VIDEO, LEFT, 1.0, 0.25), seen, solver)
    assert torch.equal(seen.latents[0], NOISE)
    for step, latents in enumerate(seen.latents):
        right, wanted = latents[..., 2:], noised(VIDEO, NOISE, GRID[step])[..., 2:]
        assert torch.equal(right, wanted) is (step <= 3)
        assert step == 0 or not torch.equal(latents[..., :2], noised(VIDEO, NOISE, GRID[step])[..., :2])


def test_masked_steps_are_counted_from_the_first_that_is_taken():
    seen = Seen()
    led(WindowGuide(VIDEO, LEFT, 0.5, 0.2), seen)
    held = [
        torch.equal(latents[..., 2:], noised(VIDEO, NOISE, GRID[5 + number])[..., 2:])
        for number, latents in enumerate(seen.latents)
    ]
    assert held == [True, True, True, False, False]


@pytest.mark.parametrize("solver", Solver)
def test_masked_to_the_end_the_guide_itself_is_left_outside(solver):
    latents = led(WindowGuide(VIDEO, LEFT, 1.0, 1.0), solver=solver)
    assert torch.equal(latents[..., 2:], VIDEO[..., 2:])
    assert not torch.allclose(latents[..., :2], VIDEO[..., :2], atol=0.1)


def test_a_mask_that_is_white_or_no_step_long_does_nothing():
    plain = sample(Solver.EULER, some_velocity, NOISE, GRID)
    torch.testing.assert_close(led(WindowGuide(VIDEO, torch.ones_like(LEFT), 1.0, 1.0)), plain)
    assert torch.equal(led(WindowGuide(VIDEO, LEFT, 1.0, 0.0)), plain)


def test_a_masked_guide_that_ends_in_the_window_holds_its_own_frames_alone():
    latents = led(WindowGuide(VIDEO[:, :, :2], LEFT, 1.0, 1.0))
    assert torch.equal(latents[:, :, :2, :, 2:], VIDEO[:, :, :2, :, 2:])
    assert not torch.equal(latents[:, :, 2:, :, 2:], VIDEO[:, :, 2:, :, 2:])


def test_a_mask_is_halved_into_black_and_white_in_the_size_of_the_latents():
    frame = torch.zeros(1, 16, 32)
    frame[:, :, 8:] = 0.49
    frame[:, :8, 16:] = 0.5
    mask = mask_of(frame, (5, 2, 4))
    assert mask.shape == (1, 1, 1, 2, 4)
    assert mask[0, 0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


def test_masks_of_frames_become_those_of_latents_as_in_the_source():
    """The first frame's, then the nearest of all frames: floor(j 9 / 2) for j = 0, 1."""
    frames = torch.zeros(9, 8, 8)
    frames[4] = 1
    assert mask_of(frames, (3, 1, 1)).flatten().tolist() == [0, 0, 1]
    assert mask_of(frames[4:], (1, 1, 1)).flatten().tolist() == [1]


# ---- a window of the toy networks -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(shelf: ModelShelf) -> Models:
    return shelf.load(film_plan([window(1)]))


@pytest.fixture(scope="module")
def handover() -> Handover:
    return Handover(*noise_of(0, (2, 1, 16, 1, 4, 4)).unbind())


@pytest.mark.parametrize("solver", Solver)
def test_a_window_takes_the_steps_that_are_left_and_counts_on(models: Models, handover: Handover, solver: Solver):
    phases = film_plan([window(1)]).sampling.phases
    sampling = Sampling(solver=solver, sigmas=GRID, phases=phases, magcache=MagCacheSettings(speed=2.0))
    guide = WindowGuide(noise_of(3, (1, 16, 21, 4, 4)), None, 0.6, 0.0)
    told: list[int] = []
    with torch.inference_mode():
        near = denoise(window(1), handover, sampling, models, lambda step, _: told.append(step), guide=guide)
        free = denoise(window(1), handover, sampling, models, lambda *_: None)
        short = denoise(
            window(1),
            handover,
            sampling,
            models,
            lambda step, _: told.append(step),
            guide=WindowGuide(guide.video[:, :, :4], None, 0.6, 0.0),
        )
    assert told == [5, 6, 7, 8, 9, 10, *range(1, 11)]
    assert near.isfinite().all()
    assert (near - guide.video).norm() < (free - guide.video).norm()
    assert not torch.equal(short, free)


def test_steps_keep_their_numbers_where_the_first_ones_are_left_out(models: Models, handover: Handover):
    """Of ten steps 4 to 9 are taken: layers skipped before step 4 are never skipped, those from step 5 on are."""
    phases = tuple(phase.model_copy(update={"guidance": 2.0}) for phase in film_plan([window(1)]).sampling.phases)
    guide = WindowGuide(noise_of(3, (1, 16, 21, 4, 4)), None, 0.6, 0.0)

    def latents(skipped: SkipLayers | None) -> Tensor:
        sampling = Sampling(solver=Solver.EULER, sigmas=GRID, phases=phases, skip_layers=skipped)
        with torch.inference_mode():
            return denoise(window(1), handover, sampling, models, lambda *_: None, guide=guide)

    plain = latents(None)
    assert torch.equal(latents(SkipLayers(blocks=(1,), start=0.0, stop=0.4)), plain)
    assert not torch.equal(latents(SkipLayers(blocks=(1,), start=0.5, stop=1.0)), plain)


# ---- files ----------------------------------------------------------------------------------------------------------

VIDEO_ID: MediaId = "e" * 64
MASK_ID: MediaId = "f" * 64
GUIDE_FRAMES = 88  # all of window 1 and 12 frames of window 2


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guide of 88 frames, a mask of 40 frames, and a photograph."""
    folder = tmp_path_factory.mktemp("guide")
    generator = np.random.default_rng(0)
    write_segment([generator.integers(0, 256, (GUIDE_FRAMES, 48, 64, 3), dtype=np.uint8)], SIZE, folder / VIDEO_ID)
    white = np.zeros((40, 48, 64, 3), np.uint8)
    white[20:, :, :32] = 255
    write_segment([white], SIZE, folder / MASK_ID)
    draw(folder / PHOTO, seed=1)
    return folder


def folder_of(tmp_path: Path, media: Path, plan: Plan) -> WorkFolder:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "media").symlink_to(media)
    return WorkFolder(tmp_path / "work", plan)


@pytest.mark.parametrize("begin", [0, 1, 70, 85])
def test_a_part_of_a_video_is_its_frames(media: Path, begin: int):
    whole = np.stack(list(read_frames(media / VIDEO_ID)))
    assert np.array_equal(read_part(media / VIDEO_ID, begin, 10, SIZE), whole[begin : begin + 10])


def test_there_is_nothing_behind_the_end_of_a_video(media: Path):
    for begin in (GUIDE_FRAMES, 1000):
        assert read_part(media / VIDEO_ID, begin, 81, SIZE).shape == (0, 48, 64, 3)


@torch.inference_mode()
def test_each_window_is_led_by_the_part_beside_it(models: Models, handover: Handover, media: Path, tmp_path: Path):
    plan = film_plan([window(1), window(2), window(3)]).model_copy(update={"guide": Guide(video=VIDEO_ID)})
    folder = folder_of(tmp_path, media, plan)
    anchor = models.vae.encode(torch.zeros(1, 3, 1, SIZE.height, SIZE.width))
    whole = np.stack(list(read_frames(media / VIDEO_ID)))

    def encoded(begin: int, end: int) -> Tensor:
        return models.vae.encode(frames_to_pixels(whole[begin:end]))

    opening = window_guide(plan, 1, Handover(anchor, None), folder, models)
    assert torch.equal(opening.video, encoded(0, 81))
    later = window_guide(plan, 2, Handover(anchor, anchor), folder, models)
    assert torch.equal(later.video[:, :, :1], anchor), "no moment of the film"
    assert torch.equal(later.video[:, :, 1:], encoded(76, 85)[:, :, 1:]), "9 of the 12 frames are whole latents"
    assert window_guide(plan, 3, Handover(anchor, anchor), folder, models) is None
    assert window_guide(film_plan([window(1)]), 1, handover, folder, models) is None
    assert (opening.denoising, opening.masking, opening.mask) == (0.9, 0.1, None)

    take = ContinueTake(video="c" * 64, tail="d" * 64, head_windows=1, head_frames=81)
    further = film_plan([window(2)], take).model_copy(update={"guide": plan.guide})
    assert torch.equal(window_guide(further, 1, Handover(anchor, anchor), folder, models).video, later.video)
    shorter = plan.model_copy(update={"discard_frames": 8})
    assert torch.equal(
        window_guide(shorter, 2, Handover(anchor, anchor), folder, models).video[:, :, 1:], encoded(68, 85)[:, :, 1:]
    )


@torch.inference_mode()
def test_a_mask_is_a_picture_or_a_video_whose_last_frame_stays(models: Models, media: Path, tmp_path: Path):
    guide = Guide(video=VIDEO_ID, mask=MASK_ID, denoising=1.0, masking=0.5)
    plan = film_plan([window(1)]).model_copy(update={"guide": guide})
    assert {VIDEO_ID, MASK_ID} <= plan.media
    anchor = models.vae.encode(torch.zeros(1, 3, 1, SIZE.height, SIZE.width))
    found = window_guide(plan, 1, Handover(anchor, None), folder_of(tmp_path, media, plan), models)
    assert found.mask.shape == (1, 1, 21, 6, 8)
    assert found.mask[0, 0, :, 0, 0].tolist() == [0] * 6 + [1] * 15, "white on the left from frame 20 on"
    assert not found.mask[..., 4:].any()
    assert read_mask(media / MASK_ID, 200, 5, SIZE).shape == (5, 48, 64)
    assert read_mask(media / MASK_ID, 200, 5, SIZE)[:, 0, 0].min() > 0.9

    picture = np.zeros((30, 40, 3), np.uint8)
    picture[:, 20:] = 255
    Image.fromarray(picture).save(tmp_path / "mask", "PNG")
    still = read_mask(tmp_path / "mask", 76, 81, SIZE)
    assert still.shape == (1, 48, 64)
    assert still.dtype == np.float32
    assert (still[0, 0, 0], still[0, 0, -1]) == (0, 1)


def test_the_noise_of_a_guide_is_the_windows_own(models: Models, handover: Handover):
    """Nearly nothing is denoised: what is left is the guide and the noise of the window's seed."""
    sigmas = (1.0, 0.002, 0.001, 0.0)
    sampling = Sampling(solver=Solver.EULER, sigmas=sigmas, phases=film_plan([window(1)]).sampling.phases)
    video = noise_of(3, (1, 16, 21, 4, 4))
    seen: list[Tensor] = []
    network = models.experts[sampling.phases[-1].expert]
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        denoise(window(1), handover, sampling, models, lambda *_: None, guide=WindowGuide(video, None, 0.6, 0.0))
    hook.remove()
    assert torch.equal(seen[0][:, :16], noised(video, window_noise(window(1).seed, video.shape), sigmas[1]))
