"""A disk of a few megabytes that is filled and emptied again, for tests of what happens then.

python full_disk.py tmpfs FOLDER TEST      in a namespace of its own: mounts a disk of 8 MiB on FOLDER
python full_disk.py limit FOLDER TEST      no file may grow beyond 24 KiB while the disk is "full"

Runs the function TEST of test_full_disk.py in this process, which then has that disk.
"""

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SIZE = 8 * 2**20
LIMIT = 24 * 2**10
KINDS = {
    "tmpfs": ["unshare", "--user", "--map-root-user", "--mount"],  # no right is needed where people may have namespaces
    "limit": [],
}


class Full:
    """Makes the disk full, and makes room again."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """No byte more."""
        if self.kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            return
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self) -> None:
        """As at first."""
        if self.kind == "limit":
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        self._ballast.unlink(missing_ok=True)


def best() -> str:
    """A real disk where this machine lets us have one, a real limit elsewhere."""
    with contextlib.suppress(FileNotFoundError):
        tried = [*KINDS["tmpfs"], "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", "/mnt"]
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return "tmpfs"
    return "limit"


def run(kind: str, folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """A test on a small disk of its own, in a process of its own."""
    command = [*KINDS[kind], sys.executable, __file__, kind, str(folder), test]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@contextlib.contextmanager
def _disk(kind: str, folder: Path) -> Iterator[Full]:
    folder.mkdir(exist_ok=True)
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    yield Full(kind, folder)


if __name__ == "__main__":
    import test_full_disk

    with _disk(sys.argv[1], Path(sys.argv[2])) as full:
        work = getattr(test_full_disk, sys.argv[3])(full)
        if asyncio.iscoroutine(work):
            asyncio.run(work)
