"""AdaDelta as Caffe does it: delta inside the root, and a rate on top."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rate, Rule
from proto2torch.solvers.numbers import float32


class AdaDelta(Rule):
    """Caffe's AdaDelta, with rate a and momentum m (0 unless given, as in Caffe):

        h1 = m * h1 + (1 - m) * g^2
        v  = g * sqrt((h2 + delta) / (h1 + delta))
        h2 = m * h2 + (1 - m) * v^2
        w  = w - a * v

    `g` is the gradient after regularisation.
    """

    slots = ("square_gradient", "square_update")

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.0,
        delta: float = 1e-8,
        weight_decay: float = 0.0,
        regularization: str = "L2",
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            delta=delta,
            weight_decay=weight_decay,
            regularization=regularization,
        )

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        square_gradient, square_update = history
        momentum, delta = float32(group["momentum"]), float32(group["delta"])
        torch._foreach_mul_(square_gradient, momentum)
        torch._foreach_addcmul_(square_gradient, grads, grads, value=float32(1 - momentum))
        ratio = torch._foreach_add(square_update, delta)
        torch._foreach_div_(ratio, torch._foreach_add(square_gradient, delta))
        torch._foreach_sqrt_(ratio)
        torch._foreach_mul_(grads, ratio)
        torch._foreach_mul_(square_update, momentum)
        torch._foreach_addcmul_(square_update, grads, grads, value=float32(1 - momentum))
        return grads, rate
