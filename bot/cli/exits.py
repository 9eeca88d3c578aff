"""How a command ends: what it prints last, and its exit code."""

import json
import sys

from pydantic import JsonValue

EXIT_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED = 1, 2, 130


def answer(value: dict[str, JsonValue]) -> int:
    """One JSON object for a script."""
    print(json.dumps(value, ensure_ascii=False))
    return 0


def say(text: str) -> int:
    """One sentence for a person."""
    print(text)
    return 0


def complain(text: str, code: int) -> int:
    """One sentence on what is wrong."""
    print(f"longtake: {text}", file=sys.stderr)
    return code
