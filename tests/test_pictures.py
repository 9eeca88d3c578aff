import struct
import warnings
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import torch
from einops import EinopsError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from engine.pixels import frames_to_pixels, picture_to_pixels, to_uint8
from storage.pictures import cover, load_picture
from storage.schema import Size, UserError
from storage.sizes import fit_area

RED, GREEN, BLUE, WHITE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128)


def four_corners() -> Image.Image:
    """A wide picture: red and green on top, blue and grey below."""
    colours = np.array([[RED, GREEN], [BLUE, GREY]], np.uint8)
    return Image.fromarray(colours.repeat(16, 0).repeat(24, 1))


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    right, bottom = picture.width - 4, picture.height - 4
    return [picture.getpixel(at) for at in ((3, 3), (right, 3), (3, bottom), (right, bottom))]


def saved(picture: Image.Image, path, **settings):
    picture.save(path, **settings)
    return path


# ---- loading --------------------------------------------------------------------------------------------------------

# Where the corners of the file (1 2 / 3 4) stand when it is shown: the eight orientations of the EXIF standard.
ORIENTATIONS = {1: "1234", 2: "2143", 3: "4321", 4: "3412", 5: "1324", 6: "3142", 7: "4231", 8: "2413"}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photo_is_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = load_picture(saved(four_corners(), tmp_path / "photo.png", exif=exif))
    stored = [RED, GREEN, BLUE, GREY]
    assert corners(picture) == [stored[int(place) - 1] for place in ORIENTATIONS[orientation]]
    assert picture.size == ((48, 32) if orientation < 5 else (32, 48))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(mode, suffix) for mode in ("RGB", "RGBA", "P") for suffix in ("png", "webp", "tiff", "gif")]
    + [(mode, "jpg") for mode in ("RGB", "CMYK", "YCbCr")]
    + [("CMYK", "tiff"), ("RGB", "bmp"), ("RGB", "avif")],
)
def test_any_mode_becomes_rgb(tmp_path, mode, suffix):
    source = four_corners().quantize(16) if mode == "P" else four_corners().convert(mode)
    settings = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix in ("jpg", "avif") else {}
    picture = load_picture(saved(source, tmp_path / f"picture.{suffix}", **settings))
    assert picture.mode == "RGB"
    np.testing.assert_allclose(corners(picture), [RED, GREEN, BLUE, GREY], atol=5)


@pytest.mark.parametrize(
    ("mode", "dtype", "levels"), [("I;16", np.uint16, 65535), ("L", np.uint8, 255), ("1", bool, 1)]
)
def test_grey_of_any_depth_keeps_its_levels(tmp_path, mode, dtype, levels):
    ramp = np.linspace(0, levels, 64).astype(dtype)[None].repeat(32, 0)
    picture = load_picture(saved(Image.fromarray(ramp), tmp_path / "grey.png"))
    expected = ramp.astype(float)[..., None].repeat(3, -1) * 255 / levels
    np.testing.assert_allclose(np.asarray(picture), expected, atol=0.5)


def test_what_is_transparent_is_white(tmp_path):
    cut_out = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    cut_out.paste((255, 0, 0, 255), (0, 0, 32, 16))
    cut_out.putpixel((31, 31), (0, 0, 0, 128))
    for path in (
        saved(cut_out, tmp_path / "cut.png"),
        saved(cut_out, tmp_path / "cut.webp", lossless=True, exact=True),
    ):
        picture = load_picture(path)
        assert [picture.getpixel((3, 3)), picture.getpixel((3, 28))] == [RED, WHITE]
        assert picture.getpixel((31, 31)) == (127, 127, 127)
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 32, 16))
    picture = load_picture(saved(palette, tmp_path / "cut.gif", transparency=1))
    assert [picture.getpixel((3, 3)), picture.getpixel((3, 28))] == [RED, WHITE]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    first, second = Image.new("RGB", (32, 32), RED), Image.new("RGB", (32, 32), BLUE)
    path = saved(first, tmp_path / f"moving.{suffix}", save_all=True, append_images=[second], duration=100)
    np.testing.assert_allclose(load_picture(path).getpixel((5, 5)), RED, atol=8)


