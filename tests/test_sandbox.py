import io
import json
import os
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import hostile_files as hostile
import numpy as np
import pytest
from filming import SIZE, draw
from PIL import Image

from bot.intake import LONGEST_SIDE, Intake
from bot.settings import BotSettings
from storage import footage, sandbox
from storage.media import Media
from storage.pictures import MOST_PIXELS, load_picture
from storage.sandboxed import Question
from storage.schema import UserError

PICTURE = Question(
    "picture", "", sandbox.PICTURE_BYTES[0] + sandbox.PICTURE_BYTES[1] * MOST_PIXELS, 6, MOST_PIXELS, LONGEST_SIDE
)
VIDEO = Question("facts", "", sandbox.VIDEO_BYTES, 6)
BOMBS, BROKEN = dict(hostile.bombs()), dict(hostile.broken())
PEAK_MB = 256  # of the corpus; the limits are higher, since a photo of 64 megapixels is no crime
CPU_SECONDS = 5.0  # of the corpus; the limit is higher by one


class Batch:
    """Answers like the real thing, in a process of its own each, but quicker to start."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "upload"
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("hostile_batch.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: Question, data: bytes) -> dict:
        self._file.write_bytes(data)
        self._process.stdin.write(json.dumps(asdict(replace(question, path=str(self._file)))) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    batch = Batch(tmp_path_factory.mktemp("batch"))
    yield batch
    batch.close()


@pytest.fixture
def intake(tmp_path):
    return Intake(BotSettings(data_dir=tmp_path, _env_file=None), Media(tmp_path / "media"))


def wrong(answer: dict, *, must_be_refused: bool) -> str:
    """What an answer does that none may do; "" if nothing."""
    last = answer["parts"][-1]
    sentence = last.get("error")
    ends_well = sentence is not None and sentence.endswith(".") and "\n" not in sentence and "/" not in sentence
    faults = {
        "crashed": answer["code"] != 0,
        "said nothing": len(answer["parts"]) < 2,
        "was read": must_be_refused and sentence is None,
        "is no sentence": sentence is not None and not ends_well,
        "took too much memory": answer["peak_mb"] > PEAK_MB,
        "took too long": answer["cpu_seconds"] > CPU_SECONDS,
    }
    return ", ".join(fault for fault, true in faults.items() if true)


def faults_of(batch: Batch, question: Question, files: dict[str, bytes], *, must_be_refused: bool) -> dict[str, str]:
    told = {name: wrong(batch.ask(question, data), must_be_refused=must_be_refused) for name, data in files.items()}
    return {name: fault for name, fault in told.items() if fault}


# ---- the corpus -----------------------------------------------------------------------------------------------------


def test_hostile_pictures_are_refused_in_a_sentence(batch):
    files = {**dict(hostile.not_pictures()), **dict(hostile.cut_off()), **BOMBS, **BROKEN}
    assert len(files) >= 100
    assert faults_of(batch, PICTURE, files, must_be_refused=True) == {}


def test_suspicious_pictures_are_read_or_refused(batch):
    files = dict(hostile.suspicious_pictures())
    assert len(files) >= 60
    assert faults_of(batch, PICTURE, files, must_be_refused=False) == {}


def test_hostile_videos_are_refused_in_a_sentence(batch, tmp_path):
    files = dict(hostile.hostile_videos(tmp_path))
    assert len(files) >= 15
    assert faults_of(batch, VIDEO, files, must_be_refused=True) == {}


def test_suspicious_videos_are_read_or_refused(batch, tmp_path):
    files = dict(hostile.suspicious_videos(tmp_path))
    assert len(files) >= 20
    assert faults_of(batch, VIDEO, files, must_be_refused=False) == {}


def test_the_corpus_could_fail(batch):
    """A good picture is read, and a limit that a good picture breaks is told: the tests above see both."""
    good = hostile.picture_bytes("png")
    assert wrong(batch.ask(PICTURE, good), must_be_refused=True) == "was read"
    large = hostile.png(7000, 7000, depth=1, colour=0)
    answer = batch.ask(replace(PICTURE, memory_bytes=2**27), large)
    assert "more memory than a file may take" in answer["parts"][-1]["error"]
    assert answer["peak_mb"] < 2**27 / 2**20


# ---- the real thing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "cannot be read as a picture"),
        (BOMBS["a png of 900 megapixels"], "at most 64 million pixels"),
        (BROKEN["a png whose chunk is 2 GB"], "more memory than a file may take"),
    ],
    ids=["nothing", "bomb", "chunk"],
)
def test_a_person_reads_a_sentence_that_names_the_file(intake, tmp_path, data, sentence):
    (tmp_path / "dog.png").write_bytes(data)
    with pytest.raises(UserError, match=rf"^dog.png: .*{sentence}.*\.$"):
        intake.look(tmp_path / "dog.png")


def test_what_takes_too_much_of_the_processor_is_ended(tmp_path):
    (tmp_path / "scans.jpg").write_bytes(hostile.scan_bomb())
    question = replace(PICTURE, path=str(tmp_path / "scans.jpg"), cpu_seconds=1)
    with pytest.raises(UserError, match="cannot be read within 8 seconds"):
        sandbox._answer(question, most_bytes=2**30)


def test_what_takes_too_long_is_ended_whatever_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.01)
    with pytest.raises(UserError, match="no file may take longer"):
        sandbox.read_picture(draw(tmp_path / "dog.png", 1))


def test_whatever_a_decoder_dies_of_is_the_files_fault(tmp_path):
    path = draw(tmp_path / "dog.png", 1)
    with pytest.raises(UserError, match="damaged, or made to do harm"):
        sandbox._answer(replace(PICTURE, path=str(path), most_pixels=None), most_bytes=2**30)


def test_what_is_said_in_there_is_not_believed(tmp_path):
    path = draw(tmp_path / "dog.png", 1, (64, 48))
    with pytest.raises(UserError, match="damaged, or made to do harm"):
        sandbox._answer(replace(PICTURE, path=str(path)), most_bytes=3 * 64 * 48 - 1)


def test_a_reader_that_does_not_start_is_not_the_files_fault(tmp_path, monkeypatch):
    monkeypatch.setitem(sandbox.ENVIRONMENT, "PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sandbox.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="does not start"):
        sandbox.read_picture(draw(tmp_path / "dog.png", 1))


def test_a_pipe_is_no_file_to_wait_for(tmp_path):
    os.mkfifo(tmp_path / "dog.png")
    with pytest.raises(FileNotFoundError):
        sandbox.read_picture(tmp_path / "dog.png")


ATTEMPTS = {
    "memory": "bytearray(2**30)",
    "files": "[open('/dev/null') for _ in range(40)]",
    "disk": "open('much', 'wb', 0).write(bytes(2**20)) == 2**20 or 1 / 0",
    "time": "[None for _ in iter(int, 1)]",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_limits_hold(tmp_path, attempt):
    script = f"from storage.sandboxed import limit\nlimit(2**28, 1)\n{ATTEMPTS[attempt]}"
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert ended.returncode != 0
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2**17


def test_a_picture_needs_little_to_be_read():
    script = "import sys, storage.sandboxed, storage.pictures; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "av", "pydantic", "discord"} & set(loaded)


def test_secrets_of_ours_are_not_in_there():
    assert set(sandbox.ENVIRONMENT) == {"PYTHONPATH", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"}


# ---- what comes out -------------------------------------------------------------------------------------------------


def with_every_note() -> bytes:
    """A photo that tells where it was taken, with what, and by whom."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8298] = 6, "a camera", "by somebody"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    data = io.BytesIO()
    photo = Image.open(io.BytesIO(hostile.picture_bytes("png")))
    photo.save(data, "jpeg", exif=exif, comment=b"at home", xmp=b"<x:xmpmeta>secret</x:xmpmeta>")
    return data.getvalue()


