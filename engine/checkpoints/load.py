"""Networks with the weights of a checkpoint. Tensors come one by one, so that no network is ever held twice."""

from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoints.checkpoint import CPU, Checkpoint, open_checkpoint
from engine.checkpoints.header import Kind
from engine.checkpoints.sizes import check_reads_pictures
from engine.dit import DiT, DiTConfig
from engine.text import from_official
from engine.vae import VAE, VAEConfig
from storage.schema import UserError

_ROLES = {Kind.DIT: "a transformer of Wan", Kind.VAE: "a VAE of Wan", Kind.T5: "a UMT5 text encoder"}


def load_dit(path: Path, device: torch.device = CPU, dtype: torch.dtype = torch.bfloat16) -> DiT:
    """One expert: its blocks' and text embedding's matrices in `dtype`, the rest in float32 (DiT.to_precision)."""
    checkpoint = _open(path, Kind.DIT)
    config = checkpoint.config
    assert isinstance(config, DiTConfig)
    check_reads_pictures(path.name, config)
    with torch.device("meta"):
        network = DiT(config).to_precision(dtype)
    _fill(network, checkpoint, device)
    return network


def load_vae(path: Path, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> VAE:
    """The VAE, all of it in `dtype`."""
    checkpoint = _open(path, Kind.VAE)
    assert isinstance(checkpoint.config, VAEConfig)
    with torch.device("meta"):
        network = VAE(checkpoint.config).to(dtype)
    _fill(network, checkpoint, device)
    return network


def load_text_weights(path: Path, device: torch.device = CPU, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """The text encoder's tensors under transformers' names, all in `dtype`; its sizes are the checkpoint's config."""
    checkpoint = _open(path, Kind.T5)
    return from_official({name: tensor.to(dtype) for name, tensor in checkpoint.tensors(device)})


def _open(path: Path, kind: Kind) -> Checkpoint:
    checkpoint = open_checkpoint(path)
    if checkpoint.kind is not kind:
        raise UserError(f"{path.name} is {_ROLES[checkpoint.kind]}, not {_ROLES[kind]}.")
    return checkpoint


def _fill(network: nn.Module, checkpoint: Checkpoint, device: torch.device) -> None:
    """Put every tensor in its place, in the dtype that the place has."""
    dtypes = {name: parameter.dtype for name, parameter in network.named_parameters()}
    weights = {name: tensor.to(dtypes[name]) for name, tensor in checkpoint.tensors(device)}
    network.load_state_dict(weights, strict=True, assign=True)
    network.eval().requires_grad_(False)
