"""What SGD and Nesterov share: a velocity, which may be kept divided by the rate.

A velocity divided by the rate takes the rate once, where the weights move: so the rate can lie on the device, and
torch's fused kernels make the update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Params, Rule

LEAST = 1e-20
"""A rate below leaves no room for a velocity that is divided by it."""


class Momentum(Rule):
    """A rule whose buffer holds Caffe's velocity h divided by `scale` of its group."""

    slots = ("momentum_buffer",)
    gathers = False

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        regularization: str = "L2",
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, regularization=regularization, scale=1.0
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of before velocities were divided there are states without a scale."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("scale", 1.0)

    def adapts(self, group: dict[str, Any], rate: float) -> bool:
        """Divide the group's velocity by the rate, where that can be."""
        if not divisible(group, rate):
            return False
        if group["scale"] != rate:
            rescale(group, self._velocities(group), rate)
        return True

    def history(self, param: Tensor) -> list[Tensor]:
        """Caffe's h. The group keeps h itself until its next update: who goes on from it does so bit for bit."""
        self._undivide(param)
        return super().history(param)

    def set_history(self, param: Tensor, history: Sequence[Tensor]) -> None:
        self._undivide(param)
        super().set_history(param, history)

    def _undivide(self, param: Tensor) -> None:
        group = next(group for group in self.param_groups if any(p is param for p in group["params"]))
        rescale(group, self._velocities(group), 1.0)

    def _velocities(self, group: dict[str, Any]) -> list[Tensor]:
        return [self.state[p]["momentum_buffer"] for p in group["params"] if self.state.get(p)]


def divisible(group: dict[str, Any], rate: float) -> bool:
    """Whether there is room for the velocity divided by a rate; float16 ends at 65504."""
    return rate >= LEAST and all(param.dtype != torch.float16 for param in group["params"])


@torch.no_grad()
def rescale(group: dict[str, Any], velocity: list[Tensor], scale: float) -> None:
    """Let the group's buffers hold the velocity divided by `scale`."""
    if velocity and group["scale"] != scale:
        torch._foreach_mul_(velocity, group["scale"] / scale)
    group["scale"] = scale
