"""What a command finds where it is run: the settings of its folder, and the engine."""

import json
import subprocess
import sys
from typing import Any

from bot.crew import WorkerFailed
from bot.settings import BotSettings
from storage.settings import read_settings


def ask_engine(question: str) -> dict[str, Any]:
    """What the engine says. Only it may import torch, so it is asked in a process of its own."""
    asked = subprocess.run([sys.executable, "-m", "engine", question], capture_output=True, text=True, check=False)
    if asked.returncode:
        last_line = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WorkerFailed(f"The engine does not start: {last_line}")
    said: dict[str, Any] = json.loads(asked.stdout)
    return said


def settings() -> BotSettings:
    """The settings of this folder."""
    return read_settings(BotSettings)