def test_nothing_but_pixels_is_kept_of_a_picture(intake, tmp_path):
    (tmp_path / "home.jpg").write_bytes(with_every_note())
    photo = intake.look(tmp_path / "home.jpg")
    assert (photo.width, photo.height) == (32, 48), "upright"
    kept = intake._media.path(intake.keep(photo).media).read_bytes()
    chunks, at = [], 8
    while at < len(kept):
        length, kind = struct.unpack_from(">I4s", kept, at)
        chunks.append(kind)
        at += 12 + length
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    assert at == len(kept)
    assert not Image.open(io.BytesIO(kept)).getexif()


def test_the_sandbox_shows_what_the_decoder_shows(tmp_path):
    path = draw(tmp_path / "dog.png", 1, (300, 200))
    assert sandbox.read_picture(path).picture.tobytes() == load_picture(path).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "CMYK", "I;16"])
def test_a_large_picture_is_made_smaller_in_any_mode(tmp_path, mode):
    ramp = np.linspace(0, 255, 400).astype(np.uint8)[None].repeat(100, 0)
    grey = Image.fromarray(ramp)
    source = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    path = tmp_path / ("wide.tiff" if mode == "CMYK" else "wide.png")
    source.save(path)
    small = load_picture(path, longest_side=100)
    assert small.size == (100, 25)
    expected = load_picture(path).resize((100, 25))
    np.testing.assert_allclose(np.asarray(small).mean((0, 2)), np.asarray(expected).mean((0, 2)), atol=6)


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_an_animation_is_said_to_be_one(intake, tmp_path, kind):
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    path = tmp_path / f"moving.{kind}"
    first.save(path, save_all=True, append_images=[second], duration=100)
    (note,) = intake.look(path).notes
    assert note == f"moving.{kind} holds several pictures, as animations do: the first one is used."
    first.save(path)
    assert intake.look(path).notes == ()


def test_what_a_phone_keeps_beside_a_photo_is_no_animation(intake, tmp_path):
    photo = Image.new("RGB", (32, 32), "red")
    photo.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert intake.look(tmp_path / "photo.jpg").notes == ()


def test_frames_are_those_of_the_decoder(tmp_path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(hostile.video_bytes(tmp_path))
    facts, comment = sandbox.probe(path)
    assert (facts, comment) == (footage.probe(path), None)
    frames = list(sandbox.read_frames(path, -2, SIZE))
    np.testing.assert_array_equal(frames, list(footage.read_frames(path, -2, SIZE)))
    np.testing.assert_array_equal(sandbox.read_tail(path, 9, None, SIZE), footage.read_tail(path, 9, None, SIZE))
    for begin, count in ((0, 4), (9, 81), (99, 81)):
        part = sandbox.read_part(path, begin, count, SIZE)
        np.testing.assert_array_equal(part, footage.read_part(path, begin, count, SIZE))
    assert not sandbox.is_picture(path)
    assert sandbox.is_picture(draw(tmp_path / "dog.png", 1))


def children() -> set[str]:
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def test_frames_that_nobody_wants_any_more_end_the_process(tmp_path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(hostile.video_bytes(tmp_path))
    before, frames = children(), sandbox.read_frames(path, None, SIZE)
    next(frames)
    assert len(children() - before) == 1
    frames.close()
    assert children() <= before
