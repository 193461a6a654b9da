"""Stochastic gradient descent as Caffe does it: the rate is part of the momentum buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rule
from proto2torch.solvers.numbers import float32


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
