"""Nesterov's accelerated gradient as Caffe does it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rule
from proto2torch.solvers.numbers import float32


class Nesterov(Rule):
    """Caffe's Nesterov, with rate a and momentum m:

        h' = m * h + a * g
        w  = w - ((1 + m) * h' - m * h)

    The last bracket is m * h' + a * g: `torch.optim.SGD(nesterov=True)` over gradients multiplied by a, at a rate of 1.
    `g` is the gradient after regularisation.
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
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, regularization=regularization)

    def direction(self, group: dict[str, Any], rate: float, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        (velocity,) = history
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
        if momentum == 0:  # torch keeps no buffer then, Caffe does
            return False
        torch._foreach_mul_(grads, rate)
        torch._fused_sgd_(
            params,
            grads,
            velocity,
            weight_decay=rate * decay,
            momentum=momentum,
            lr=1.0,
            dampening=0.0,
            nesterov=True,
            maximize=False,
            is_first_step=False,
        )
        return True
