"""AdaGrad as Caffe does it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rate, Rule
from proto2torch.solvers.numbers import float32


class AdaGrad(Rule):
    """Caffe's AdaGrad, with rate a:

        h = h + g^2
        w = w - a * g / (sqrt(h) + delta)

    `g` is the gradient after regularisation.
    """

    slots = ("square_sum",)

    def __init__(
        self,
        params: Params,
        lr: float,
        delta: float = 1e-8,
        weight_decay: float = 0.0,
        regularization: str = "L2",
    ) -> None:
        super().__init__(params, lr=lr, delta=delta, weight_decay=weight_decay, regularization=regularization)

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        (square_sum,) = history
        torch._foreach_addcmul_(square_sum, grads, grads)
        root = torch._foreach_sqrt(square_sum)
        torch._foreach_add_(root, float32(group["delta"]))
        torch._foreach_div_(grads, root)
        return grads, rate
