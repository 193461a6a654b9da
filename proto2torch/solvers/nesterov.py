"""Nesterov's accelerated gradient as Caffe does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rule
from proto2torch.solvers.numbers import float32

_LEAST = 1e-20
"""A rate below leaves no room for a velocity that is divided by it."""


class Nesterov(Rule):
    """Caffe's Nesterov, with rate a and momentum m:

        h' = m * h + a * g
        w  = w - ((1 + m) * h' - m * h)

    The last bracket is a * (m * h' / a + g): `torch.optim.SGD(nesterov=True)` at the rate a, over a velocity divided by
    a. So the buffer holds h / `scale` of its group, and is multiplied anew where the rate changes. `g` is the gradient
    after regularisation.
    """

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

    def direction(self, group: dict[str, Any], rate: float, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        (velocity,) = history
        _rescale(group, velocity, 1.0)
        momentum = float32(group["momentum"])
        updates = torch._foreach_mul(velocity, -momentum)
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, grads, alpha=rate)
        torch._foreach_add_(updates, velocity, alpha=float32(1 + momentum))
        return updates, 1.0

    def fused(
        self,
        group: dict[str, Any],
        rate: float,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        (velocity,) = history
        momentum = float32(group["momentum"])
        if momentum == 0 or rate < _LEAST:  # without momentum torch keeps no buffer, Caffe does
            return False
        _rescale(group, velocity, rate)
        torch._fused_sgd_(
            params,
            grads,
            velocity,
            weight_decay=decay,
            momentum=momentum,
            lr=rate,
            dampening=0.0,
            nesterov=True,
            maximize=False,
            found_inf=self.overflowed,
            is_first_step=False,
        )
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
        kept = [self.state[p] for p in group["params"] if self.state.get(p)]
        _rescale(group, [state["momentum_buffer"] for state in kept], 1.0)


@torch.no_grad()
def _rescale(group: dict[str, Any], velocity: list[Tensor], scale: float) -> None:
    """Let the group's buffers hold the velocity divided by `scale`."""
    if velocity and group["scale"] != scale:
        torch._foreach_mul_(velocity, group["scale"] / scale)
    group["scale"] = scale
