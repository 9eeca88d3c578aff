"""The one setting that every process shares: where things are kept."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class StorageSettings(BaseSettings):
    """Read from LONGTAKE_* variables and .env, once, in a process's entry point."""

    model_config = SettingsConfigDict(env_prefix="LONGTAKE_", env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Path("data")

    @property
    def database(self) -> Path:
        """The SQLite file in which bot and workers meet."""
        return self.data_dir / "longtake.db"

    @property
    def media(self) -> Path:
        """The content-addressed media store."""
        return self.data_dir / "media"
