"""A model as it lies on the disk, and how to read its parts.

A model is either a folder of its own,

    config.json             sizes of the networks, which file holds which, and whether they were trained
    *.safetensors           the two experts, which may be one file, and the VAE
    text/                   the text encoder and its tokenizer

or, for "svi2pro" and "svi2pro-enhanced", whatever checkpoints lie in the models folder, in the formats and under the
names that people have.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from engine.checkpoints.checkpoint import open_checkpoint
from engine.checkpoints.find import Found, Part
from engine.checkpoints.load import load_dit, load_text_weights, load_vae
from engine.dit import DiT, DiTConfig
from engine.memory import UMT5_XXL_BYTES
from engine.previews.preview import Previewer, linear_preview
from engine.previews.taehv import taehv_preview
from engine.text import TextEncoder, build_umt5
from engine.vae import VAE, VAEConfig
from storage.schema import Expert, UserError

log = logging.getLogger("longtake.parts")

UMT5_TOKENS = 512  # slots of the 14 B experts

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Parts:
    """A model as it lies on the disk: its sizes, and how to read each part. `expert_files` says which experts are one
    network; weights of an expert come to a device, those of the text encoder to one when a text is encoded."""

    expert_files: Mapping[Expert, Path]
    sizes: DiTConfig
    vae_sizes: VAEConfig
    text_bytes: int
    load_expert: Callable[[Path, torch.device], DiT]
    load_vae: Callable[[], VAE]
    load_text: Callable[[], TextEncoder]
    trained: bool
    load_previewer: Callable[[], Previewer | None] = lambda: None  # None: of these latents nothing is known


def in_folder(folder: Path, device: torch.device, dtype: torch.dtype, embeddings: Path) -> Parts:
    """A model with a config.json. The VAE and texts go to `device`; embeddings: a folder that keeps them."""
    config = _config(folder)
    sizes = DiTConfig(**config["dit"])
    vae_config: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config["vae"].items()
    }

    def load_expert(file: Path, place: torch.device) -> DiT:
        return load_network(DiT, sizes, file).to_precision(dtype).to(place)

    def load_vae_here() -> VAE:
        vae = load_network(VAE, VAEConfig(**vae_config), folder / config["vae_file"])
        return vae.to(device, dtype).channels_last()

    return Parts(
        expert_files={Expert(name): folder / file for name, file in config["experts"].items()},
        sizes=sizes,
        vae_sizes=VAEConfig(**vae_config),
        text_bytes=sum(file.stat().st_size for file in (folder / config["text"]).glob("*.safetensors")),
        load_expert=load_expert,
        load_vae=load_vae_here,
        load_text=lambda: TextEncoder.in_folder(folder / config["text"], sizes.text_len, device, embeddings),
        trained=config["trained"],
    )


def as_found(found: Found, device: torch.device, dtype: torch.dtype, embeddings: Path) -> Parts:
    """The 14 B model from checkpoints of any format. The VAE and texts go to `device`."""
    weights = found.path(Part.TEXT_ENCODER)

    def load_umt5(place: torch.device) -> nn.Module:
        sizes = asdict(open_checkpoint(weights).config)
        return build_umt5(sizes, load_text_weights(weights, place), str(weights))

    sizes, vae_sizes = (open_checkpoint(found.path(part)).config for part in (Part.HIGH_NOISE, Part.VAE))
    assert isinstance(sizes, DiTConfig)
    assert isinstance(vae_sizes, VAEConfig)
    return Parts(
        sizes=sizes,
        vae_sizes=vae_sizes,
        text_bytes=UMT5_XXL_BYTES,
        expert_files={
            Expert.HIGH_NOISE: found.path(Part.HIGH_NOISE),
            Expert.LOW_NOISE: found.path(Part.LOW_NOISE),
        },
        load_expert=lambda file, place: load_dit(file, place, dtype),
        load_vae=lambda: load_vae(found.path(Part.VAE), device, dtype).channels_last(),
        load_text=lambda: TextEncoder(
            found.path(Part.TOKENIZER), [weights], load_umt5, UMT5_TOKENS, device, embeddings
        ),
        trained=True,
        load_previewer=lambda: wan_previewer(found, device, dtype),
    )


def wan_previewer(found: Found, device: torch.device, dtype: torch.dtype) -> Previewer:
    """What shows Wan's latents: TAEHV where its file lies among what was found and can be used, else a linear map."""
    piece = found.pieces.get(Part.PREVIEW)
    if piece is not None:
        try:
            return taehv_preview(piece.path, device, dtype)
        except Exception:  # whatever its file makes go wrong, films do not need it
            log.exception("previews are made without %s", piece.path)
    return linear_preview


def dit_sizes(folders: Mapping[str, Path]) -> dict[str, DiTConfig]:
    """Sizes of the experts in each of these folders that is whole."""
    whole = {name: folder for name, folder in folders.items() if state(folder) in ("", " (untrained)")}
    return {name: DiTConfig(**_config(folder)["dit"]) for name, folder in whole.items()}


def load_network(network: type[Network], config: DiTConfig | VAEConfig, file: Path) -> Network:
    """A network with the weights of one safetensors file, in float32: every tensor of both must match."""
    with torch.device("meta"):
        built = network(config)
    loaded = {name: weight.float() for name, weight in load_file(file).items()}
    built.load_state_dict(loaded, strict=True, assign=True)
    return built.eval().requires_grad_(False)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Whatever is wrong with a model's files is one sentence; too little memory is not their fault."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"The files of the model {name} cannot be read: {reason}.") from error


def state(folder: Path) -> str:
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
