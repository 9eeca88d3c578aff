"""The settings that every process shares: where things are kept, and how the log is written."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.disk import Disk
from storage.logs import LogForm
from storage.schema import UserError


class StorageSettings(BaseSettings):
    """Read from LONGTAKE_* variables and .env, once, in a process's entry point."""

    model_config = SettingsConfigDict(
        env_prefix="LONGTAKE_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    data_dir: Path = Path("data")
    disk_margin_gb: Annotated[float, Field(ge=0)] = 1.0  # of the disk stay free: with less, no film is begun
    media_gb: Annotated[float, Field(ge=0)] = 0.0  # that the media store may have; 0: as much as there is
    log: LogForm = "text"
    lora_dir: Path = Path("loras")  # a face lists the library, the engine reads it

    @property
    def database(self) -> Path:
        """The SQLite file in which bot and workers meet."""
        return self.data_dir / "longtake.db"

    @property
    def media(self) -> Path:
        """The content-addressed media store."""
        return self.data_dir / "media"

    @property
    def disk(self) -> Disk:
        """The disk of all that."""
        return Disk(self.data_dir, self.disk_margin_gb)

    @property
    def renders(self) -> Path:
        """The work folders of renders, by job."""
        return self.data_dir / "renders"


Settings = TypeVar("Settings", bound=StorageSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """The settings of a process, read once in its entry point; UserError names the first one that is wrong."""
    try:
        return kind()
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UserError(f"The setting LONGTAKE_{str(wrong['loc'][0]).upper()} is wrong: {wrong['msg']}.") from error
