"""What the benchmarks share: networks with random weights, and where and when something ran."""

import math
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout that is not installed will do

from storage.schema import Size  # noqa: E402

Network = TypeVar("Network", bound=nn.Module)


def randomised(network: Network, device: torch.device, seed: int = 0) -> Network:
    """A network on the meta device, made real with weights of a trained network's order of size."""
    network = network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        fan_in = math.prod(weight.shape[1:]) if weight.ndim > 1 else 1
        weight.data.normal_(0, 0.02 if weight.ndim == 1 else fan_in**-0.5, generator=generator)
        if (weight.ndim == 1 and "norm" in name and name.endswith("weight")) or name.endswith("gamma"):
            weight.data.add_(1)
    return network


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def commit() -> str:
    run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def wait() -> None:
    """Until the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def size_of(text: str) -> Size:
    """A size as it is typed: 256x144."""
    width, _, height = text.partition("x")
    return Size(width=int(width), height=int(height))
