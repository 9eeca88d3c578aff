"""Laws of the demonstration model: its latents, its tokenizer, what it is taught, and what measures it."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.condition import EVE_LATENT_FRAMES, WINDOW_LATENT_FRAMES
from engine.demo.captions import TEXT_TOKENS, Beat, Wording
from engine.demo.clips import Projector
from engine.demo.film import Director, Film, stack
from engine.demo.inflate import inflate
from engine.demo.keeping import compared
from engine.demo.measures import flow, happened, onset
from engine.demo.pool import FORGIVING, Pool, loops
from engine.demo.reading import LEVELS, NAMES, controls
from engine.demo.stage import SLOTS, STRIDE, WINDOW, Stage, colours
from engine.demo.student import narrowed
from engine.demo.tokens import FIRST_SLOT, Tokens
from engine.demo.training import no_tokens
from engine.demo.vae_losses import FARTHEST, NEAREST, estranged, moved, moves
from engine.models import DEMO
from engine.parts import load_network
from engine.pixels import picture_to_pixels
from engine.vae import VAE, VAEConfig
from storage.pictures import load_picture
from storage.schema import Size

TOY = VAEConfig(base_dim=8, dim_mult=(1, 1, 2, 2), res_blocks=1, latent_mean=(0.0,) * 16, latent_std=(1.0,) * 16)


@pytest.fixture
def inflated() -> VAE:
    torch.manual_seed(0)
    vae = VAE(TOY)
    inflate(vae)
    return vae.requires_grad_(requires_grad=False)


def shipped_vae() -> VAE:
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in config()["vae"].items()}
    return load_network(VAE, VAEConfig(**sizes), DEMO / "vae.safetensors").float()


def config() -> dict:
    return json.loads((DEMO / "config.json").read_text(encoding="utf-8"))


def picture(height: int = 64, width: int = 96) -> Tensor:
    """A smooth picture with edges. [3, height, width] in [-1, 1]"""
    y, x = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 9, width), indexing="ij")
    return torch.stack([torch.sin(x), torch.cos(y), torch.sign(torch.sin(x + y))])


def test_an_inflated_encoder_knows_each_latent_from_its_last_frame(inflated: VAE) -> None:
    frames = torch.rand(1, 3, 17, 32, 32) * 2 - 1
    latents = inflated.encode(frames, 2)
    for index in range(5):
        alone = inflated.encode(frames[:, :, 4 * index : 4 * index + 1])
        torch.testing.assert_close(latents[:, :, index : index + 1], alone)


def test_an_inflated_decoder_shows_each_latent_for_four_frames(inflated: VAE) -> None:
    shown = inflated.decode_all(torch.randn(1, 16, 3, 4, 4))
    for last in (4, 8):
        torch.testing.assert_close(shown[:, :, last - 3 : last], shown[:, :, [last]].expand(-1, -1, 3, -1, -1))


@torch.inference_mode()
def test_the_shipped_vae_codes_a_still_picture_alike_everywhere() -> None:
    latents = shipped_vae().encode(picture()[None, :, None].expand(-1, -1, 17, -1, -1), 2)
    assert latents.diff(dim=2).square().mean().sqrt() < 0.01 * latents.std()


@torch.inference_mode()
def test_windows_of_the_shipped_vae_join() -> None:
    """A film goes on with the same pixels when a window is decoded behind its end (engine.condition.in_film), but for a
    third of what a pan changes a frame."""
    vae = shipped_vae()
    film = torch.stack([picture(64, 160)[:, :, at : at + 96] for at in range(49)], dim=1)[None]
    latents = vae.encode(film, 2)
    early, late = vae.decode_all(latents, 4), vae.decode_all(latents[:, :, 6:], 4)
    behind_the_tail = 1 + 4 * EVE_LATENT_FRAMES
    jump = (late[:, :, behind_the_tail] - early[:, :, 24 + behind_the_tail]).abs().mean()
    assert jump < early.diff(dim=2).abs().mean() / 3


@pytest.mark.parametrize("text", ["night falls", "(at 2.25 seconds: it snows)", "7", "\u00e9t\u00e9", "a" * 3000])
def test_every_text_begins_with_one_token_for_each_latent_frame(text: str) -> None:
    encode = Tokens(DEMO / "text" / "tokenizer.json")
    slots = slice(FIRST_SLOT, FIRST_SLOT + WINDOW_LATENT_FRAMES)
    assert len(set(encode(text)[slots])) == WINDOW_LATENT_FRAMES
    assert encode(text)[slots] == encode("pan left")[slots]


@pytest.mark.parametrize("tail", ["", " slowly. Then snow falls."])
def test_which_way_something_goes_is_read_from_where_it_ends(tail: str) -> None:
    encode = Tokens(DEMO / "text" / "tokenizer.json")
    assert encode(f"The camera pans from left to right{tail}") == encode(f"The camera pans to the right{tail}")
    assert encode(f"The camera pans from the right to the left{tail}") == encode(f"The camera pans to the left{tail}")
    text = f"A dog. A pan from left to right{tail}"
    inside = text.index("from"), text.index("right") + len("right")
    (tokens,) = encode.places(text, [inside])
    assert encode.tokenizer.decode(encode(text)[tokens.start : tokens.stop]).strip() == "to the right"


def test_controls_say_what_has_begun_and_where_the_camera_is() -> None:
    wanted = controls("right", [Beat(0.0, "camera", "still"), Beat(2.5, "effect", "night")])
    night = LEVELS + NAMES.index("effect night")
    assert (wanted[:10, night] == 0).all()
    assert (wanted[11:, night] == 1).all()
    assert (wanted[:, :6] == 0).all()
    moved = controls("right", [])[:, 3]
    assert (np.diff(moved) > 0).all()


def test_a_narrower_feed_forward_keeps_the_neurons_that_weigh_most() -> None:
    torch.manual_seed(0)
    into, onto, bias = torch.randn(6, 4), torch.randn(4, 6), torch.randn(6)
    into[[1, 4]] = 0
    names = "blocks.0.ffn.0.weight", "blocks.0.ffn.0.bias", "blocks.0.ffn.2.weight"
    kept = [0, 2, 3, 5]
    small = narrowed(dict(zip(names, (into, bias, onto), strict=True)), 4)
    for name, wanted in zip(names, (into[kept], bias[kept], onto[:, kept]), strict=True):
        torch.testing.assert_close(small[name], wanted)


def test_a_window_is_asked_to_begin_as_far_off_as_its_tail_and_to_come_back() -> None:
    torch.manual_seed(0)
    pool = Pool.empty(1, (4, 8), torch.device("cpu"))
    pool.filled, pool.own[:], pool.fresh[:] = 1, True, True
    pool.tails[:] = 1.0  # every latent is 0 but what the network itself made of the first window's end
    lesson = pool.lesson(64, own_share=1.0, noisy_share=0.0)
    second = lesson.latents[lesson.continues]
    asked = torch.cat([torch.zeros(1), torch.linspace(1, 0, FORGIVING + 1), torch.zeros(20 - FORGIVING - 1)])
    torch.testing.assert_close(second, asked[:, None, None].expand_as(second))
    assert not lesson.latents[~lesson.continues].any()


def clip(level: Tensor) -> Tensor:
    """A picture whose light is `level` in every frame. [F] -> [3, F, 144, 256] in [0, 1]"""
    return (picture(144, 256)[:, None] * 0.5 + 0.5) * 0.8 * level[:, None, None]


def test_an_onset_is_found_where_it_is() -> None:
    frames = torch.arange(81)
    fall = 1 - 0.6 * ((frames - 40) / 16).clamp(0, 1)
    assert onset("night", clip(fall), 1.0) == pytest.approx(2.5, abs=0.1)


def test_darkness_that_a_pan_brings_into_view_is_no_night() -> None:
    wide = torch.cat([picture(144, 256) * 0.5 + 0.5, 0.1 * (picture(144, 256) * 0.5 + 0.5)], dim=2)
    panned = torch.stack([wide[:, :, 2 * at : 2 * at + 256] for at in range(65)], dim=1)
    assert not happened("night", panned)
    assert happened("night", clip(torch.linspace(1, 0.4, 81)))


def test_captions_say_where_their_timed_beats_stand() -> None:
    beats = [Beat(0.0, "camera", "left"), Beat(2.25, "effect", "night")]
    rng = np.random.default_rng(0)
    wording = Wording(["cat", "dog"], no_tokens)
    for _ in range(50):
        told = wording.caption("out", beats, rng)
        first, second = (told.text[beat.start : beat.stop] for beat in told.beats)
        assert "2.25" in second
        assert "2.25" not in first
        assert [beat.seconds for beat in told.beats] == [0.0, 2.25]


def test_a_held_caption_hides_a_beat_before_its_time() -> None:
    encode = Tokens(DEMO / "text" / "tokenizer.json")
    page = Wording(["cat"], encode, encode.places).tell(
        "left", [Beat(2.5, "effect", "night")], np.random.default_rng(1)
    )
    assert page.relay.shape == (WINDOW_LATENT_FRAMES, TEXT_TOKENS)
    assert (page.relay[:6].amin(1) < -10).all()
    assert (page.relay[12:] == 0).all()
    assert (page.relay[:, FIRST_SLOT : FIRST_SLOT + WINDOW_LATENT_FRAMES] == 0).all()


def drawn(count: int) -> Film:
    """A batch of films."""
    director = Director(Wording(["cat"], no_tokens), 1)
    return stack([director.film() for _ in range(count)])


def test_day_leaves_what_was_hidden_as_it_was_and_makes_a_plain_picture_glow() -> None:
    stage = Stage.empty(np.zeros(SLOTS, np.int64))
    stage.begin("night", 10)
    stage.begin("day", 40)
    shown = colours(stage.levels)
    assert shown[30, :, :3].sum() < 0.5 * shown[0, :, :3].sum()
    np.testing.assert_array_equal(shown[-1], shown[0])
    stage.begin("day", 80)
    assert colours(stage.levels)[-1].sum() > 1.1 * shown[0].sum()


def test_day_breaks_after_a_night_in_one_of_eight_windows_while_the_anchor_shows_the_day() -> None:
    film = drawn(400)
    light, anchor = (colour[..., :3].sum(-1).mean(-1) for colour in (film.colour, film.anchor_colour))
    dark = (light > 0.2) & (light < 0.55) & (light.diff(dim=1, prepend=light[:, :1]).abs() < 1e-4)
    windows = []
    for first in (0, STRIDE):
        window = slice(first, first + WINDOW)
        night = torch.where(dark[:, window], light[:, window], 9.0).amin(1)
        windows.append((anchor > 0.9) & (light[:, window][:, -1] > night + 0.3))
    first, second = windows
    assert 0.1 < torch.stack(windows).float().mean() < 0.16
    for broken, at in ((first, 0), (second, STRIDE)):
        begins_dark = light[:, at] < 0.6
        assert (broken & begins_dark).any()
        assert (broken & ~begins_dark).any()


def test_a_film_whose_second_window_ends_as_it_began_loops() -> None:
    film = drawn(1)
    quiet = film._replace(camera=film.camera * 0, weather=film.weather * 0, place=film.place * 0)
    quiet = quiet._replace(colour=film.colour[:, :1].expand_as(film.colour))
    assert loops(quiet).all()
    for name in ("camera", "weather"):
        track = getattr(quiet, name).clone()
        track[:, -1] = 1
        assert not loops(quiet._replace(**{name: track})).any()


def test_only_looping_films_that_were_filmed_are_filmed_on() -> None:
    """What goes on is the network's own end; what begins is shown the true one, or none at the start of a film."""
    torch.manual_seed(0)
    pool = Pool.empty(2, (4, 8), torch.device("cpu"))
    pool.filled, pool.loops[0], pool.fresh[1] = 2, True, True
    pool.latents[:, 0, :, 1] = 1.0
    before = pool.rehearsal(64)
    tails = before.condition[:, 4:, 1].mean((1, 2, 3))
    assert torch.equal(tails, torch.where(before.films == 0, 1.0, 0.0))
    pool.remember(torch.tensor([0]), torch.full((1, 16, 21, 18, 32), 5.0))
    after = pool.rehearsal(64)
    tails = after.condition[:, 4:, 1].mean((1, 2, 3))
    assert set(tails[after.films == 0].tolist()) == {1.0, 5.0}
    assert not tails[after.films == 1].any()


