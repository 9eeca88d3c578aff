"""Muon: momentum whose direction is made orthogonal, for weight matrices; AdamW for the rest.

The update U V^T of a momentum matrix U S V^T comes from five Newton-Schulz steps (Jordan et al., 2024); it is scaled so
that its root mean square is that of an AdamW step (Liu et al., 2025), and both share one learning rate.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon:
    """Optimizer of the demonstration model. Matrices of one shape are updated together."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], adam_only: Iterable[nn.Parameter], weight_decay: float
    ) -> None:
        small = {id(parameter) for parameter in adam_only}
        everything = [parameter for parameter in parameters if parameter.requires_grad]
        self.matrices = [
            p for p in everything if p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= 16 and id(p) not in small
        ]
        taken = {id(parameter) for parameter in self.matrices}
        rest = [parameter for parameter in everything if id(parameter) not in taken]
        self.adam = torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0)
        self.momentum = [torch.zeros_like(parameter) for parameter in self.matrices]
        self.weight_decay = weight_decay
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, parameter in enumerate(self.matrices):
            groups[parameter.shape[0], parameter[0].numel()].append(index)
        self.groups = list(groups.values())

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every parameter that has a gradient, and forget the gradients."""
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        live = [i for i, parameter in enumerate(self.matrices) if parameter.grad is not None]
        if not live:
            return
        gradients = [self.matrices[i].grad for i in live]
        torch._foreach_lerp_([self.momentum[i] for i in live], gradients, 0.05)  # type: ignore[arg-type]
        for indices in self.groups:
            group_live = [i for i in indices if self.matrices[i].grad is not None]
            if not group_live:
                continue
            flat = torch.stack(
                [torch.lerp(self.matrices[i].grad, self.momentum[i], 0.95).flatten(1) for i in group_live]  # type: ignore[arg-type]
            )
            rows, columns = flat.shape[1:]
            update = orthogonal(flat) * (0.2 * max(rows, columns) ** 0.5)
            for i, direction in zip(group_live, update, strict=True):
                parameter = self.matrices[i]
                parameter.mul_(1 - lr * self.weight_decay)
                parameter.add_(direction.view_as(parameter), alpha=-lr)
        for parameter in self.matrices:
            parameter.grad = None


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly. [N, rows, columns] -> the same shape, float32"""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.to(torch.bfloat16)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result.float()
