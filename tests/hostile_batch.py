"""Answers one question after the other like storage/sandboxed.py, each in a process with the same limits.

python tests/hostile_batch.py    questions and answers are JSON, one a line. The decoders are imported once; a new
process a question is a fork, so hundreds of files take seconds. What is different from the real thing is that alone.
"""

import io
import json
import os
import sys

from storage import footage, pictures  # noqa: F401 - before the limits hold
from storage.sandboxed import Question, answered


def serve(line: str) -> dict[str, object]:
    said, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(into, "wb") as out:
            answered(Question.read(line), out)
        os._exit(0)
    os.close(into)
    with os.fdopen(said, "rb") as stream:
        told = stream.read()
    _, status, used = os.wait4(child, 0)
    data = io.BytesIO(told)
    parts = []
    while header := data.readline():
        parts.append(json.loads(header))
        data.seek(parts[-1]["bytes"], io.SEEK_CUR)
    code = os.waitstatus_to_exitcode(status)
    return {
        "parts": parts,
        "code": code,
        "peak_mb": used.ru_maxrss / 1024,
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(serve(line)), flush=True)
