"""What the engine says to a command."""

import json
import subprocess
import sys
from typing import Any

from bot.crew import WorkerFailed


def ask_engine(question: str) -> dict[str, Any]:
    """What the engine says. Only it may import torch, so it is asked in a process of its own."""
    asked = subprocess.run([sys.executable, "-m", "engine", question], capture_output=True, text=True, check=False)
    if asked.returncode:
        last_line = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WorkerFailed(f"The engine does not start: {last_line.removeprefix('longtake: ')}")
    said: dict[str, Any] = json.loads(asked.stdout)
    return said
