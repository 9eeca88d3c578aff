"""Networks larger than a GPU's memory: the weights of their blocks stay in the host's and take turns on the GPU.

A pool has slots, each as large as a block. As many blocks as fit have a slot of their own, and lose it only to the same
block of another network; the others take turns in a ring of few. While a block computes, a second stream of the GPU
copies the next ones: their weights are there when they are needed, wherever a copy takes less time than what is
computed meanwhile, and the first forward after a change of experts is no exception. Nothing is allocated on the way.

Only the weights of matrix products travel, as they are, so results are those of a network that stays, bit for bit.
Norms, biases and what is outside of the blocks stay on the GPU. On a CPU the same code copies within its memory.
"""

import mmap
import weakref
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.products import Fp8Linear
from storage.disk import GIB
from storage.schema import UserError

RING = 3  # slots: for the block that computes and for two that come
ALIGNMENT = 256  # bytes, at which a weight begins in its slot
PACKING_THREADS = 4  # one alone fills new memory at about 3 GB/s


class Travelling(NamedTuple):
    """The weight of one matrix product: where it stays, and where it begins in a slot, in bytes."""

    product: nn.Module
    host: nn.Parameter
    start: int


class HostBlock:
    """A block whose products' weights are in host memory. Outside of its turn the module has them there, too.

    `fetched` names products that a forward does not use: each brings its weight when it is called. `pinned`: weights
    are packed into memory that a GPU can copy by itself; otherwise they stay where they are, maybe in a file.
    """

    def __init__(self, block: nn.Module, device: torch.device, fetched: Collection[str] = (), *, pinned: bool) -> None:
        self.block = block
        products = {name: part for name, part in block.named_modules() if isinstance(part, nn.Linear | Fp8Linear)}
        weights = {name: part.get_parameter("weight") for name, part in products.items()}
        hosts = self._packed(weights, device) if pinned else {name: weight.cpu() for name, weight in weights.items()}
        self.parameters = {name: nn.Parameter(host, requires_grad=False) for name, host in hosts.items()}
        for name, part in products.items():
            part.register_parameter("weight", self.parameters[name])
        named = [name for name in products if name not in fetched]
        starts = list(accumulate((_aligned(hosts[name].nbytes) for name in named), initial=0))
        self.travelling = [
            Travelling(products[name], self.parameters[name], start)
            for name, start in zip(named, starts[:-1], strict=True)
        ]
        self.nbytes = starts[-1]
        for name in fetched:
            _fetch_when_called(products[name], self.parameters[name], device)

    def copy_to(self, slot: Tensor) -> None:
        """Bring the weights to a slot: [bytes] uint8; on a GPU the current stream does it, and this does not wait."""
        for part in self.travelling:
            _view(slot, part).copy_(part.host, non_blocking=True)

    def begin(self, slot: Tensor) -> None:
        """From now on the block computes with the weights in a slot."""
        with torch.inference_mode(mode=False):
            for part in self.travelling:
                part.product.register_parameter("weight", nn.Parameter(_view(slot, part), requires_grad=False))

    def end(self) -> None:
        """The slot may be taken by another block."""
        for part in self.travelling:
            part.product.register_parameter("weight", part.host)

    def _packed(self, weights: dict[str, nn.Parameter], device: torch.device) -> dict[str, Tensor]:
        """The weights side by side in pinned memory of this block's own."""
        starts = list(accumulate((_aligned(weight.nbytes) for weight in weights.values()), initial=0))
        memory = host_memory(starts[-1], device)
        if device.type == "cuda":  # the memory itself is an argument: it goes after it was released, not before
            weakref.finalize(self, _release, memory, device).atexit = False
        packed = {}
        for (name, weight), start in zip(weights.items(), starts[:-1], strict=True):
            packed[name] = memory[start : start + weight.nbytes].view(weight.dtype).view(weight.shape)
            packed[name].copy_(weight.detach())
        return packed


@dataclass(eq=False)
class Slot:
    """A piece of the device's memory that holds the weights of one block at a time."""

    memory: Tensor  # [bytes] uint8
    holds: HostBlock | None = None
    filled: torch.cuda.Event | None = None  # on a GPU: the weights are there
    left: torch.cuda.Event | None = None  # on a GPU: the block that computed with them has ended


