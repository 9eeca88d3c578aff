"""A LoRA file -> the changes it makes to one network. Every key is applied, ignored by name, or the load fails."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.loras.keys import Part, is_of_image_branch, module_names, split_key
from engine.loras.lora import Change, Decomposed, Difference, Kronecker, Ledger, LoraWeights, LowRank
from storage.schema import UserError

SHOWN = 3  # keys in a message
MATRICES = {
    Part.DOWN, Part.UP, Part.LOKR_W1, Part.LOKR_W1_A, Part.LOKR_W1_B, Part.LOKR_W2, Part.LOKR_W2_A, Part.LOKR_W2_B,
}  # fmt: skip


def read_lora(path: Path, parameters: Mapping[str, Tensor]) -> LoraWeights:
    """The LoRA in a safetensors file, for the network that has `parameters`, of which only the shapes are read."""
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise UserError(f"The LoRA {path.name} cannot be read as a safetensors file: {error}.") from error
    return lora_from(path.name, tensors, parameters)


def lora_from(file: str, tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> LoraWeights:
    """The LoRA in `tensors`, which are kept as they are and never written to. UserError names what does not fit."""
    parts, ledger = sort_keys(file, tensors, parameters)
    if ledger.unknown:
        shown = ", ".join(ledger.unknown[:SHOWN]) + (", ..." if len(ledger.unknown) > SHOWN else "")
        raise UserError(f"The LoRA {file} has {len(ledger.unknown)} keys that this model does not know: {shown}.")
    changes: dict[str, tuple[Change, ...]] = {}
    for module, keys in parts.items():
        held = {part: tensors[key] for part, key in keys.items()}
        if odd := [keys[part] for part, tensor in held.items() if not _is_sound(part, tensor)]:
            raise UserError(
                f"The LoRA {file} holds {odd[0]} in a shape that none can have: {list(tensors[odd[0]].shape)}."
            )
        for parameter, change in _changes(module, held, parameters):
            if parameter not in parameters or not _fits(change, parameters[parameter]):
                shapes = ", ".join(f"{key} {list(tensors[key].shape)}" for key in keys.values())
                raise UserError(f"The LoRA {file} does not fit {_described(parameter, parameters)}: {shapes}.")
            changes[parameter] = (*changes.get(parameter, ()), change)
        if held:
            left = ", ".join(keys[part] for part in held)
            raise UserError(f"The LoRA {file} is not complete: {left} cannot be applied without its counterpart.")
    return LoraWeights(changes, ledger)


def sort_keys(
    file: str, tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> tuple[dict[str, dict[Part, str]], Ledger]:
    """The file's keys by native module and part, and what becomes of each key."""
    names = module_names(parameters)
    parts: dict[str, dict[Part, str]] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for key in tensors:
        found = split_key(key, names)
        if found is None:
            (ignored if is_of_image_branch(key) else unknown).append(key)
            continue
        twin = parts.setdefault(found[0], {}).setdefault(found[1], key)
        if twin != key:
            raise UserError(f"The LoRA {file} says the same thing twice, in {twin} and in {key}.")
    applied = tuple(key for keys in parts.values() for key in keys.values())
    return parts, Ledger(file, len(parts), applied, tuple(ignored), tuple(unknown))


def _is_sound(part: Part, tensor: Tensor) -> bool:
    """Whether a part has as many dimensions as it needs, and numbers at all."""
    if part is Part.ALPHA:
        return tensor.numel() == 1
    return tensor.numel() > 0 and tensor.ndim >= (2 if part in MATRICES else 1)


def _changes(module: str, parts: dict[Part, Tensor], parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, Change]]:
    """The changes that the parts of one module make up, by parameter. What is used is taken out of `parts`."""
    weight = module if module in parameters else f"{module}.weight"
    product = _low_rank(parts) or _kronecker(parts)
    if product is not None:
        if Part.UP_BIAS in parts:
            yield f"{module}.bias", Difference(parts.pop(Part.UP_BIAS), product.scale)
        yield weight, Decomposed(product, parts.pop(Part.MAGNITUDE)) if Part.MAGNITUDE in parts else product
    if Part.DIFF in parts:
        yield weight, Difference(parts.pop(Part.DIFF))
    if Part.DIFF_B in parts:
        yield f"{module}.bias", Difference(parts.pop(Part.DIFF_B))
    if Part.DIFF_M in parts:
        yield f"{module.removesuffix('.modulation')}.modulation", Difference(parts.pop(Part.DIFF_M))


def _low_rank(parts: dict[Part, Tensor]) -> LowRank | None:
    if Part.DOWN not in parts or Part.UP not in parts:
        return None
    down, up = parts.pop(Part.DOWN), parts.pop(Part.UP)
    return LowRank(down, up, _scale(parts, down.shape[0]))


def _kronecker(parts: dict[Part, Tensor]) -> Kronecker | None:
    """As in lycoris: without a factored matrix there is no rank, and then alpha says nothing."""
    first = _factors(parts, Part.LOKR_W1, Part.LOKR_W1_A, Part.LOKR_W1_B)
    second = _factors(parts, Part.LOKR_W2, Part.LOKR_W2_A, Part.LOKR_W2_B)
    if not first or not second:
        return None
    ranks = [factors[1].shape[0] for factors in (first, second) if len(factors) > 1]
    scale = _scale(parts, ranks[0]) if ranks else 1.0
    for part in (
        Part.LOKR_W1,
        Part.LOKR_W1_A,
        Part.LOKR_W1_B,
        Part.LOKR_W2,
        Part.LOKR_W2_A,
        Part.LOKR_W2_B,
        Part.ALPHA,
    ):
        parts.pop(part, None)
    return Kronecker(first, second, scale)


def _factors(parts: Mapping[Part, Tensor], whole: Part, left: Part, right: Part) -> tuple[Tensor, ...]:
    if whole in parts:
        return (parts[whole],)
    return (parts[left], parts[right]) if left in parts and right in parts else ()


def _scale(parts: dict[Part, Tensor], rank: int) -> float:
    alpha = parts.pop(Part.ALPHA, None)
    return 1.0 if alpha is None else alpha.item() / rank


def _fits(change: Change, weight: Tensor) -> bool:
    """Whether the change makes a delta of the weight's shape, tried out without data."""
    try:
        return change.delta(torch.empty_like(weight, device="meta")).shape == weight.shape
    except (RuntimeError, IndexError):
        return False


def _described(parameter: str, parameters: Mapping[str, Tensor]) -> str:
    if parameter not in parameters:
        return f"this model, which has no {parameter}"
    return f"{parameter} {list(parameters[parameter].shape)}"
