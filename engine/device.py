"""Where networks run and how precisely."""

import os

import torch
from torch.distributed import is_nccl_available

from engine.settings import EngineSettings
from storage.schema import UserError


def choose_device(settings: EngineSettings) -> torch.device:
    """The device that the settings name; "auto" is the first GPU, or the CPU without one."""
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(settings.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"There is no GPU {settings.device} here: torch {torch.__version__} sees {torch.cuda.device_count()}."
        )
    return device


def other_devices(settings: EngineSettings, device: torch.device) -> list[torch.device]:
    """The devices that film along with `device`: the GPUs behind it, or on a CPU as many more processes."""
    others = settings.gpus - 1
    if device.type != "cuda":
        most = max(2, os.cpu_count() or 1)
        if settings.gpus > most:
            raise UserError(f"LONGTAKE_GPUS is {settings.gpus}, but this machine films on its CPU: {most} at most.")
        return [device] * others
    if others and not is_nccl_available():
        raise UserError(f"LONGTAKE_GPUS is {settings.gpus}, but torch {torch.__version__} has no NCCL here.")
    first = 1 + (torch.cuda.current_device() if device.index is None else device.index)
    count = torch.cuda.device_count()
    if first + others > count:
        raise UserError(
            f"LONGTAKE_GPUS is {settings.gpus}, but there are {count - first + 1} GPUs from {settings.device} on."
        )
    return [torch.device("cuda", index) for index in range(first, first + others)]


def choose_dtype(settings: EngineSettings, device: torch.device) -> torch.dtype:
    """The dtype of matrix products; "auto" is bfloat16 on a GPU and on processors that multiply it, else float32.

    What becomes fp8 later (ModelShelf) is bfloat16 first.
    """
    if settings.precision.startswith("fp8") and not _multiplies_fp8(device):
        raise UserError(f"The precision {settings.precision} needs a GPU of compute capability 8.9; this is {device}.")
    if settings.precision != "auto":
        return torch.float32 if settings.precision == "float32" else torch.bfloat16
    fast = device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32


def _multiplies_fp8(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)
