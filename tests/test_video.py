import json
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.segments import fitted, join, write_segment
from storage.footage import kept_frames, probe, read_comment, read_frames, read_tail
from storage.schema import Size, UserError

SIZE = Size(width=64, height=48)
Frames = NDArray[np.uint8]


def coded(number: int, width: int = 64, height: int = 48) -> Frames:
    """A frame that shows its number as eight bars, the highest bit on the left: [H, W, 3]"""
    bits = [(number >> bit) & 1 for bit in reversed(range(8))]
    bars = np.repeat(np.array(bits, np.uint8) * 190 + 30, width // 8)
    return np.broadcast_to(bars[None, :, None], (height, width, 3)).copy()


def number_of(frame: Frames) -> int:
    height, width, _ = frame.shape
    middles = frame[height // 2, [(2 * bar + 1) * width // 16 for bar in range(8)], 1]
    return int("".join("1" if level > 128 else "0" for level in middles), 2)


def numbers(frames) -> list[int]:
    return [number_of(frame) for frame in frames]


def a_segment(path: Path, first: int, count: int, size: Size = SIZE) -> Path:
    write_segment((coded(n, size.width, size.height)[None] for n in range(first, first + count)), size, path)
    return path


def a_film(folder: Path, lengths: list[int], comment: str = "") -> Path:
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    parts = [a_segment(folder / f"{i}.mp4", start, n) for i, (start, n) in enumerate(zip(starts, lengths, strict=True))]
    join(parts, folder / "film.mp4", comment)
    return folder / "film.mp4"


def packets_of(path: Path) -> list[tuple[int, int, int, bytes]]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        return [(p.pts, p.dts, p.duration, bytes(p)) for p in container.demux(stream) if p.size]


def a_foreign_video(path: Path, codec: str, rate: Fraction | int, stamps: list[int], **stream_settings: int) -> Path:
    """Numbered frames by another encoder; `stamps` are timestamps, in frames of `rate`."""
    names = {"avi": "avi", "gif": "gif", "webm": "webm", "mkv": "matroska", "ts": "mpegts", "mov": "mov", "mp4": "mp4"}
    fast = {"libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}, "libx265": {"x265-params": "log-level=none"}}
    with av.open(path, "w", format=names[path.suffix[1:]]) as output:
        stream = output.add_stream(codec, rate=rate, options=fast.get(codec, {}))
        stream.width, stream.height = stream_settings.get("width", 64), stream_settings.get("height", 48)
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        if "rotation" in stream_settings:
            stream.set_display_rotation(stream_settings["rotation"])
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(coded(number, stream.width, stream.height), "rgb24")
            frame.pts, frame.time_base = stamp, 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


# ---- segments and films ---------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_a_film_shows_every_frame_of_its_segments_in_order(tmp_path_factory, lengths):
    film, total = a_film(tmp_path_factory.mktemp("film"), lengths), sum(lengths)
    assert numbers(read_frames(film)) == list(range(total))
    assert (probe(film).frames, probe(film).seconds) == (total, total / 16)

    packets, tick = packets_of(film), 1024
    assert sorted(pts for pts, *_ in packets) == [n * tick for n in range(total)]
    assert [dts for _, dts, *_ in packets] == [(n - 2) * tick for n in range(total)]
    assert {duration for _, _, duration, _ in packets} == {tick}
    with av.open(film) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.start_time, stream.duration) == (total, 0, total * tick)
        assert (stream.average_rate, container.start_time) == (16, 0)


def test_two_windows_last_nine_seconds_and_thirteen_sixteenths(tmp_path):
    film = a_film(tmp_path, [81, 76])
    with av.open(film) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.duration * stream.time_base) == (157, Fraction(157, 16))


def test_a_film_in_one_go_equals_a_film_and_its_continuation(tmp_path):
    at_once = a_film(tmp_path, [81, 76, 76], "plan")
    join([tmp_path / "0.mp4", tmp_path / "1.mp4"], tmp_path / "parent.mp4", "plan of the parent")
    join([tmp_path / "parent.mp4", tmp_path / "2.mp4"], tmp_path / "child.mp4", "plan")
    assert (tmp_path / "child.mp4").read_bytes() == at_once.read_bytes()
    third_window = [packet for *_, packet in packets_of(tmp_path / "2.mp4")]
    assert [packet for *_, packet in packets_of(at_once)][-76:] == third_window


def test_a_segment_depends_on_its_frames_only_not_on_their_chunks(tmp_path):
    frames = np.stack([coded(n) for n in range(30)])
    write_segment([frames], SIZE, tmp_path / "whole.mp4")
    write_segment([frames[:1], frames[1:9], frames[9:]], SIZE, tmp_path / "chunks.mp4")
    assert (tmp_path / "whole.mp4").read_bytes() == (tmp_path / "chunks.mp4").read_bytes()


def test_the_same_frames_give_the_same_bytes_each_time(tmp_path):
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (9, 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    frames, segments = np.stack([np.roll(texture, 2 * shift, axis=1) for shift in range(30)]), set()
    for _ in range(25):
        write_segment([frames], Size(width=256, height=144), tmp_path / "window.mp4")
        segments.add((tmp_path / "window.mp4").read_bytes())
        [rng.bytes(n) for n in rng.integers(1, 300_000, 4)]  # so that fresh memory is never the same
    assert len(segments) == 1
    assert b" threads=2 " in segments.pop(), "more than one, or it would say nothing"


def test_four_threads_encode_or_the_bytes_would_follow_the_processor(tmp_path):
    write_segment([np.zeros((2, 480, 832, 3), np.uint8)], Size(width=832, height=480), tmp_path / "window.mp4")
    assert b" threads=4 lookahead_threads=4 " in (tmp_path / "window.mp4").read_bytes()


def test_every_segment_begins_with_a_key_frame_and_shares_one_header(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
    write_segment([noise], SIZE, tmp_path / "noise.mp4")
    a_segment(tmp_path / "bars.mp4", 0, 3)
    join([tmp_path / "bars.mp4", tmp_path / "noise.mp4", tmp_path / "bars.mp4"], tmp_path / "film.mp4", "")
    with av.open(tmp_path / "film.mp4") as container:
        keys = [p.is_keyframe for p in container.demux(container.streams.video[0]) if p.size]
    assert [keys[0], keys[3], keys[23]] == [True] * 3


def test_a_film_plays_everywhere(tmp_path):
    film = a_film(tmp_path, [3, 3], "plan")
    data = film.read_bytes()
    assert data.index(b"ftyp") < data.index(b"moov") < data.index(b"mdat")
    with av.open(film) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.codec_tag, context.pix_fmt, stream.profile) == ("avc1", "yuv420p", "High")
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tags == (1, 1, 1, 1)  # BT.709 thrice, limited range
        assert len(container.streams) == 1


@pytest.mark.parametrize("rgb", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)])
def test_colours_are_bt709_and_come_back(tmp_path, rgb):
    write_segment([np.full((2, 48, 64, 3), rgb, np.uint8)], SIZE, tmp_path / "colour.mp4")
    with av.open(tmp_path / "colour.mp4") as container:
        luma = np.asarray(next(container.decode(video=0)).planes[0])[0]
    expected = 16 + 219 * np.dot(rgb, (0.2126, 0.7152, 0.0722)) / 255
    assert abs(float(luma) - expected) <= 1
    assert np.abs(next(read_frames(tmp_path / "colour.mp4")).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(("height", "red"), [(48, (81, 90, 240)), (720, (63, 102, 240))])
def test_an_untagged_video_is_bt601_or_from_hd_on_bt709(tmp_path, height, red):
    path = tmp_path / "old.mp4"
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=16, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
        counts = (64 * height, 16 * height, 16 * height)
        planes = np.concatenate([np.full(n, level, np.uint8) for n, level in zip(counts, red, strict=True)])
        output.mux(stream.encode(av.VideoFrame.from_ndarray(planes.reshape(-1, 64), "yuv420p")))
        output.mux(stream.encode())
    assert np.abs(next(read_frames(path)).astype(int) - (255, 0, 0)).max() <= 3


# ---- whole or not at all --------------------------------------------------------------------------------------------


def test_a_segment_that_breaks_off_leaves_what_was_there(tmp_path):
    path = a_segment(tmp_path / "window.mp4", 0, 2)
    before = path.read_bytes()

    def breaks():
        yield np.stack([coded(n) for n in range(50)])
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_segment(breaks(), SIZE, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_join_that_breaks_off_leaves_nothing(tmp_path):
    part = a_segment(tmp_path / "part.mp4", 0, 2)
    other = a_segment(tmp_path / "other.mp4", 0, 2, Size(width=32, height=32))
    with pytest.raises(ValueError, match=r"other\.mp4 is coded unlike .*part\.mp4"):
        join([part, other], tmp_path / "film.mp4", "")
    assert set(tmp_path.iterdir()) == {part, other}


@pytest.mark.parametrize("frames", [[], [np.zeros((1, 48, 32, 3), np.uint8)], [np.zeros((1, 48, 64, 3), np.float32)]])
def test_a_segment_needs_frames_of_its_size(tmp_path, frames):
    with pytest.raises(ValueError, match="frame"):
        write_segment(frames, SIZE, tmp_path / "window.mp4")
    assert not list(tmp_path.iterdir())


def test_a_film_needs_a_part(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        join([], tmp_path / "film.mp4", "")


# ---- the comment ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(comment=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_comment_comes_back(tmp_path_factory, comment):
    folder = tmp_path_factory.mktemp("comment")
    join([a_segment(folder / "part.mp4", 0, 1)], folder / "film.mp4", comment)
    assert read_comment(folder / "film.mp4") == comment


def test_a_long_plan_comes_back(tmp_path):
    plan = json.dumps({"scene": "Ein Fuchs läuft durch Schnee, 雪の中 🦊 " * 1500}, ensure_ascii=False)
    assert len(plan.encode()) > 50_000
    assert read_comment(a_film(tmp_path, [2], plan)) == plan


def test_a_comment_of_another_alphabet_does_no_harm(tmp_path):
    film = a_film(tmp_path, [2], "caf\u00e9 plan")
    film.write_bytes(film.read_bytes().replace("caf\u00e9".encode(), b"caf\xe9\xe9"))
    assert read_comment(film) == "caf\ufffd\ufffd plan"
    assert probe(film).frames == 2


def test_a_video_without_a_comment_has_none(tmp_path):
    assert read_comment(a_segment(tmp_path / "window.mp4", 0, 1)) is None


# ---- foreign videos -------------------------------------------------------------------------------------------------

FOREIGN = [
    ("libx264", "mp4", Fraction(24000, 1001), 24),
    ("libx264", "mkv", Fraction(24000, 1001), 24),
    ("libx264", "mov", 30, 30),
    ("libx264", "ts", 25, 25),
    ("libx264", "mp4", Fraction(60000, 1001), 60),
    ("libx265", "mp4", 30, 30),
    ("libvpx-vp9", "webm", 30, 30),
    ("libvpx", "webm", 60, 60),
    ("mpeg4", "avi", 12, 12),
    ("gif", "gif", 10, 10),
    ("libx264", "mp4", 16, 16),
]


@pytest.mark.parametrize(("codec", "suffix", "rate", "grid"), FOREIGN)
def test_a_foreign_video_is_picked_forward_at_16_fps_and_joins(tmp_path, codec, suffix, rate, grid):
    source = a_foreign_video(tmp_path / f"source.{suffix}", codec, rate, list(range(50)))
    picked = [-(-k * grid // 16) for k in range(49 * 16 // grid + 1)]  # the first frame not before k/16 s

    facts = probe(source)
    assert (facts.frames, facts.width, facts.height) == (len(picked), 64, 48)
    assert facts.fps == pytest.approx(float(rate))
    assert numbers(read_frames(source)) == picked
    assert numbers(read_tail(source, 9)) == picked[-9:]

    head = fitted(source, SIZE, None, tmp_path / "head.mp4")
    assert head != source
    join([head, a_segment(tmp_path / "window.mp4", 200, 5)], tmp_path / "film.mp4", "")
    assert numbers(read_frames(tmp_path / "film.mp4")) == [*picked, *range(200, 205)]


def test_a_television_rate_keeps_its_rhythm_for_ever(tmp_path):
    source = a_foreign_video(tmp_path / "long.mkv", "libx264", Fraction(24000, 1001), list(range(700)))
    assert numbers(read_frames(source)) == [-(-k * 24 // 16) % 256 for k in range(467)]
    assert numbers(read_tail(source, 5)) == [-(-k * 24 // 16) % 256 for k in range(462, 467)]


@settings(max_examples=6, deadline=None)
@given(gaps=st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_a_variable_frame_rate_is_read_by_its_timestamps(tmp_path_factory, gaps):
    stamps = [sum(gaps[:i]) for i in range(len(gaps) + 1)]  # milliseconds
    source = a_foreign_video(tmp_path_factory.mktemp("vfr") / "source.mkv", "libx264", 1000, stamps)
    shown = numbers(read_frames(source))
    for k, number in enumerate(shown):  # the first frame that is due, give or take the rounding of rates and times
        due = k * 1000 / 16
        assert stamps[number] >= due * 0.998 - 1
        assert number == 0 or stamps[number - 1] < due * 1.002 + 1
    assert len(shown) == probe(source).frames == pytest.approx(stamps[-1] * 16 / 1000 + 0.5, rel=0.002, abs=0.52)
    assert numbers(read_tail(source, 4)) == shown[-4:]


def test_a_pause_is_as_long_as_it_was(tmp_path):
    source = a_foreign_video(tmp_path / "pause.mkv", "libx264", 1000, [0, 20, 70, 130, 1120, 1180])
    assert numbers(read_frames(source)) == [0, 2, 3, *[4] * 15, 5]


def test_a_rate_that_is_no_whole_number_keeps_its_pace(tmp_path):
    source = a_foreign_video(tmp_path / "odd.mp4", "libx264", Fraction(25, 2), list(range(50)))
    assert numbers(read_frames(source)) == [-(-k * 25 // 32) for k in range(63)]


@pytest.mark.parametrize(("rotation", "size"), [(90, (48, 64)), (180, (64, 48)), (-90, (48, 64))])
def test_a_turned_video_is_read_upright(tmp_path, rotation, size):
    source = a_foreign_video(tmp_path / "phone.mp4", "libx264", 16, list(range(12)), rotation=rotation)
    facts = probe(source)
    assert (facts.width, facts.height, facts.rotation % 360) == (*size, rotation % 360)
    upright = [np.rot90(frame, -rotation // 90) for frame in read_frames(source)]  # counter-clockwise, and back
    assert numbers(upright) == list(range(12))
    head = fitted(source, Size(width=size[0], height=size[1]), None, tmp_path / "head.mp4")
    assert (probe(head).width, probe(head).height, probe(head).rotation) == (*size, 0)
    assert numbers(np.rot90(frame, -rotation // 90) for frame in read_frames(head)) == list(range(12))


def test_a_trimmed_video_begins_at_its_cut(tmp_path):
    source = a_foreign_video(tmp_path / "trimmed.mp4", "libx264", 16, list(range(-6, 20)))
    assert probe(source).frames == 20
    assert numbers(read_frames(source)) == list(range(6, 26))
    assert numbers(read_tail(source, 15)) == list(range(11, 26))


def test_a_video_that_changes_its_size_is_brought_to_one(tmp_path):
    small = a_foreign_video(tmp_path / "a.ts", "libx264", 16, list(range(10)))
    large = a_foreign_video(tmp_path / "b.ts", "libx264", 16, list(range(12, 22)), width=128, height=96)
    (tmp_path / "call.ts").write_bytes(small.read_bytes() + large.read_bytes())
    head = fitted(tmp_path / "call.ts", SIZE, None, tmp_path / "head.mp4")
    assert numbers(read_frames(head)) == [*range(10), *range(10)]
    assert numbers(read_tail(tmp_path / "call.ts", 15, size=SIZE)) == [*range(5, 10), *range(10)]
    with pytest.raises(UserError, match="changes its size"):
        read_tail(tmp_path / "call.ts", 15)


def test_a_head_of_another_shape_is_cut_not_stretched(tmp_path):
    source = a_foreign_video(tmp_path / "wide.mp4", "libx264", 16, [0, 1, 2], width=128, height=48)
    head = fitted(source, SIZE, None, tmp_path / "head.mp4")
    wide, cut = list(read_frames(source)), list(read_frames(head))
    assert np.abs(cut[2].astype(int) - wide[2][:, 32:96]).mean() < 3
    np.testing.assert_array_equal(read_tail(source, 1, size=SIZE)[0], wide[2][:, 32:96])


def test_a_film_is_its_own_head_unless_it_is_cut(tmp_path):
    film, out = a_film(tmp_path, [9, 6]), tmp_path / "head.mp4"
    assert fitted(film, SIZE, None, out) == film
    assert fitted(film, SIZE, 99, out) == film
    assert not out.exists()
    assert numbers(read_frames(fitted(film, SIZE, -4, out))) == list(range(11))
    assert fitted(film, Size(width=32, height=32), None, out) == out
    assert (probe(out).frames, probe(out).width) == (15, 32)


def test_a_film_that_a_gallery_has_turned_is_encoded_anew(tmp_path):
    film, turned = a_film(tmp_path, [5]), tmp_path / "turned.mp4"
    with av.open(film) as container, av.open(turned, "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        stream.set_display_rotation(180)
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    head = fitted(turned, SIZE, None, tmp_path / "head.mp4")
    assert head != turned
    assert numbers(frame[::-1, ::-1] for frame in read_frames(head)) == list(range(5))


def test_a_film_at_another_pace_is_no_part(tmp_path):
    film, slow = a_film(tmp_path, [5]), tmp_path / "slow.mp4"
    with av.open(film) as container, av.open(slow, "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts * 2, packet.dts * 2, stream
                output.mux(packet)
    with pytest.raises(ValueError, match="no regular 16 frames a second"):
        join([slow], tmp_path / "out.mp4", "")
    head = fitted(slow, SIZE, None, tmp_path / "head.mp4")
    assert head != slow
    assert numbers(read_frames(head)) == [0, 1, 1, 2, 2, 3, 3, 4, 4]


# ---- keeping and tails ----------------------------------------------------------------------------------------------


@given(total=st.integers(1, 500), keep=st.none() | st.integers(-600, 600))
def test_keep_frames_keeps_the_first_or_drops_the_last(total, keep):
    frames = list(range(total))
    if keep == 0:
        with pytest.raises(ValueError, match="must not be 0"):
            kept_frames(total, keep)
    elif keep is not None and -keep >= total:
        with pytest.raises(UserError, match="nothing is left"):
            kept_frames(total, keep)
    else:
        assert frames[: kept_frames(total, keep)] == frames[:keep]


@pytest.fixture(scope="module")
def long_film(tmp_path_factory) -> Path:
    return a_film(tmp_path_factory.mktemp("long"), [81, 76, 76])


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 100), keep=st.none() | st.integers(1, 300) | st.integers(-232, -1))
def test_the_tail_is_the_end_of_the_kept_frames(long_film, frames, keep):
    kept = list(range(233))[:keep]
    assert numbers(read_tail(long_film, frames, keep)) == kept[-frames:]


def test_the_tail_is_read_without_decoding_what_is_before(long_film, tmp_path):
    data = bytearray(long_film.read_bytes())
    body = data.index(b"mdat") + 4
    data[body : body + (len(data) - body) // 2] = bytes((len(data) - body) // 2)
    (tmp_path / "half.mp4").write_bytes(data)
    np.testing.assert_array_equal(read_tail(tmp_path / "half.mp4"), read_tail(long_film))
    with pytest.raises(UserError, match="damaged"):
        list(read_frames(tmp_path / "half.mp4"))


@pytest.mark.parametrize("reader", [probe, read_tail])
def test_a_video_that_shows_nothing_is_refused(tmp_path, reader):
    source = a_foreign_video(tmp_path / "source.avi", "mpeg4", 25, list(range(40)))
    with av.open(source) as container, av.open(tmp_path / "hollow.avi", "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in [packet for packet in container.demux(video=0) if packet.size]:
            empty = av.Packet(b"\0\0\1\xb6\x50\x4f")  # "this frame is not coded"
            empty.pts, empty.dts, empty.time_base, empty.stream = packet.pts, packet.dts, packet.time_base, stream
            output.mux(empty)
    with pytest.raises(UserError, match="cannot be decoded"):
        reader(tmp_path / "hollow.avi")


# ---- what is no video -----------------------------------------------------------------------------------------------

READERS = {
    "probe": probe,
    "read_comment": read_comment,
    "read_tail": read_tail,
    "read_frames": lambda path: list(read_frames(path)),
    "fitted": lambda path: fitted(path, SIZE, None, path.with_name("out.mp4")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a story about a fox, once upon a time\n" * 50,
        np.random.default_rng(0).bytes(5000),
        b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data" + bytes(99),
    ],
    ids=["empty", "text", "noise", "playlist", "concat", "picture", "sound"],
)
def test_what_is_no_video_is_refused_in_a_sentence(tmp_path, data, reader):
    path = tmp_path / "upload.mp4"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"^The file cannot be read as a video.*\.$"):
        READERS[reader](path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("reader", ["probe", "read_tail", "read_frames", "fitted"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_film_that_is_cut_off_is_refused(long_film, tmp_path, share, reader):
    path = tmp_path / "upload.mp4"
    path.write_bytes(long_film.read_bytes()[: int(long_film.stat().st_size * share)])
    with pytest.raises(UserError, match="cut off"):
        READERS[reader](path)


@pytest.mark.parametrize("cover", [False, True])
def test_sound_is_no_video_even_with_a_cover(tmp_path, cover):
    with av.open(tmp_path / "sound.mp4", "w") as output:
        stream = output.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        if cover:
            art = output.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt, art.disposition = 64, 48, "yuvj420p", Disposition.attached_pic
            output.mux(art.encode(av.VideoFrame.from_ndarray(coded(0), "rgb24")))
            output.mux(art.encode())
        output.mux(stream.encode(silence))
        output.mux(stream.encode())
    with pytest.raises(UserError, match="no moving picture"):
        probe(tmp_path / "sound.mp4")


@settings(max_examples=40, deadline=None)
@given(damage=st.dictionaries(st.integers(0, 4000), st.integers(0, 255), min_size=1, max_size=5))
def test_damage_is_read_or_refused_but_never_a_crash(long_film, tmp_path_factory, damage):
    data = bytearray(long_film.read_bytes())
    for at, value in damage.items():
        data[at] = value
    path = tmp_path_factory.mktemp("damage") / "upload.mp4"
    path.write_bytes(data)
    for reader in (probe, read_tail):
        with suppress(UserError):
            reader(path)


def test_a_video_of_days_is_refused(tmp_path):
    source = a_foreign_video(tmp_path / "days.mkv", "libx264", 1, [0, 100_000])
    with pytest.raises(UserError, match="at most 60 minutes"):
        probe(source)


def test_a_missing_file_is_not_the_persons_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "nothing.mp4")