def with_red_and_green_swapped() -> bytes:
    """A colour profile whose red primary is sRGB's green, and the reverse."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12):
        name = bytes(profile[entry : entry + 4])
        profile[entry : entry + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_honoured(tmp_path, mode):
    path = saved(four_corners().convert(mode), tmp_path / "p.png", icc_profile=with_red_and_green_swapped())
    np.testing.assert_allclose(corners(load_picture(path)), [GREEN, RED, BLUE, GREY], atol=3)


@pytest.mark.parametrize("profile", [b"no profile at all", bytes(200)])
def test_a_broken_colour_profile_leaves_the_colours(tmp_path, profile):
    path = saved(four_corners(), tmp_path / "p.png", icc_profile=profile)
    assert corners(load_picture(path)) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize(
    "data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(50), bytes(999)]
)
def test_what_is_no_picture_is_refused_in_a_sentence(tmp_path, data):
    (tmp_path / "upload.png").write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as a picture"):
        load_picture(tmp_path / "upload.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tiff", "bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_picture_that_is_cut_off_is_refused(tmp_path, suffix, share):
    whole = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, {"jpg": "jpeg"}.get(suffix, suffix))
    (tmp_path / "upload").write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
    with pytest.raises(UserError, match="cannot be read as a picture"):
        load_picture(tmp_path / "upload")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["png", "jpeg", "webp", "avif", "gif", "tiff", "bmp"]),
    st.dictionaries(st.integers(0, 400), st.integers(0, 255), min_size=1, max_size=5),
)
def test_damage_is_read_or_refused_but_never_a_crash(tmp_path_factory, kind, damage):
    whole = BytesIO()
    four_corners().save(whole, kind)
    data = bytearray(whole.getvalue())
    for at, value in damage.items():
        data[at % len(data)] = value
    path = tmp_path_factory.mktemp("damage") / "upload"
    path.write_bytes(data)
    with suppress(UserError), warnings.catch_warnings(action="ignore"):
        assert load_picture(path).mode == "RGB"


def test_a_broken_avif_is_refused(tmp_path):
    whole = BytesIO()
    four_corners().save(whole, "avif")
    (tmp_path / "upload.avif").write_bytes(whole.getvalue().replace(b"iloc", b"xxxx"))
    with pytest.raises(UserError, match="cannot be read as a picture"):
        load_picture(tmp_path / "upload.avif")


def test_a_photo_with_broken_notes_is_a_photo(tmp_path):
    path = saved(four_corners(), tmp_path / "photo.webp", lossless=True, exif=b"Exif\0\0not what it should be")
    assert corners(load_picture(path)) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize("suffix", ["eps", "ppm", "tga"])  # PostScript is a program: showing it would run it
def test_other_formats_are_refused(tmp_path, suffix):
    path = saved(four_corners(), tmp_path / f"upload.{suffix}")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        load_picture(path)


@pytest.mark.parametrize("side", [8_001, 20_000])  # beyond our limit, and beyond Pillow's
def test_a_picture_of_too_many_pixels_is_refused(tmp_path, side):
    path = saved(Image.new("1", (side, side)), tmp_path / "huge.png")
    with pytest.raises(UserError, match="at most 64 million pixels"):
        load_picture(path)


def test_the_most_pixels_are_the_callers_choice(tmp_path):
    path = saved(four_corners(), tmp_path / "p.png")
    assert load_picture(path, most_pixels=48 * 32).size == (48, 32)
    with pytest.raises(UserError, match=r"48x32 is too large\. A picture may have at most 0.001535 million"):
        load_picture(path, most_pixels=48 * 32 - 1)


def test_a_picture_of_floats_is_refused(tmp_path):
    with pytest.raises(UserError, match="floating-point"):
        load_picture(saved(Image.fromarray(np.ones((9, 9), np.float32)), tmp_path / "f.tiff"))


def test_a_missing_file_is_not_the_persons_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_picture(tmp_path / "nothing.png")


# ---- sizes ----------------------------------------------------------------------------------------------------------

BUDGET = Size(width=832, height=480)


@pytest.mark.parametrize(
    ("width", "height", "fitted"),
    [
        (1920, 1080, "848x480"),
        (1080, 1920, "480x848"),
        (832, 480, "832x480"),
        (1000, 1000, "624x624"),
        (1, 1, "624x624"),
    ],
)
def test_known_sizes(width, height, fitted):
    assert str(fit_area(width, height, BUDGET)) == fitted


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from([BUDGET, Size(width=1280, height=720)]))
def test_a_size_keeps_aspect_and_area_up_to_half_a_grid_step(width, height, budget):
    if max(width, height) > 8 * min(width, height):
        with pytest.raises(UserError, match="too narrow"):
            fit_area(width, height, budget)
        return
    size, area = fit_area(width, height, budget), budget.width * budget.height
    assert abs(size.width - (area * width / height) ** 0.5) <= 8.001
    assert abs(size.height - (area * height / width) ** 0.5) <= 8.001
    assert fit_area(height, width, budget) == Size(width=size.height, height=size.width)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_a_picture_without_pixels_has_no_size(width, height):
    with pytest.raises(ValueError, match="at least one pixel"):
        fit_area(width, height, BUDGET)


def test_a_picture_of_the_right_size_is_untouched():
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(cover(Image.fromarray(noise), Size(width=48, height=32))), noise)


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400), (300, 200)])
def test_a_circle_stays_a_circle_in_the_middle(width, height):
    y, x = np.mgrid[:height, :width]
    disc = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2 < 40**2
    picture = Image.fromarray(np.where(disc[..., None], 255, 0).astype(np.uint8).repeat(3, -1))
    seen = np.asarray(cover(picture, Size(width=64, height=64)))[..., 0] > 128
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert abs(len(rows) - len(columns)) <= 1
    assert abs(len(rows) - 80 * 64 / min(width, height)) <= 1.5
    assert abs(rows.mean() - 31.5) <= 0.5
    assert abs(columns.mean() - 31.5) <= 0.5


# ---- pixels ---------------------------------------------------------------------------------------------------------


def test_a_picture_becomes_a_video_of_one_frame():
    pixels = picture_to_pixels(four_corners(), Size(width=48, height=32))
    assert (pixels.shape, pixels.dtype) == ((1, 3, 1, 32, 48), torch.float32)
    assert pixels[0, :, 0, 0, 0].tolist() == [1, -1, -1]  # red, at the top left
    assert pixels[0, :, 0, 0, 47].tolist() == [-1, 1, -1]
    assert pixels[0, 2, 0, 31, 0] == 1


def test_every_level_becomes_two_v_over_255_minus_1():
    levels = np.arange(256, dtype=np.uint8)
    pixels = frames_to_pixels(levels.reshape(1, 16, 16, 1).repeat(3, -1))
    expected = torch.arange(256, dtype=torch.float64) * 2 / 255 - 1
    torch.testing.assert_close(pixels[0, 1, 0].flatten().double(), expected, atol=1e-7, rtol=0)


def test_pixels_are_clamped_and_truncated_as_wan_does():
    values = torch.tensor([-9.0, -1.0, -1 + 1.9 / 255, 0.0, 0.999, 1.0, 9.0])
    frames = to_uint8(values[None, None, None, None].expand(1, 3, 2, 4, 7))
    assert (frames.shape, frames.dtype) == ((2, 4, 7, 3), np.uint8)
    assert frames[1, 2, :, 0].tolist() == [0, 0, 0, 127, 254, 255, 255]


def test_frames_keep_their_axes():
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    pixels = frames_to_pixels(frames) + 1 / 255  # half a level, so that truncation gives the level back
    np.testing.assert_array_equal(to_uint8(pixels), frames)


def test_bytes_are_made_for_one_video_only():
    with pytest.raises(EinopsError):
        to_uint8(torch.zeros(2, 3, 1, 4, 4))
