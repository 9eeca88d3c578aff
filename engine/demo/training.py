"""What both trainings share: clock, devices, films in the background, averages of weights, pictures of results."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from einops import rearrange
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from engine.demo.captions import Encoder, Places, Wording
from engine.demo.clips import Projector, load_photos, load_stamps
from engine.demo.film import Director, Film, stack


class Clock:
    """Knows how far the training is."""

    def __init__(self, minutes: float) -> None:
        self.start = time.monotonic()
        self.seconds = minutes * 60

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the time is over."""
        return min(1.0, self.elapsed / self.seconds)


class Crew:
    """The processes that train together, one a GPU; a single one on a CPU. Start them with torchrun."""

    def __init__(self) -> None:
        self.gpu = torch.cuda.is_available()
        self.together = dist.is_torchelastic_launched()
        if self.together:
            dist.init_process_group("nccl" if self.gpu else "gloo")
        self.rank = dist.get_rank() if self.together else 0
        self.size = dist.get_world_size() if self.together else 1
        self.device = torch.device("cuda", self.rank) if self.gpu else torch.device("cpu")
        if self.gpu:
            torch.cuda.set_device(self.device)
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True

    def share_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Average the gradients of all processes; what is not finite counts as nothing."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat, op=dist.ReduceOp.AVG if self.gpu else dist.ReduceOp.SUM)
        flat.nan_to_num_(0.0, 0.0, 0.0)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def agree(self, *values: float) -> list[float]:
        """The first process's values, so that all do the same thing at the same step."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, device=self.device, dtype=torch.float64)
        dist.broadcast(shared, 0)
        numbers: list[float] = shared.tolist()
        return numbers

    def say(self, text: str) -> None:
        """Print a line, once."""
        if self.rank == 0:
            print(text, flush=True)  # noqa: T201  (a training's log is its output)

    def autocast(self) -> torch.autocast:
        """bfloat16 on a GPU, float32 on a CPU."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.gpu)


class Films(IterableDataset[Film]):
    """Batches of films without end; each worker makes its own."""

    def __init__(self, wording: Wording, batch: int, seed: int) -> None:
        self.wording, self.batch, self.seed = wording, batch, seed

    def __iter__(self) -> Iterator[Film]:
        info = get_worker_info()
        director = Director(self.wording, self.seed * 1000 + (info.id if info else 0))
        torch.set_num_threads(1)
        while True:
            yield stack([director.film() for _ in range(self.batch)])


def films(
    data: Path, encode: Encoder, batch: int, seed: int, workers: int, places: Places | None = None
) -> Iterator[Film]:
    """Batches of films, made by `workers` processes; with `places` their captions' times can be held."""
    words = (data / "words.txt").read_text(encoding="utf-8").split()
    return iter(
        DataLoader(
            Films(Wording(words, encode, places), batch, seed),
            batch_size=None,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )
    )


def projector(data: Path, kind: str, device: torch.device) -> Projector:
    """Draws with the photographs of `kind`: photos, with stamps on them, or validation."""
    sprites = torch.from_numpy(np.load(data / "sprites.npz")["sprites"])
    stamps = load_stamps(data / "stamps", device) if kind == "photos" else ()
    return Projector(load_photos(data / kind, device), sprites, device, stamps)


def no_tokens(text: str) -> list[int]:  # noqa: ARG001
    """An encoder for those who do not read."""
    return [0]


class Average:
    """An exponential moving average of weights, in float32."""

    def __init__(self, module: nn.Module) -> None:
        self.weights = {name: value.detach().clone().float() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, decay: float) -> None:
        """Move toward the module's weights."""
        values = module.state_dict()
        torch._foreach_lerp_(list(self.weights.values()), [values[name].float() for name in self.weights], 1 - decay)


def warm_then_fall(progress: float, step: int, warm_steps: int, end: float = 0.02) -> float:
    """Share of the learning rate: up in `warm_steps`, flat for half of the time, then down to `end` along a cosine."""
    fall = 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.5) / 0.5)))
    return min(1.0, (step + 1) / warm_steps) * (end + (1 - end) * fall)


def sheet(rows: list[Tensor], path: Path, scale: float = 0.5) -> None:
    """Write a contact sheet. rows: of frames, [n, 3, H, W] in [-1, 1]"""
    image = torch.cat([rearrange(row.float().cpu().clamp(-1, 1), "n c h w -> c h (n w)") for row in rows], dim=1)
    picture = Image.fromarray(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR)
    picture.save(path)


def psnr(ours: Tensor, theirs: Tensor) -> Tensor:
    """Of each frame, in dB. [B, 3, F, H, W] in [-1, 1] -> [B, F]"""
    error = (ours.float().clamp(-1, 1) - theirs.float()).square().mean(dim=(1, 3, 4)) / 4
    return -10 * torch.log10(error.clamp_min(1e-10))
