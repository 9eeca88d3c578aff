"""Settings of a worker."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from storage.settings import StorageSettings


class EngineSettings(StorageSettings):
    """What a worker needs to know about its machine."""

    models_dir: Path = Path("models")
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    gpus: Annotated[int, Field(ge=1)] = 1  # that film a window together: the device and those behind it
    precision: Literal["auto", "float32", "bfloat16", "fp8", "fp8-attention"] = "auto"
    memory: Literal["auto", "resident", "expert", "streamed", "least"] = "auto"
    memory_gib: Annotated[float, Field(ge=0)] = 0.0  # of the GPU; 0 is what is free
    threads: Annotated[int, Field(ge=0)] = 0  # of the CPU; 0 leaves the choice to torch
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    poll_seconds: Annotated[float, Field(gt=0)] = 0.5
    attempts: Annotated[int, Field(ge=1)] = 3  # at one job, of workers that fail or die, before the job has failed

    @property
    def embeddings(self) -> Path:
        """What the text encoder made of texts before."""
        return self.data_dir / "embeddings"

    @property
    def kernels(self) -> Path:
        """What was compiled for this machine's GPU."""
        return self.data_dir / "kernels"
