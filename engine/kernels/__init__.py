"""What is fused by hand, each kernel beside a plain-torch twin that computes the same.

The twin runs on CPUs, under autograd and where Triton is not installed; `plainly()` asks for it anywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plainly() -> Iterator[None]:
    """Within, every kernel's twin runs in its place."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def fused(*tensors: Tensor) -> bool:
    """Whether the Triton kernels can take these tensors."""
    if torch.compiler.is_compiling() or _PLAIN.get() or not _installed():
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return all(tensor.is_cuda for tensor in tensors) or _interpreted()


def keep_compiled(folder: Path) -> None:
    """Have compiled kernels kept in `folder`, so that no later process compiles them again."""
    if _installed():
        import triton

        triton.knobs.cache.dir = str(folder)


@lru_cache(maxsize=8)
def hopper(device: torch.device) -> bool:
    """Whether this is an H100, an H200 or one of their kind."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9


@lru_cache(maxsize=1)
def _installed() -> bool:
    return find_spec("triton") is not None


@lru_cache(maxsize=1)
def _interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, as it does for tests with TRITON_INTERPRET=1."""
    import triton

    return bool(triton.knobs.runtime.interpret)
