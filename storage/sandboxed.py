"""The process in which one file of a stranger is decoded, with little memory and time, and then it ends.

python -m storage.sandboxed QUESTION    answers on stdout in parts: a line of JSON, and so many raw bytes after it

    {"ready": true}                                    the limits hold; what goes wrong from here on is the file's doing
    {"still": true}
    {"picture": [640, 480], "animated": false, "bytes": 921600}
    {"facts": {...}, "comment": "..."}
    {"frames": 9, "bytes": 10782720}                   as often as there are more
    {"error": "a sentence"}

Started by storage/sandbox.py alone.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from storage.errors import UserError

Part = tuple[dict[str, Any], bytes]
What = Literal["kind", "picture", "facts", "frames", "tail", "part"]
ENOUGH_FILES = 32  # that may be open: the interpreter's, the question's, and no more
COMPLAINTS = 2**16  # bytes that may be written to stderr, which is a file


class Box(NamedTuple):
    """A size; the schema's own one takes longer to import than a picture takes to read."""

    width: int
    height: int


@dataclass(frozen=True)
class Question:
    """What is to be read of which file, and with how much."""

    what: What
    path: str
    memory_bytes: int
    cpu_seconds: int
    most_pixels: int = 0  # of a picture's file
    longest_side: int = 0  # of the picture that is answered
    keep_frames: int | None = None
    begin: int = 0  # of a part
    count: int = 0  # frames of a tail or of a part
    size: Box | None = None  # of the frames that are answered

    @classmethod
    def read(cls, text: str) -> "Question":
        """From JSON."""
        said = json.loads(text)
        return cls(**{**said, "size": Box(*said["size"]) if said["size"] else None})


def main(question: Question) -> None:
    """Answer one question. What is needed for that is imported before the limits hold, and nothing else ever: it takes
    most of the time."""
    out = private_output()
    importlib.import_module("storage.pictures" if question.what in ("kind", "picture") else "storage.footage")
    answered(question, out)


def answered(question: Question, out: BinaryIO) -> None:
    """Take the limits, and answer."""
    answers = {"kind": kind, "picture": picture, "facts": facts, "frames": frames, "tail": tail, "part": part}[
        question.what
    ]
    limit(question.memory_bytes, question.cpu_seconds)
    tell(out, {"ready": True})
    try:
        for said, data in answers(question):
            tell(out, said, data)
    except UserError as error:
        tell(out, {"error": str(error)})
    except MemoryError:
        tell(out, {"error": "The file cannot be read: it takes more memory than a file may take."})


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Take away what a decoder does not need: memory, time, files that grow, other files, a core dump.

    Where a system knows no such limits (Windows), the one who waits for us still has a clock.
    """
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),  # asked to end, then killed
        resource.RLIMIT_FSIZE: (COMPLAINTS, COMPLAINTS),
        resource.RLIMIT_NOFILE: (ENOUGH_FILES, ENOUGH_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, (soft, hard) in limits.items():
        _, most = resource.getrlimit(kind)
        if most == resource.RLIM_INFINITY or hard <= most:
            resource.setrlimit(kind, (soft, hard))


# ---- what can be asked ----


def kind(question: Question) -> Iterator[Part]:
    """Whether a file begins as a picture."""
    from storage.pictures import is_picture

    yield {"still": is_picture(Path(question.path))}, b""


def picture(question: Question) -> Iterator[Part]:
    """A picture file as rows of RGB."""
    from storage.pictures import is_animated, load_picture

    path = Path(question.path)
    loaded = load_picture(path, question.most_pixels, question.longest_side)
    yield {"picture": loaded.size, "animated": is_animated(path)}, loaded.tobytes()


def facts(question: Question) -> Iterator[Part]:
    """What a video is, and the comment in it."""
    from storage.footage import probe, read_comment

    path = Path(question.path)
    yield {"facts": asdict(probe(path)), "comment": read_comment(path)}, b""


def frames(question: Question) -> Iterator[Part]:
    """The kept frames of a video, one by one."""
    from storage.footage import read_frames

    for frame in read_frames(Path(question.path), question.keep_frames, question.size):
        yield {"frames": 1}, frame.tobytes()


def tail(question: Question) -> Iterator[Part]:
    """The last kept frames of a video."""
    from storage.footage import read_tail

    last = read_tail(Path(question.path), question.count, question.keep_frames, question.size)
    yield {"frames": len(last)}, last.tobytes()


def part(question: Question) -> Iterator[Part]:
    """Some of the frames of a video."""
    from storage.footage import read_part

    assert question.size is not None
    some = read_part(Path(question.path), question.begin, question.count, question.size)
    yield {"frames": len(some)}, some.tobytes()


# ---- inside ----


def private_output() -> BinaryIO:
    """The stream to who asked. What libraries print goes to stderr instead."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def tell(out: BinaryIO, said: dict[str, Any], data: bytes = b"") -> None:
    """One part of the answer."""
    out.write(json.dumps({**said, "bytes": len(data)}).encode() + b"\n" + data)
    out.flush()


if __name__ == "__main__":
    main(Question.read(sys.argv[1]))
    os._exit(0)  # what libraries do when a process ends is not needed, and can hang
