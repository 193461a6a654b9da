"""RMSProp as Caffe does it: without momentum, with delta outside the root."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rate, Rule
from proto2torch.solvers.numbers import float32


class RMSProp(Rule):
    """Caffe's RMSProp, with rate a and d = rms_decay:

        h = d * h + (1 - d) * g^2
        w = w - a * g / (sqrt(h) + delta)

    `g` is the gradient after regularisation.
    """

    slots = ("square_average",)

    def __init__(
        self,
        params: Params,
        lr: float,
        rms_decay: float = 0.99,
        delta: float = 1e-8,
        weight_decay: float = 0.0,
        regularization: str = "L2",
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            rms_decay=rms_decay,
            delta=delta,
            weight_decay=weight_decay,
            regularization=regularization,
        )

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        (square_average,) = history
        decay = float32(group["rms_decay"])
        torch._foreach_mul_(square_average, decay)
        torch._foreach_addcmul_(square_average, grads, grads, value=float32(1 - decay))
        root = torch._foreach_sqrt(square_average)
        torch._foreach_add_(root, float32(group["delta"]))
        torch._foreach_div_(grads, root)
        return grads, rate
