"""LoRAs: small files that change a network's weights, and what became of each of their keys.

A change is merged into the weights once (`merge`), or runs beside the network (`Branches`) where its strength varies
from step to step. Both do the same: W + the sum over all LoRAs of strength * delta, with W the network's own weight.

# in, out: width of what a module reads and writes; rank: width of a low-rank change. A weight is [out, in] in a Linear,
# [out, in, kt, kh, kw] in a convolution, [out] in a norm; modulation is [1, n, out]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHORTEST = 1e-12  # length of a row that may be divided by

# ---- changes: each gives the delta of one parameter at strength 1, in float32 and in the parameter's shape ----------


@dataclass(frozen=True)
class LowRank:
    """up @ down, times alpha / rank."""

    down: Tensor  # [rank, in], or [rank, in, kt, kh, kw]
    up: Tensor  # [out, rank], or [out, rank, 1, 1, 1]
    scale: float

    def delta(self, weight: Tensor) -> Tensor:
        """What is added to `weight`, which is not touched."""
        product = _near(weight, self.up).flatten(1) @ _near(weight, self.down).flatten(1)
        return self.scale * product.view(product.shape[0], *weight.shape[1:])


@dataclass(frozen=True)
class Kronecker:
    """LoKr: the Kronecker product of two matrices, times alpha / rank."""

    first: tuple[Tensor, ...]  # a matrix, or two whose product it is
    second: tuple[Tensor, ...]
    scale: float

    def delta(self, weight: Tensor) -> Tensor:
        """What is added to `weight`, which is not touched."""
        first, second = (
            reduce(torch.matmul, (_near(weight, factor).flatten(1) for factor in factors))
            for factors in (self.first, self.second)
        )
        product = torch.kron(first, second)
        return self.scale * product.view(product.shape[0], *weight.shape[1:])


@dataclass(frozen=True)
class Difference:
    """The delta itself."""

    tensor: Tensor
    scale: float = 1.0

    def delta(self, weight: Tensor) -> Tensor:
        """What is added to `weight`, which is not touched."""
        return self.scale * _near(weight, self.tensor)


@dataclass(frozen=True)
class Decomposed:
    """DoRA: the changed weight with the lengths of its rows learnt apart, magnitude (W + delta) / |W + delta|.

    What it adds is that less W, so that strength leads straight from W to the trained weight. A magnitude [1, in]
    holds the lengths of columns, as lycoris writes it; [out] and [out, 1] those of rows, as PEFT does.
    """

    change: LowRank | Kronecker
    magnitude: Tensor

    def delta(self, weight: Tensor) -> Tensor:
        """What is added to `weight`, which is not touched."""
        by_column = self.magnitude.shape[0] == 1
        changed = (weight.float() + self.change.delta(weight)).flatten(1)
        lengths: Tensor = changed.norm(dim=0 if by_column else 1, keepdim=True)
        factor = _near(weight, self.magnitude).reshape(lengths.shape) / lengths.clamp(min=SHORTEST)
        return (factor * changed).view(weight.shape) - weight.float()


Change = LowRank | Kronecker | Difference | Decomposed


@dataclass(frozen=True)
class Ledger:
    """What became of every key of a file."""

    file: str
    modules: int  # that the applied keys change
    applied: tuple[str, ...]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        ignored = f", {len(self.ignored)} ignored (Wan2.1's image branch)" if self.ignored else ""
        unknown = f", {len(self.unknown)} unknown" if self.unknown else ""
        return f"{self.file}: {len(self.applied)} keys applied to {self.modules} modules{ignored}{unknown}"


@dataclass(frozen=True)
class LoraWeights:
    """A LoRA as read for one network: its changes, by the names of the network's parameters."""

    changes: Mapping[str, tuple[Change, ...]]
    ledger: Ledger


# ---- merged into the weights ----------------------------------------------------------------------------------------


