"""Named tensors on a disk: safetensors files, torch's .pth files and GGUF files, told apart by their first bytes.

Opening reads the header alone; data stay on the disk, memory-mapped, until a tensor is read.
"""

import json
import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gguf
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from storage.schema import UserError

_SAFETENSORS_DTYPES = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8_e4m3fn", "F8_E5M2": "fp8_e5m2",
    "I8": "int8", "U8": "uint8",
}  # fmt: skip
_TORCH_DTYPES = {
    torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8_e4m3fn", torch.float8_e5m2: "fp8_e5m2", torch.int8: "int8", torch.uint8: "uint8",
}  # fmt: skip
_GGUF_DTYPES = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16"}
_ZIP = b"PK\x03\x04"  # what torch.save writes
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9"  # what it wrote before torch 1.6: a pickled magic number
# What torch's unpickler and gguf's reader raise over broken files: they trust what they read.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, struct.error,
)  # fmt: skip
_SUFFIXES = (".safetensors", ".gguf", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Stored:
    """What a header says of one tensor. dtype: fp32, bf16, fp8_e4m3fn, int8 ..., or a GGUF type like Q4_K."""

    shape: tuple[int, ...]
    dtype: str


class Tensors(Protocol):
    """The tensors of one checkpoint, in the order in which they lie on the disk."""

    container: str
    stored: Mapping[str, Stored]
    metadata: Mapping[str, str]

    def read(self, name: str) -> Tensor:
        """One tensor as it is stored, from the memory map where possible; GGUF's quantised ones come as float32."""
        ...


def open_tensors(path: Path) -> Tensors:
    """The tensors of a file, of a folder with an index of shards, or of a folder with one file."""
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise UserError(f"There is no {path}.")
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"GGUF"):
        return GGUFFile(path)
    if start.startswith((_ZIP, _OLD_TORCH)):
        return TorchFile(path, mapped=start.startswith(_ZIP))
    if len(start) == 9 and start.endswith(b"{"):  # eight bytes of length, then JSON
        return SafetensorsFiles([path])
    raise UserError(f"{path.name} is not a checkpoint: it is neither a safetensors nor a GGUF nor a .pth file.")


class SafetensorsFiles:
    """One safetensors file, or the shards of one checkpoint."""

    def __init__(self, paths: list[Path]) -> None:
        self.container = "safetensors"
        stored: dict[str, Stored] = {}
        metadata: dict[str, str] = {}
        self._files: dict[str, Any] = {}  # safetensors gives its files no types
        for path in paths:
            try:
                file: Any = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise _unreadable(path, error) from error
            metadata |= file.metadata() or {}
            for name in file.offset_keys():
                if name in stored:
                    raise UserError(f"{path.name} holds {name}, which another shard holds too.")
                entry = file.get_slice(name)
                code = entry.get_dtype()
                stored[name] = Stored(tuple(entry.get_shape()), _SAFETENSORS_DTYPES.get(code, code))
                self._files[name] = file
        self.stored: Mapping[str, Stored] = stored
        self.metadata: Mapping[str, str] = metadata

    def read(self, name: str) -> Tensor:
        """One tensor as it is stored."""
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor


class TorchFile:
    """A .pth file with a plain dictionary of tensors. Nothing in it is executed."""

    def __init__(self, path: Path, *, mapped: bool) -> None:
        self.container = "pth"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of the protocol: it is read all the same, or fails
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError as error:
            raise UserError(f"{path.name} is refused: it holds more than tensors, or was cut short.") from error
        except DAMAGE as error:
            raise _unreadable(path, error) from error
        if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
            raise UserError(f"{path.name} is not a checkpoint: it holds no plain dictionary of tensors.")
        self._tensors: dict[str, Tensor] = content
        self.stored: Mapping[str, Stored] = {
            name: Stored(tuple(tensor.shape), _TORCH_DTYPES.get(tensor.dtype, str(tensor.dtype)))
            for name, tensor in content.items()
        }
        self.metadata: Mapping[str, str] = {}

    def read(self, name: str) -> Tensor:
        """One tensor as it is stored."""
        return self._tensors[name]


class GGUFFile:
    """A GGUF file, read with the gguf package. It lists sizes innermost first; here they come outermost first."""

    def __init__(self, path: Path) -> None:
        self.container = "gguf"
        self._name = path.name
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of sizes that wrap around, which then do not fit
                reader = gguf.GGUFReader(path, "c")  # copy on write: torch wants memory that it may write to
        except DAMAGE as error:
            raise _unreadable(path, error) from error
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.stored: Mapping[str, Stored] = {
            name: Stored(
                tuple(int(size) for size in reversed(tensor.shape)),
                _GGUF_DTYPES.get(tensor.tensor_type.name, tensor.tensor_type.name),
            )
            for name, tensor in self._tensors.items()
        }
        self.metadata: Mapping[str, str] = {}

    def read(self, name: str) -> Tensor:
        """One tensor in float32; an unquantised half-precision one is exact in it too."""
        tensor = self._tensors[name]
        try:
            return torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type))
        except NotImplementedError as error:
            raise UserError(
                f"{self._name}: {name} is quantised as {tensor.tensor_type.name}, which cannot be read."
            ) from error


def _open_folder(folder: Path) -> Tensors:
    indexes = sorted(folder.glob("*.index.json"))
    if len(indexes) == 1:
        return _open_shards(indexes[0])
    files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if indexes or len(files) != 1:
        names = ", ".join(path.name for path in (*indexes, *files)) or "no checkpoint"
        raise UserError(f"The folder {folder} must hold one checkpoint, but holds {names}.")
    return open_tensors(files[0])


def _open_shards(index: Path) -> Tensors:
    try:
        shards: dict[str, str] = json.loads(index.read_text())["weight_map"]
        if not all(isinstance(name, str) and name and Path(name).name == name for name in shards.values()):
            raise ValueError("a shard lies beside its index")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index.name} does not say which shard holds which tensor.") from error
    paths = [index.parent / name for name in dict.fromkeys(shards.values())]
    if lost := [path.name for path in paths if not path.is_file()]:
        raise UserError(f"The folder {index.parent} lacks the shard {', '.join(lost)}.")
    tensors = SafetensorsFiles(paths)
    if odd := sorted(shards.keys() ^ tensors.stored.keys()):
        raise UserError(f"{index.name} and the shards disagree about {odd[0]} and {len(odd) - 1} other tensors.")
    return tensors


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return UserError(f"{path.name} cannot be read, it may have been cut short: {reason}.")