@dataclass
class Pool:
    """The slots of a device. Networks whose forwards do not overlap in time share them."""

    device: torch.device
    pinned: bool = True
    _networks: list[tuple[HostBlock, ...]] = field(default_factory=list)
    _own: dict[int, Slot] = field(default_factory=dict)  # by the number of the block in its network
    _ring: list[Slot] = field(default_factory=list)
    _copies: torch.cuda.Stream | None = None

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            self._copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def add(
        self, network: nn.Module, blocks: Sequence[nn.Module], fetched: Collection[str] = (), left: Collection[str] = ()
    ) -> None:
        """Let the blocks of `network` take turns here, called as modules in their order, some of them left out or not.

        fetched: products of a block that its forward does not use; left: parameters that stay in host memory. All the
        rest goes to the device. Afterwards `resize` must be called.
        """
        with torch.inference_mode(mode=False):
            self._networks.append(self._hosted(network, blocks, fetched, left))

    def _hosted(
        self, network: nn.Module, blocks: Sequence[nn.Module], fetched: Collection[str], left: Collection[str]
    ) -> tuple[HostBlock, ...]:
        with ThreadPoolExecutor(PACKING_THREADS) as threads:
            host = partial(HostBlock, device=self.device, fetched=fetched, pinned=self.pinned)
            hosted = tuple(threads.map(host, blocks))
        staying = {id(parameter) for block in hosted for parameter in block.parameters.values()}
        staying |= {id(network.get_parameter(name)) for name in left}
        for tensor in chain(network.parameters(), network.buffers()):
            if id(tensor) not in staying:
                tensor.data = tensor.data.to(self.device)
        for number, block in enumerate(hosted):
            block.block.register_forward_pre_hook(partial(self._begin, hosted, number))
            block.block.register_forward_hook(partial(self._end, block), always_call=True)
        return hosted

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes that each block needs in a slot, the largest of all networks."""
        return tuple(max(block.nbytes for block in blocks) for blocks in zip(*self._networks, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of all slots."""
        return sum(slot.memory.nbytes for slot in (*self._own.values(), *self._ring))

    @property
    def resident(self) -> tuple[int, ...]:
        """Numbers of the blocks with a slot of their own."""
        return tuple(self._own)

    def resize(self, budget: int) -> bool:
        """Have slots of `budget` bytes at most, but never fewer than a ring. -> whether they are others than before"""
        sizes = self.sizes
        resident = resident_blocks(sizes, budget)
        ring = [size for number, size in enumerate(sizes) if number not in resident]
        if self.resident == resident and len(self._ring) == min(RING, len(ring)):
            return False
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # nobody computes with the old ones, or copies to them
        self._own.clear()
        self._ring.clear()
        self._own.update({number: self._slot(sizes[number]) for number in resident})
        self._ring.extend(self._slot(max(ring)) for _ in range(min(RING, len(ring))))
        return True

    def copy_ring(self) -> int:
        """Copy what a forward of the first network copies to the ring, with nothing beside it. -> bytes"""
        travelling = [block for number, block in enumerate(self._networks[0]) if number not in self._own]
        for number, block in enumerate(travelling):
            self._fill(self._ring[number % len(self._ring)], block)
        return sum(block.nbytes for block in travelling)

    def _slot(self, size: int) -> Slot:
        with torch.inference_mode(mode=False):
            memory = torch.empty(size, dtype=torch.uint8, device=self.device)
        if self._copies is None:
            return Slot(memory)
        memory.record_stream(self._copies)  # a copy may be under way when it is given back
        filled, left = torch.cuda.Event(), torch.cuda.Event()  # type: ignore[no-untyped-call]
        return Slot(memory, filled=filled, left=left)

    def _begin(self, network: Sequence[HostBlock], number: int, *_: object) -> None:
        """Before a block computes: it is in its slot, and what comes next is on its way."""
        soon = list(self._soon(network, number))
        for place, block in soon:
            slot = self._slot_of(place, block, soon)
            if slot.holds is not block:
                self._fill(slot, block)
            if block is network[number]:
                if slot.filled is not None:
                    torch.cuda.current_stream(self.device).wait_event(slot.filled)
                block.begin(slot.memory)

    def _end(self, block: HostBlock, *_: object) -> None:
        """After a block has computed, or has failed to."""
        for slot in (*self._own.values(), *self._ring):
            if slot.holds is block and slot.left is not None:
                slot.left.record(torch.cuda.current_stream(self.device))
        block.end()

    def _soon(self, network: Sequence[HostBlock], number: int) -> Iterator[tuple[int, HostBlock]]:
        """A block and those that come next, round to the first ones, until they fill the ring."""
        travelling = 0
        for step in range(len(network)):
            place = (number + step) % len(network)
            travelling += place not in self._own
            if travelling > len(self._ring) or (not self._ring and step >= RING):
                return
            yield place, network[place]

    def _slot_of(self, place: int, block: HostBlock, soon: Sequence[tuple[int, HostBlock]]) -> Slot:
        """Where a block is or may go: into its own slot, or one of the ring that holds nothing that is needed soon."""
        if place in self._own:
            return self._own[place]
        needed = [block for _, block in soon]
        holding = [slot for slot in self._ring if slot.holds is block]
        return (holding or [slot for slot in self._ring if slot.holds not in needed])[0]

    def _fill(self, slot: Slot, block: HostBlock) -> None:
        slot.holds = block
        if self._copies is None or slot.left is None or slot.filled is None:
            block.copy_to(slot.memory)
            return
        self._copies.wait_event(slot.left)
        with torch.cuda.stream(self._copies):
            block.copy_to(slot.memory)
        slot.filled.record(self._copies)


