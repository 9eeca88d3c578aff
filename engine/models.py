"""The networks that a plan is filmed with, and where they come from.

A model is either a folder of its own,

    config.json             sizes of the networks, which file holds which, and whether they were trained
    *.safetensors           the two experts, which may be one file, and the VAE
    text/                   the text encoder and its tokenizer

or, for "svi2pro" and "svi2pro-enhanced", whatever checkpoints lie in the models folder, in the formats and under the
names that people have.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from engine.checkpoints.checkpoint import open_checkpoint
from engine.checkpoints.find import FINISH_DIR, Found, Part, find_models
from engine.checkpoints.load import load_dit, load_text_weights, load_vae
from engine.dit import DiT, DiTConfig
from engine.settings import EngineSettings
from engine.step_loras import Recipe, StepLoras, apply_recipe, lora_reader, recipe_for
from engine.text import TextEncoder, build_umt5
from engine.vae import VAE, VAEConfig
from storage.loras import LoraLibrary
from storage.schema import Expert, Lora, Plan, UserError

DEMO = Path(__file__).parent / "demo" / "weights"
SVI2PRO = "svi2pro"
ENHANCED = "svi2pro-enhanced"  # the same with experts that were distilled themselves
UMT5_TOKENS = 512  # slots of the 14 B experts
SET_LORAS = {  # names that plans use for LoRAs whose files are called this or that
    "svi-pro-high": Part.SVI_HIGH,
    "svi-pro-low": Part.SVI_LOW,
    "lightning-high": Part.LIGHTNING_HIGH,
    "lightning-low": Part.LIGHTNING_LOW,
    "lightning-2025-high": Part.LIGHTNING_2025_HIGH,
}

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Models:
    """Everything that one plan needs, on one device."""

    experts: Mapping[Expert, DiT]
    vae: VAE
    text: TextEncoder
    device: torch.device
    trained: bool
    latents_per_call: int  # of the VAE's decoder
    finish_dir: Path  # where the networks of engine/finish lie
    step_loras: Mapping[Expert, StepLoras] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """A model as it lies on the disk: how to read each part. `expert_files` says which experts are one network."""

    expert_files: Mapping[Expert, Path]
    load_expert: Callable[[Path], DiT]
    load_vae: Callable[[], VAE]
    load_text: Callable[[], TextEncoder]
    trained: bool


class ModelShelf:
    """The models in use: one set at a time, kept from job to job."""

    def __init__(self, settings: EngineSettings, device: torch.device, dtype: torch.dtype) -> None:
        self._settings = settings
        self._device = device
        self._dtype = dtype
        self._loaded: tuple[tuple[str, Mapping[Expert, Recipe]], Models] | None = None
        self._found: Found | None = None
        self._library = LoraLibrary(settings.lora_dir)
        self.ledgers: dict[str, str] = {}  # of every LoRA that was read: what became of its keys

    def load(self, plan: Plan) -> Models:
        """The models that a plan asks for, its LoRAs included; UserError when something is not there."""
        wanted = plan.model, {expert: recipe_for(expert, plan.loras, plan.sampling) for expert in Expert}
        if self._loaded is None or self._loaded[0] != wanted:
            kept = None
            if self._loaded and self._loaded[0][0] == plan.model:
                kept = self._loaded[1].vae, self._loaded[1].text
            self._loaded = None  # the old experts go before the new ones come
            self._found = None  # looked up once for a load, not once for each of its LoRAs
            with _readable(plan.model):
                self._loaded = wanted, self._read(self.find(plan.model), wanted[1], kept)
        return self._loaded[1]

    def installed(self) -> list[str]:
        """Names of the models that `load` finds, each with a word on whether it was trained."""
        folders = {config.parent.name: config.parent for config in sorted(self._models_dir.glob("*/config.json"))}
        if (DEMO / "config.json").is_file():
            folders.setdefault("demo", DEMO)
        names = [name + _state(folder) for name, folder in folders.items()]
        return [*names, *(name for name in (SVI2PRO, ENHANCED) if not self.found(name).missing)]

    def found(self, name: str = SVI2PRO) -> Found:
        """What of the 14 B model lies in the models folder, or of the enhanced one."""
        self._found = find_models(self._models_dir, distilled_experts=name == ENHANCED)
        return self._found

    def find(self, name: str) -> Parts:
        """Where a model lies; a folder of its name in the models folder comes before the demo that ships."""
        folders = [self._models_dir / name, *([DEMO] if name == "demo" else [])]
        for folder in folders:
            if (folder / "config.json").is_file():
                return self._in_folder(folder)
        if name not in (SVI2PRO, ENHANCED):
            raise UserError(f"The model {name} is not installed: there is no {folders[0] / 'config.json'}.")
        found = self.found(name)
        if found.missing:
            missing = "; ".join(found.missing)
            raise UserError(f"The model {name} is not complete. Missing in {self._models_dir}: {missing}.")
        return self._as_found(found)

    def find_lora(self, lora: Lora) -> Path:
        """The file of a LoRA: of the set by its role, of the library by its name, if it is the one that was planned."""
        if lora.name in SET_LORAS and not lora.sha256:
            return (self._found or self.found()).path(SET_LORAS[lora.name])
        return self._library.file_of(lora)

    def _read(self, parts: Parts, recipes: Mapping[Expert, Recipe], kept: tuple[VAE, TextEncoder] | None) -> Models:
        vae, text = kept or (parts.load_vae(), parts.load_text())
        networks: dict[tuple[Path, Recipe], tuple[DiT, StepLoras | None]] = {}
        for expert, file in parts.expert_files.items():
            if (file, recipes[expert]) not in networks:
                network = parts.load_expert(file)
                reader = lora_reader(network, self.find_lora, self.ledgers)
                networks[file, recipes[expert]] = network, apply_recipe(network, recipes[expert], reader)
                if self._settings.precision.startswith("fp8"):  # after the LoRAs: what is rounded is their sum
                    network.to_fp8(attention=self._settings.precision == "fp8-attention")
        chosen = {expert: networks[file, recipes[expert]] for expert, file in parts.expert_files.items()}
        return Models(
            experts={expert: network for expert, (network, _) in chosen.items()},
            vae=vae,
            text=text,
            device=self._device,
            trained=parts.trained,
            # More are faster, but a CPU's bfloat16 convolutions, which keep their data in its cache.
            finish_dir=self._models_dir / FINISH_DIR,
            latents_per_call=2 if (self._device.type, self._dtype) == ("cpu", torch.bfloat16) else 4,
            step_loras={expert: varying for expert, (_, varying) in chosen.items() if varying},
        )

    def _in_folder(self, folder: Path) -> Parts:
        """A model with a config.json."""
        config = _config(folder)
        sizes = DiTConfig(**config["dit"])
        vae_config: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config["vae"].items()
        }

        def load_expert(file: Path) -> DiT:
            return load_network(DiT, sizes, file).to_precision(self._dtype).to(self._device)

        def load_vae_here() -> VAE:
            vae = load_network(VAE, VAEConfig(**vae_config), folder / config["vae_file"])
            return vae.to(self._device, self._dtype).channels_last()

        return Parts(
            expert_files={Expert(name): folder / file for name, file in config["experts"].items()},
            load_expert=load_expert,
            load_vae=load_vae_here,
            load_text=lambda: TextEncoder.in_folder(
                folder / config["text"], sizes.text_len, self._device, self._settings.embeddings
            ),
            trained=config["trained"],
        )

    def _as_found(self, found: Found) -> Parts:
        """The 14 B model from checkpoints of any format."""
        weights = found.path(Part.TEXT_ENCODER)

        def load_umt5() -> nn.Module:
            sizes = asdict(open_checkpoint(weights).config)
            return build_umt5(sizes, load_text_weights(weights, self._device), str(weights))

        return Parts(
            expert_files={
                Expert.HIGH_NOISE: found.path(Part.HIGH_NOISE),
                Expert.LOW_NOISE: found.path(Part.LOW_NOISE),
            },
            load_expert=lambda file: load_dit(file, self._device, self._dtype),
            load_vae=lambda: load_vae(found.path(Part.VAE), self._device, self._dtype).channels_last(),
            load_text=lambda: TextEncoder(
                found.path(Part.TOKENIZER), [weights], load_umt5, UMT5_TOKENS, self._device, self._settings.embeddings
            ),
            trained=True,
        )

    @property
    def _models_dir(self) -> Path:
        return self._settings.models_dir


def expert_sizes(models_dir: Path) -> dict[str, DiTConfig]:
    """Sizes of the experts of every model that a LoRA may be for, be it installed or not."""
    folders = {"demo": DEMO} | {
        config.parent.name: config.parent for config in sorted(models_dir.glob("*/config.json"))
    }
    own = {name: DiTConfig(**_config(folder)["dit"]) for name, folder in folders.items() if _is_whole(folder)}
    return {SVI2PRO: DiTConfig(), **own}


def load_network(network: type[Network], config: DiTConfig | VAEConfig, file: Path) -> Network:
    """A network with the weights of one safetensors file, in float32: every tensor of both must match."""
    with torch.device("meta"):
        built = network(config)
    loaded = {name: weight.float() for name, weight in load_file(file).items()}
    built.load_state_dict(loaded, strict=True, assign=True)
    return built.eval().requires_grad_(False)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Whatever is wrong with a model's files is one sentence; too little memory is not their fault."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"The files of the model {name} cannot be read: {reason}.") from error


def _is_whole(folder: Path) -> bool:
    return _state(folder) in ("", " (untrained)")


def _state(folder: Path) -> str:
    """A word on a model with a config.json, for its name: nothing when it is whole and trained."""
    try:
        config = _config(folder)
        files = [*config["experts"].values(), config["vae_file"], config["text"]]
        if not all((folder / file).exists() for file in files):
            return " (incomplete)"
        return "" if config["trained"] else " (untrained)"
    except (ValueError, KeyError, TypeError):
        return " (damaged)"


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config
