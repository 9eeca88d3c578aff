import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["OMP_NUM_THREADS"] = "1"  # toy networks are faster on one thread; set before torch is first imported

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from storage.database import Database

settings.register_profile("longtake", deadline=None)  # a busy machine is no failure
settings.load_profile("longtake")


@pytest.fixture
def database(tmp_path: Path) -> "Iterator[Database]":
    """An empty one, where those that run in the test's folder keep theirs."""
    from storage.database import Database

    with Database.open(tmp_path / "data" / "longtake.db") as database:
        yield database


@pytest.fixture(scope="session")
def toy_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder whose "demo" is untrained and tiny: the real loading code and the real networks, in a second."""
    from engine.demo.untrained import write_untrained

    folder = tmp_path_factory.mktemp("models")
    write_untrained(folder / "demo")
    return folder


@pytest.fixture(scope="session")
def shelf(toy_models_dir: Path):
    """The toy model, on the CPU in float32; LoRAs are looked for in the models folder."""
    import torch

    from engine.models import ModelShelf
    from engine.settings import EngineSettings

    settings = EngineSettings(models_dir=toy_models_dir, data_dir=toy_models_dir / "data", lora_dir=toy_models_dir)
    return ModelShelf(settings, torch.device("cpu"), torch.float32)