def resident_blocks(sizes: Sequence[int], budget: int) -> tuple[int, ...]:
    """Which blocks have a slot of their own when slots have `budget` bytes: as many as leave room for a ring.

    Blocks that are larger than others come first, so that the ring's slots are small; those that take turns are spread
    evenly, so that each has as much to hide behind.

    >>> resident_blocks([10] * 8, 70)
    (0, 2, 4, 6)
    """
    smallest = min(sizes)
    large = [number for number, size in enumerate(sizes) if size > smallest]
    for count in range(len(sizes), 0, -1):
        kept = large if count >= len(large) else []
        others = [number for number in range(len(sizes)) if number not in kept]
        travelling = {others[number] for number in evenly(len(sizes) - count, len(others))}
        resident = tuple(number for number in range(len(sizes)) if number not in travelling)
        ring = min(RING, len(travelling)) * max((sizes[number] for number in travelling), default=0)
        if sum(sizes[number] for number in resident) + ring <= budget:
            return resident
    return ()


def evenly(count: int, places: int) -> list[int]:
    """`count` of so many places, each in the middle of its share.

    >>> evenly(4, 8)
    [1, 3, 5, 7]
    """
    return [(2 * number + 1) * places // (2 * count) for number in range(count)]


def host_memory(size: int, device: torch.device) -> Tensor:
    """New memory of the host, [size] uint8; for a GPU it is pinned, so that copies run beside what is computed.

    NOTE: torch's own pinned memory comes in powers of two, in which a block of 0.7 GB would take one of 1.1 GB.
    """
    if device.type != "cuda":
        return torch.empty(size, dtype=torch.uint8)
    pages = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # sooner filled and sooner pinned
    memory = torch.frombuffer(pages, dtype=torch.uint8)
    with torch.cuda.device(device):  # a thread's own is the first GPU's, on which others compute
        refused = int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), size, 0))  # type: ignore[no-untyped-call]
    if refused:
        raise UserError(
            "This machine has too little memory to keep the model outside of the GPU: "
            f"{size / GIB:.1f} GiB more could not be pinned."
        )
    return memory


def _release(memory: Tensor, device: torch.device) -> None:
    torch.cuda.synchronize(device)  # a copy may be under way
    with torch.cuda.device(device):
        torch.cuda.cudart().cudaHostUnregister(memory.data_ptr())  # type: ignore[no-untyped-call]


def _fetch_when_called(product: nn.Module, host: nn.Parameter, device: torch.device) -> None:
    """Have the product's weight on the device for as long as each call takes."""

    def begin(*_: object) -> None:
        with torch.inference_mode(mode=False):
            weight = nn.Parameter(host.to(device, non_blocking=True), requires_grad=False)
        product.register_parameter("weight", weight)

    def end(*_: object) -> None:
        product.register_parameter("weight", host)

    product.register_forward_pre_hook(begin)
    product.register_forward_hook(end, always_call=True)


def _view(slot: Tensor, part: Travelling) -> Tensor:
    return slot[part.start : part.start + part.host.nbytes].view(part.host.dtype).view(part.host.shape)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
