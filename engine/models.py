"""The networks that a plan is filmed with, read from a folder.

config.json             sizes of the networks, which file holds which, and whether they were trained
*.safetensors           the two experts, which may be one file, and the VAE
text/                   the text encoder and its tokenizer
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.dit import DiT, DiTConfig
from engine.text import TextEncoder
from engine.vae import VAE, VAEConfig
from storage.schema import Expert, UserError

DEMO = Path(__file__).parent / "demo" / "weights"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Models:
    """Everything that one plan needs, on one device."""

    experts: dict[Expert, DiT]
    vae: VAE
    text: TextEncoder
    device: torch.device
    trained: bool
    latents_per_call: int  # of the VAE's decoder

    def read(self, prompt: str) -> Tensor:
        """What the text encoder makes of a prompt: [1, text_len, text_dim] float32, zeros after its last token."""
        return self.text(prompt)


class ModelShelf:
    """The models in use: one set at a time, kept from job to job."""

    def __init__(self, models_dir: Path, device: torch.device, dtype: torch.dtype, cache: Path | None = None) -> None:
        self._models_dir = models_dir
        self._device = device
        self._dtype = dtype
        self._cache = cache  # a folder for embeddings of texts
        self._loaded: tuple[str, Models] | None = None

    def load(self, name: str) -> Models:
        """The models called `name`; UserError when the folder is not there."""
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # the old set goes before the new one comes
            self._loaded = name, load_models(self.find(name), self._device, self._dtype, self._cache)
        return self._loaded[1]

    def installed(self) -> list[str]:
        """Names of the models that `load` finds, each with a word on whether it was trained."""
        found = {config.parent.name: config.parent for config in sorted(self._models_dir.glob("*/config.json"))}
        if (DEMO / "config.json").is_file():
            found.setdefault("demo", DEMO)
        return [name if read_config(folder)["trained"] else f"{name} (untrained)" for name, folder in found.items()]

    def find(self, name: str) -> Path:
        """The folder of the models called `name`; one in the models folder comes before the demo that ships."""
        folders = [self._models_dir / name, *([DEMO] if name == "demo" else [])]
        for folder in folders:
            if (folder / "config.json").is_file():
                return folder
        raise UserError(f"The model {name} is not installed: there is no {folders[0] / 'config.json'}.")


def load_models(folder: Path, device: torch.device, dtype: torch.dtype, cache: Path | None = None) -> Models:
    """Read every network of a folder. Matrix products run in `dtype`, the rest as each network needs it.

    Two experts in one file are one network.
    """
    config = read_config(folder)
    sizes = DiTConfig(**config["dit"])
    files = {Expert(name): file for name, file in config["experts"].items()}
    networks = {
        file: load_network(DiT, sizes, folder / file).to_precision(dtype).to(device) for file in set(files.values())
    }
    vae_sizes = VAEConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in config["vae"].items()})  # type: ignore[arg-type]
    vae = load_network(VAE, vae_sizes, folder / config["vae_file"])
    return Models(
        experts={expert: networks[file] for expert, file in files.items()},
        vae=vae.to(device, dtype).channels_last(),
        text=TextEncoder(folder / config["text"], text_len=sizes.text_len, device=device, cache=cache),
        device=device,
        trained=config["trained"],
        # More are faster, but a CPU's bfloat16 convolutions, which keep their data in its cache.
        latents_per_call=2 if (device.type, dtype) == ("cpu", torch.bfloat16) else 4,
    )


def load_network(network: type[Network], config: DiTConfig | VAEConfig, file: Path) -> Network:
    """A network with the weights of one safetensors file, in float32: every tensor of both must match."""
    with torch.device("meta"):
        built = network(config)
    loaded = {name: weight.float() for name, weight in load_file(file).items()}
    built.load_state_dict(loaded, strict=True, assign=True)
    return built.eval().requires_grad_(False)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config
