"""Adam as Caffe does it: delta is added before the bias correction, and weight decay is part of the gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rule
from proto2torch.solvers.numbers import float32, power


class Adam(Rule):
    """Caffe's Adam, with rate a, b1 = momentum (0 unless given, as in Caffe), b2 = momentum2 and t counted from 1:

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        w = w - a * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + delta)

    `torch.optim.Adam` adds its eps after the correction: it is this rule with eps = delta / sqrt(1 - b2^t).
    """

    slots = ("mean", "square_mean")

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.0,
        momentum2: float = 0.999,
        delta: float = 1e-8,
        weight_decay: float = 0.0,
        regularization: str = "L2",
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            momentum2=momentum2,
            delta=delta,
            weight_decay=weight_decay,
            regularization=regularization,
        )

    def direction(self, group: dict[str, Any], rate: float, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        mean, square_mean = history
        b1, b2 = float32(group["momentum"]), float32(group["momentum2"])
        torch._foreach_mul_(mean, b1)
        torch._foreach_add_(mean, grads, alpha=float32(1 - b1))
        torch._foreach_mul_(square_mean, b2)
        torch._foreach_addcmul_(square_mean, grads, grads, value=float32(1 - b2))
        root = torch._foreach_sqrt(square_mean)
        torch._foreach_add_(root, float32(group["delta"]))
        return torch._foreach_div(mean, root), float32(rate * correction(b1, b2, group["step"]))

    def fused(
        self,
        group: dict[str, Any],
        rate: float,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        """torch's rule with the eps of this step."""
        mean, square_mean = history
        b1, b2, step = float32(group["momentum"]), float32(group["momentum2"]), group["step"]
        if max(b1, b2) >= 1:
            return False
        torch._fused_adam_(
            params,
            grads,
            mean,
            square_mean,
            [],
            [torch.full((), float(step), device=params[0].device)] * len(params),
            lr=rate,
            beta1=b1,
            beta2=b2,
            weight_decay=decay,
            eps=float32(group["delta"]) / math.sqrt(1 - power(b2, step)),
            amsgrad=False,
            maximize=False,
            found_inf=self.overflowed,
        )
        return True


def correction(b1: float, b2: float, t: int) -> float:
    """sqrt(1 - b2^t) / (1 - b1^t), in double precision, rounded to float32."""
    return float32(math.sqrt(1 - power(b2, t)) / (1 - power(b1, t)))
