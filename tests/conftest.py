import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # toy networks are faster on one thread; set before torch is first imported

import pytest


@pytest.fixture(scope="session")
def toy_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder whose "demo" is untrained and tiny: the real loading code and the real networks, in a second."""
    from engine.demo.untrained import write_untrained

    folder = tmp_path_factory.mktemp("models")
    write_untrained(folder / "demo")
    return folder
