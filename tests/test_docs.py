"""What the documentation promises is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_test_that_the_table_of_features_names_is_there():
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", (ROOT / "docs/discord.md").read_text())
    assert len(named) > 20
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []
