"""Stochastic gradient descent as Caffe does it: the rate is part of the momentum buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rule
from proto2torch.solvers.numbers import float32

_LOST = 1e-8
"""Of a rate below, 1 - rate keeps fewer digits than a float32."""


class SGD(Rule):
    """Caffe's SGD, with rate a and momentum m:

        h = m * h + a * g
        w = w - h

    After the rate drops, the velocity gathered before keeps its old scale; `torch.optim.SGD` rescales it.
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
        torch._foreach_mul_(velocity, float32(group["momentum"]))
        torch._foreach_add_(velocity, grads, alpha=rate)
        return velocity, 1.0

    def fused(
        self,
        group: dict[str, Any],
        rate: float,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        """torch's rule with a rate of 1, its gradient dampened to the share that is Caffe's rate."""
        (velocity,) = history
        momentum = float32(group["momentum"])
        if momentum == 0 or 0 < rate < _LOST:  # without momentum torch keeps no buffer, Caffe does
            return False
        torch._fused_sgd_(
            params,
            grads,
            velocity,
            weight_decay=decay,
            momentum=momentum,
            lr=1.0,
            dampening=1 - rate,
            nesterov=False,
            maximize=False,
            found_inf=self.overflowed,
            is_first_step=False,
        )
        return True
