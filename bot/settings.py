"""Settings of the faces: what a person may ask for."""

from typing import Annotated

from pydantic import Field, SecretStr

from storage.settings import StorageSettings


class BotSettings(StorageSettings):
    """Limits and defaults of the studio."""

    preset: str = "demo"
    max_seconds: Annotated[float, Field(gt=0)] = 120.0  # longest film, and longest continuation
    max_story: Annotated[int, Field(gt=0)] = 4000  # characters
    max_pictures: Annotated[int, Field(gt=0)] = 8
    max_megapixels: Annotated[float, Field(gt=0)] = 64.0  # of one picture
    max_pins: Annotated[int, Field(ge=0)] = 10  # films that one person of a chat keeps from being removed; 0: none
    retention_days: Annotated[int, Field(ge=0)] = (
        0  # that requests and takes of a chat are kept; 0: until they are deleted
    )


class HttpSettings(StorageSettings):
    """Where machines may ask how the bot does."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: nowhere
    http_password: SecretStr = SecretStr("")
