"""The media store: files by content, whole or not there, whoever is killed meanwhile."""

import errno
import hashlib
import multiprocessing
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
from waiting import wait_until

from storage.disk import DiskFull
from storage.media import Media

DATA = random.Random(0).randbytes(3_000_000)
NAME = hashlib.sha256(DATA).hexdigest()
PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture
def media(tmp_path):
    return Media(tmp_path / "media")


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "clip.mp4"
    file.write_bytes(DATA)
    return file


def files(media):
    return sorted(file.relative_to(media.root).as_posix() for file in media.root.rglob("*") if file.is_file())


# ---- adding and reading ----


@pytest.mark.parametrize("move", [False, True])
def test_a_file_is_kept_under_the_hash_of_its_bytes(media, source, move):
    assert media.add_file(source, move=move) == NAME
    assert files(media) == [f"{NAME[:2]}/{NAME}"]
    assert media.path(NAME).read_bytes() == DATA
    assert source.exists() is not move


def test_bytes_are_kept_as_a_file_of_them_would_be(media, source):
    assert media.add_bytes(DATA) == media.add_file(source)
    with media.open(NAME) as stream:
        assert stream.read() == DATA


def test_an_empty_file_is_a_file(media):
    assert media.path(media.add_bytes(b"")).read_bytes() == b""


def test_adding_again_changes_nothing(media, source):
    first = media.add_file(source)
    assert media.add_file(source) == media.add_file(source, move=True) == first
    assert files(media) == [f"{NAME[:2]}/{NAME}"]
    assert media.path(NAME).read_bytes() == DATA


def test_two_stores_on_one_folder_see_the_same_files(media):
    assert Media(media.root).path(media.add_bytes(b"x")).read_bytes() == b"x"


def test_a_file_that_is_in_the_store_may_be_moved_into_it(media, tmp_path):
    """Neither the stored file nor a link to it may be what is lost."""
    stored = media.path(media.add_bytes(DATA))
    link = tmp_path / "link"
    link.symlink_to(stored)
    assert media.add_file(stored, move=True) == media.add_file(link, move=True) == NAME
    assert not stored.is_symlink()
    assert stored.read_bytes() == DATA


def test_moving_from_another_disk_is_a_move_too(media, tmp_path):
    memory = Path("/dev/shm")  # where Linux has a disk of its own in memory; elsewhere this is a plain move
    source = (memory if memory.is_dir() else tmp_path) / f"longtake-test-{os.getpid()}"
    source.write_bytes(DATA)
    try:
        assert media.add_file(source, move=True) == NAME
        assert not source.exists()
    finally:
        source.unlink(missing_ok=True)
    assert files(media) == [f"{NAME[:2]}/{NAME}"]


# ---- what is not there ----


def test_a_missing_file_is_said_to_be_missing(media):
    with pytest.raises(FileNotFoundError, match="no such file") as caught:
        media.path(NAME)
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(FileNotFoundError):
        media.open(NAME)


@pytest.mark.parametrize("move", [False, True])
def test_a_source_that_is_missing_leaves_nothing_behind(media, tmp_path, move):
    with pytest.raises(FileNotFoundError):
        media.add_file(tmp_path / "nothing.png", move=move)
    assert files(media) == []


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../" * 21 + "a", "/etc/passwd", "incoming", NAME.upper(), NAME[:-1], NAME + "\n", NAME + "/.."],
)
def test_only_a_hash_names_a_file(media, name):
    media.add_bytes(DATA)
    for read in (media.path, media.open):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            read(name)


# ---- processes ----


def add(root, source, times):
    for _ in range(times):
        assert Media(root).add_file(source) == NAME


def test_processes_that_add_the_same_file_at_once_do_not_disturb_one_another(media, source):
    adders = [PROCESSES.Process(target=add, args=(media.root, source, 10), daemon=True) for _ in range(3)]
    for process in adders:
        process.start()
    while any(process.is_alive() for process in adders):  # from its first appearance on, the file is whole
        if (media.root / NAME[:2] / NAME).exists():
            assert media.path(NAME).stat().st_size == len(DATA)
        time.sleep(0.002)
    assert [process.exitcode for process in adders] == [0, 0, 0]
    assert files(media) == [f"{NAME[:2]}/{NAME}"]
    assert media.path(NAME).read_bytes() == DATA


def test_a_writer_killed_halfway_leaves_no_file_and_what_it_left_is_swept(media, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = PROCESSES.Process(target=add, args=(media.root, pipe, 1), daemon=True)
    writer.start()
    with pipe.open("wb", buffering=0) as stream:
        stream.write(DATA[:2_500_000])
        wait_until(lambda: [f for f in files(media) if (media.root / f).stat().st_size >= 2**21])
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    (leftover,) = files(media)
    assert leftover.startswith("incoming/")
    with pytest.raises(FileNotFoundError):
        media.path(NAME)

    kept = media.add_bytes(b"finished")
    assert media.sweep(older_than=3600) == 0  # it may be in the making
    hour_ago = time.time() - 3601
    for file in files(media):
        os.utime(media.root / file, (hour_ago, hour_ago))
    assert media.sweep(older_than=3600) == 1
    assert files(media) == [f"{kept[:2]}/{kept}"]  # old, but finished


def test_a_copy_that_fails_halfway_leaves_nothing_behind(media, source):
    """As on a full disk: no file may grow beyond a megabyte."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(DiskFull):
            media.add_file(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(media) == []
