"""One checkpoint: what it is, how large its network is, and its tensors one by one under their official names."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoints.files import Stored, Tensors, open_tensors
from engine.checkpoints.header import Header, Kind, recognise
from engine.checkpoints.names import native_names
from engine.checkpoints.quantised import Layers, as_float, dequantise, is_quantised, sort_tensors
from engine.checkpoints.sizes import Config, Shape, config_from, shapes_of
from engine.checkpoints.transfer import brought
from engine.text import EMBEDDING
from storage.schema import UserError

CPU = torch.device("cpu")
_SHOWN = 3  # names in a message
_EMBEDDING, _SECOND_EMBEDDING = EMBEDDING


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose header was read and fits its network tensor by tensor. Its data are still on the disk."""

    path: Path
    kind: Kind
    format: str  # for people, as "diffusers safetensors, bf16"
    quantised: bool  # some weights were rounded to fewer than 16 bits
    config: Config
    _names: Mapping[str, str]  # official name -> name in the file, in the file's order
    _layers: Layers
    _tensors: Tensors

    def tensors(self, device: torch.device = CPU) -> Iterator[tuple[str, Tensor]]:
        """Each official name and its tensor on `device`, in the file's float dtype; dequantised ones in float32.

        An unquantised tensor on the CPU is a view of the file's memory map: it costs no memory of its own.
        """
        reads = [partial(self._tensors.read, name) for name in self._names.values()]
        for (native, name), tensor in zip(self._names.items(), brought(reads, device), strict=True):
            scale = self._layers.scales.get(name)
            yield native, as_float(tensor) if scale is None else dequantise(tensor, self._tensors.read(scale))


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file or folder. UserError names what is missing, surplus or misshapen; no data are read.

    Foreign is the error for a file that holds something else altogether.
    """
    tensors = open_tensors(path)
    header = recognise(path.name, tensors.stored)
    layers = sort_tensors(path.name, tensors)
    names = _official_names(path.name, header, layers)
    shapes = {native: tensors.stored[name].shape for native, name in names.items()}
    config = config_from(header.kind, path.name, shapes, _config_beside(path))
    _check(path.name, names, shapes, shapes_of(config))
    weights = [tensors.stored[name] for name in layers.weights]
    return Checkpoint(
        path=path,
        kind=header.kind,
        format=f"{header.naming} {tensors.container}, {_precision(weights)}{' scaled' if layers.scales else ''}",
        quantised=any(is_quantised(weight) for weight in weights),
        config=config,
        _names=names,
        _layers=layers,
        _tensors=tensors,
    )


def _official_names(file: str, header: Header, layers: Layers) -> dict[str, str]:
    """The official name of each weight -> its name in the file."""
    inner = {name.removeprefix(header.prefix): name for name in layers.weights if name.startswith(header.prefix)}
    if outside := [name for name in layers.weights if not name.startswith(header.prefix)]:
        raise UserError(f"{file} has tensors that do not belong to it: {_listed(outside)}.")
    if _EMBEDDING in inner:
        inner.pop(_SECOND_EMBEDDING, None)
    elif _SECOND_EMBEDDING in inner:
        inner[_EMBEDDING] = inner.pop(_SECOND_EMBEDDING)
    official: dict[str, str] = {}
    for name, native in native_names(header.kind, header.naming, inner).items():
        if native in official:
            raise UserError(f"{file} has two tensors for {native}: {official[native]} and {inner[name]}.")
        official[native] = inner[name]
    return official


def _check(file: str, names: Mapping[str, str], shapes: Mapping[str, Shape], needed: Mapping[str, Shape]) -> None:
    """UserError unless both have the same tensors in the same shapes; what is there goes by its name in the file."""
    missing = [name for name in needed if name not in shapes]
    surplus = [names[name] for name in shapes if name not in needed]
    misshapen = [
        f"{names[name]} {list(shapes[name])} instead of {list(shape)}"
        for name, shape in needed.items()
        if shapes.get(name, shape) != shape
    ]
    faults = [
        f"{len(wrong)} {word}: {_listed(wrong)}"
        for word, wrong in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen))
        if wrong
    ]
    if faults:
        raise UserError(f"{file} does not fit its network: tensors {'; '.join(faults)}.")


def _config_beside(path: Path) -> dict[str, Any]:
    """config.json of the folder that holds nothing but this checkpoint; {} for a file."""
    config = path / "config.json"
    if not config.is_file():
        return {}
    try:
        settings = json.loads(config.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{config} is not JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise UserError(f"{config} is no object of settings.")
    return {name: value for name, value in settings.items() if isinstance(value, int | float) and value > 0}


def _precision(weights: list[Stored]) -> str:
    """The type of most of the numbers."""
    numbers: Counter[str] = Counter()
    for weight in weights:
        numbers[weight.dtype] += torch.Size(weight.shape).numel()
    return numbers.most_common(1)[0][0]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
