"""Settings of the director: which language model plans, and for how long one may wait for it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from yarl import URL

from planner.language.model import LanguageModel
from storage.schema import UserError
from storage.settings import StorageSettings


class PlannerSettings(StorageSettings):
    """Without a language model the rules plan."""

    llm: str = ""  # a GGUF file, or the address of a server that speaks OpenAI's API
    llm_model: str = ""  # the model's name, for a server that has several
    llm_key: SecretStr = SecretStr("")  # for a server that wants one
    llm_eyes: str = ""  # the mmproj file of a multimodal GGUF file; "yes" for a server whose model takes pictures
    llm_context: Annotated[int, Field(ge=4096)] = 12288  # tokens
    llm_gpu_layers: int = -1  # -1: all that fit
    llm_threads: Annotated[int, Field(ge=0)] = 0  # 0 leaves the choice to llama.cpp
    llm_seconds: Annotated[float, Field(gt=0)] = 120.0  # for one plan, repairs included; then the rules plan
    blocklist: str = ""  # a file of words and phrases that are not filmed, one a line
    restricted_words: str = ""  # the same, of what is filmed in age-restricted channels only
    moderation: str = ""  # a Python function that judges every request: module:function

    @property
    def llm_is_server(self) -> bool:
        """Whether the language model is a server's, not a file's."""
        return self.llm.startswith(("http://", "https://"))

    @property
    def llm_shown(self) -> str:
        """The language model as it may be told: without a password in its address."""
        return str(URL(self.llm).with_user(None)) if self.llm_is_server else self.llm

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be in no log."""
        password = URL(self.llm).password if self.llm_is_server else None
        return tuple(filter(None, (self.llm_key.get_secret_value(), password)))


def language_model(settings: PlannerSettings) -> LanguageModel | None:
    """The language model of the settings; None where the rules are to plan. Nothing is started yet."""
    if not settings.llm:
        return None
    if settings.llm_is_server:
        from planner.language.server import ModelServer

        if URL(settings.llm).user and settings.llm_key.get_secret_value():
            raise UserError(
                "LONGTAKE_LLM has a password in its address, and LONGTAKE_LLM_KEY a key: a server takes one."
            )
        key, sees = settings.llm_key.get_secret_value(), bool(settings.llm_eyes)
        return ModelServer(settings.llm, settings.llm_model, key, sees=sees)
    from planner.language.process import LlamaFile, LlamaProcess

    path = _file(settings.llm, "LLM")
    eyes = _file(settings.llm_eyes, "LLM_EYES") if settings.llm_eyes else None
    threads = settings.llm_threads
    return LlamaProcess(LlamaFile(path, eyes, settings.llm_context, settings.llm_gpu_layers, threads))


def _file(name: str, setting: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"The setting LONGTAKE_{setting} names {name}, and there is no such file.")
    return path