def test_windows_are_estranged_in_their_first_latent_alone() -> None:
    torch.manual_seed(0)
    latents = torch.randn(60, 16, 5, 2, 2)
    strange = estranged(latents)
    assert torch.equal(strange[:, :, 1:], latents[:, :, 1:])
    same = (strange[:, :, 0] == latents[:, :, 0]).flatten(1).all(1)
    assert 10 < same.sum() < 50


@pytest.mark.parametrize(("right", "down"), [(0, 0), (1, 0), (0, 1)])
def test_flow_is_how_far_a_clip_moves_in_a_second(right: int, down: int):
    """A photograph that is pushed by whole pixels a frame, while the light fades."""
    photo = load_picture(DEMO.parents[2] / "examples" / "cat.jpg")
    picture = (picture_to_pixels(photo, Size(width=320, height=192))[0, :, 0] + 1) / 2
    frames = [picture[:, down * f : down * f + 144, right * f : right * f + 256] * (1 - f / 50) for f in range(17)]
    assert flow(torch.stack(frames, dim=1).clamp(0, 1)) == pytest.approx(16 * (right**2 + down**2) ** 0.5, abs=0.8)


def test_a_pale_day_after_night_keeps_its_drawing_and_a_torn_one_does_not() -> None:
    cat = load_picture(DEMO.parents[2] / "examples" / "cat.jpg")
    photo = (picture_to_pixels(cat, Size(width=256, height=144))[0, :, 0] + 1) / 2
    level = torch.cat([torch.full((30,), 0.3), torch.linspace(0.3, 1, 16), torch.ones(35)])
    true = photo[:, None] * level[:, None, None]
    pale = 0.7 * true + 0.2
    torn = true.clone()
    torn[:, 40:] = torch.cat(torn[:, 40:].split(16, dim=2)[::-1], dim=2)
    good, faded, bad = (compared(pixels, photo, photo) for pixels in (true, pale, torn))
    assert min(good.plain, good.matched, faded.matched) > 35
    assert good.distance < 1
    assert min(good.dullest, good.unlike, faded.dullest, faded.unlike) > 0.97
    assert faded.plain < good.plain - 10
    assert faded.distance > 5
    assert bad.matched < 18
    assert bad.unlike < 0.5


def test_things_are_stuck_on_photographs_to_train_on() -> None:
    photo = torch.full((3, 90, 160), 255, dtype=torch.uint8)
    stamp = torch.zeros(4, 41, 37, dtype=torch.uint8)
    stamp[3] = 255
    sprites = torch.zeros(8, 96, 96, 4, dtype=torch.uint8)
    for stamps, black in (([stamp], True), ([], False)):
        _, anchors = Projector([photo], sprites, torch.device("cpu"), stamps).draw(drawn(12), torch.zeros(12, 1).long())
        assert bool((anchors < -0.9).any()) is black


def test_a_still_camera_moves_no_latents() -> None:
    latents = torch.randn(2, 16, 1, 6, 8, generator=torch.Generator().manual_seed(2))
    still = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(moved(latents, still), latents)
    theta = moves(64, torch.device("cpu"))
    assert ((theta[:, 0, 0] >= NEAREST) & (theta[:, 0, 0] <= FARTHEST)).all()
    assert torch.equal(theta[:, 0, 0], theta[:, 1, 1])
