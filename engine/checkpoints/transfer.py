"""Tensors from a disk to a GPU, as fast as the disk or its cache gives them.

A memory-mapped tensor that is copied straight to a GPU comes page by page through one thread. Here a few threads read
ahead into pinned memory, from where the GPU fetches it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import local

import torch
from torch import Tensor

THREADS = 4
AHEAD = 6  # tensors that may be under way or wait: up to 0.3 GB of the GPU each
PIECE = 2**26  # bytes that a thread brings at a time

Read = Callable[[], Tensor]


def brought(reads: Iterable[Read], device: torch.device) -> Iterator[Tensor]:
    """What each of `reads` gives, in order and on `device`. On the CPU that is the tensor itself."""
    if device.type == "cpu":
        return (read() for read in reads)
    return ahead(reads, Stage(device))


def ahead(reads: Iterable[Read], then: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """What `then` makes of what each of `reads` gives, in order; some threads are a few of them ahead."""
    with ThreadPoolExecutor(THREADS) as threads:
        waiting = (lambda read=read: then(read()) for read in reads)
        under_way: deque[Future[Tensor]] = deque(threads.submit(task) for task in islice(waiting, AHEAD))
        try:
            while under_way:
                yield under_way.popleft().result()
                under_way.extend(threads.submit(task) for task in islice(waiting, 1))
        finally:
            threads.shutdown(cancel_futures=True)


class Stage:
    """Brings tensors to a GPU through pinned memory, of which each thread has a piece of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own = local()

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor on the device, where it has arrived."""
        there = torch.empty_like(tensor, device=self._device, memory_format=torch.contiguous_format)
        source, target = (each.contiguous().view(-1).view(torch.uint8) for each in (tensor, there))
        for part, place in zip(torch.split(source, PIECE), torch.split(target, PIECE), strict=True):
            staged = self._memory()[: part.numel()].copy_(part)
            place.copy_(staged)  # waits, so that the memory may be used again
        return there

    def _memory(self) -> Tensor:
        memory: Tensor | None = getattr(self._own, "memory", None)
        if memory is None:
            pinned = self._device.type == "cuda"
            memory = self._own.memory = torch.empty(PIECE, dtype=torch.uint8, pin_memory=pinned)
        return memory
