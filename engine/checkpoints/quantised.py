"""Weights of eight bits and the tensors that go with them. W = W8 * scale, in float32, whoever wrote the file.

<layer>.scale_weight, .weight_scale     one number, or one for each output channel: [], [1], [out] or [out, 1]
<layer>.comfy_quant                     a JSON text in bytes, {"format": "float8_e4m3fn", ...}; or all layers' texts in
                                        the header, under _quantization_metadata
<layer>.scale_input, .input_scale       for activations of eight bits, which this engine does not use
scaled_fp8                              a marker: the file's 8-bit weights have scales
spiece_model                            a tokenizer that ComfyUI keeps beside the text encoder's weights

Facts: ComfyUI, comfy/utils.py convert_old_quants; Kijai's WanVideoWrapper, nodes_model_loading.py; LightX2V,
tools/convert/converter.py. A file without any scale holds plain casts (Kijai's fp8_e4m3fn files).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.checkpoints.files import Stored, Tensors
from storage.schema import UserError

_SCALES = (".scale_weight", ".weight_scale")
_UNUSED = (".scale_input", ".input_scale")
_TEXT = ".comfy_quant"
_MARKER = "scaled_fp8"
_TOKENIZER = "spiece_model"
_METADATA = "_quantization_metadata"
_READABLE = ("float8_e4m3fn", "float8_e5m2", "int8_tensorwise")
_INDIFFERENT = {"format", "full_precision_matrix_mult"}  # the second is about how to multiply, not about the weight
_EIGHT_BITS = ("fp8_e4m3fn", "fp8_e5m2", "int8")
_FLOATS = ("fp64", "fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Layers:
    """The tensors of a file, sorted by what they are for."""

    weights: tuple[str, ...]
    scales: Mapping[str, str] = field(default_factory=dict)  # a weight -> its scale
    ignored: tuple[str, ...] = ()  # by name: what needs no place in the network


def sort_tensors(file: str, tensors: Tensors) -> Layers:
    """What each tensor is for; UserError where a weight cannot be dequantised or a scale has no weight."""
    stored = tensors.stored
    scales: dict[str, str] = {}
    ignored = [name for name in stored if _last(name) in (_MARKER, _TOKENIZER)]
    marked = any(_last(name) == _MARKER for name in ignored)
    for name in stored:
        ending = next((end for end in (*_SCALES, *_UNUSED, _TEXT) if name.endswith(end)), None)
        if ending is None:
            continue
        weight = name.removesuffix(ending) + ".weight"
        if weight not in stored:
            raise UserError(f"{file} has {name}, but no {weight} that it could belong to.")
        if ending in _SCALES:
            if weight in scales:
                raise UserError(f"{file} has two scales for {weight}.")
            _check_scale(file, name, stored[name], stored[weight])
            scales[weight] = name
        else:
            if ending == _TEXT:
                _check_text(file, weight, bytes(tensors.read(name).tolist()))
            ignored.append(name)
    _check_metadata(file, tensors.metadata)
    aside = {*ignored, *scales.values()}
    weights = tuple(name for name in stored if name not in aside)
    if tensors.container != "gguf":
        for name in weights:
            _check_dtype(file, name, stored[name], scaled=name in scales, all_scaled=marked or bool(scales))
    return Layers(weights, scales, tuple(ignored))


def dequantise(weight: Tensor, scale: Tensor) -> Tensor:
    """weight: [out, ...], scale: one number or [out] or [out, 1] -> [out, ...] float32"""
    numbers = scale.float().flatten()
    if numbers.numel() > 1:
        numbers = numbers.view(-1, *(1,) * (weight.ndim - 1))
    return weight.float() * numbers.to(weight.device)


def is_quantised(stored: Stored) -> bool:
    """Whether a tensor was rounded to fewer bits than the network was trained with."""
    return stored.dtype not in _FLOATS


def as_float(tensor: Tensor) -> Tensor:
    """The tensor itself, or an 8-bit one without a scale in float32."""
    return tensor if tensor.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16) else tensor.float()


def _check_scale(file: str, name: str, scale: Stored, weight: Stored) -> None:
    numbers = torch.Size(scale.shape).numel()
    rows = weight.shape[0] if weight.shape else 1
    if scale.dtype not in _FLOATS or (numbers != 1 and scale.shape not in ((rows,), (rows, 1))):
        raise UserError(
            f"{file}: {name} {list(scale.shape)} of {scale.dtype} is no scale for a weight of {list(weight.shape)}."
        )


def _check_text(file: str, weight: str, text: bytes | dict[str, object]) -> None:
    try:
        settings = json.loads(text) if isinstance(text, bytes) else text
    except ValueError as error:
        raise UserError(f"{file}: what it says about the quantisation of {weight} is not JSON.") from error
    beyond = sorted(key for key, value in settings.items() if value and key not in _INDIFFERENT)
    if settings.get("format") not in _READABLE or beyond:
        how = " with ".join([str(settings.get("format")), *beyond])
        raise UserError(f"{file}: {weight} is quantised as {how}, which cannot be read; take the fp16 or fp8 file.")


def _check_metadata(file: str, metadata: Mapping[str, str]) -> None:
    if _METADATA in metadata:
        for layer, settings in json.loads(metadata[_METADATA]).get("layers", {}).items():
            _check_text(file, f"{layer}.weight", settings)


def _check_dtype(file: str, name: str, weight: Stored, *, scaled: bool, all_scaled: bool) -> None:
    if weight.dtype in _FLOATS:
        return
    if weight.dtype not in _EIGHT_BITS:
        raise UserError(f"{file}: {name} is stored as {weight.dtype}, which cannot be read.")
    if not scaled and (all_scaled or weight.dtype == "int8"):
        raise UserError(f"{file}: the scale of {name} is missing.")


def _last(name: str) -> str:
    return name.rpartition(".")[2]