@torch.no_grad()
def merge(network: nn.Module, loras: Sequence[tuple[LoraWeights, float]], device: torch.device | None = None) -> None:
    """Give `network` new weights that hold every LoRA at its strength. The old tensors stay as they are.

    `device` computes, and keeps nothing; without one, each weight's own. DoRA measures the weights as they are
    now: merge all LoRAs in one call, and their order does not matter.
    """
    for name in dict.fromkeys(name for lora, _ in loras for name in lora.changes):
        changes = [(change, strength) for lora, strength in loras for change in lora.changes.get(name, ())]
        weight = network.get_parameter(name)
        _put(network, name, merged(weight.to(device or weight.device), changes).to(weight.device))


def merged(weight: Tensor, changes: Iterable[tuple[Change, float]]) -> Tensor:
    """`weight` with each change at its strength: summed in float32, rounded once to the weight's own type."""
    total = weight.float()
    for change, strength in changes:
        if strength:
            total = total + strength * change.delta(weight)
    return total.to(weight.dtype)


# ---- beside the weights ---------------------------------------------------------------------------------------------


class Branches:
    """Beside each Linear, what the LoRAs add to its output; at strength 0, as at the start, nothing is computed.

    The few parameters that are not of a Linear (norms, modulation, patches) are replaced when strengths change.

    NOTE: what a network computed once and keeps (keys and values of a text) is of the strengths it was computed with.
    """

    def __init__(self, network: nn.Module, loras: Sequence[LoraWeights], device: torch.device | None = None) -> None:
        """device: where the network computes; without one, where its weights are"""
        self._network = network
        self._strengths = [0.0] * len(loras)
        self._replaced: list[tuple[str, nn.Parameter, list[tuple[int, Change]]]] = []
        for name in dict.fromkeys(name for lora in loras for name in lora.changes):
            changes = [(i, change) for i, lora in enumerate(loras) for change in lora.changes.get(name, ())]
            module = network.get_submodule(name.rpartition(".")[0])
            if isinstance(module, nn.Linear):
                terms = [(i, _term(change, name.endswith(".bias"), module, device)) for i, change in changes]
                module.register_forward_hook(self._hook(terms))
            else:
                self._replaced.append((name, network.get_parameter(name), changes))

    @torch.no_grad()
    def use(self, strengths: Sequence[float]) -> None:
        """From now on, run with these strengths, one for each LoRA."""
        if len(strengths) != len(self._strengths):
            raise ValueError(f"{len(self._strengths)} LoRAs need as many strengths, got {len(strengths)}")
        self._strengths[:] = strengths
        for name, own, changes in self._replaced:
            device = self._network.get_parameter(name).device  # where the network computes
            _put(self._network, name, merged(own, [(change, strengths[i]) for i, change in changes]).to(device))

    def _hook(self, terms: Sequence[tuple[int, "Term"]]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            for index, term in terms:
                if strength := self._strengths[index]:
                    output = output + strength * term(inputs[0])
            return output

        return add


Term = Callable[[Tensor], Tensor]  # [..., in] -> what is added to the output at strength 1, [..., out] or [out]


@torch.no_grad()
def _term(change: Change, of_bias: bool, module: nn.Linear, device: torch.device | None) -> Term:
    parameter = module.bias if of_bias else module.weight
    weight = parameter.to(device or parameter.device)
    if of_bias:
        bias = change.delta(weight).to(weight)
        return lambda _: bias
    if isinstance(change, LowRank):
        down, up = change.down.to(weight), (change.scale * _near(weight, change.up)).to(weight)
        return lambda x: F.linear(F.linear(x, down), up)
    delta = change.delta(weight).to(weight)
    return lambda x: F.linear(x, delta)


def _near(weight: Tensor, tensor: Tensor) -> Tensor:
    return tensor.to(weight.device, torch.float32)


def _put(network: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    parameter = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
    setattr(network.get_submodule(path), leaf, parameter)
