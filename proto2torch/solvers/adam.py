"""Adam as Caffe does it: delta is added before the bias correction, and weight decay is part of the gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Params, Rate, Rule
from proto2torch.solvers.numbers import float32, power


class Adam(Rule):
    """Caffe's Adam, with rate a, b1 = momentum (0 unless given, as in Caffe), b2 = momentum2 and t counted from 1:

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        w = w - a * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + delta)

    The factor before m is the rate of an update here. `torch.optim.Adam` adds its eps after the correction: it is this
    rule at a step so late that it corrects nothing more.
    """

    slots = ("mean", "square_mean")
    _late: Tensor | None = None

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

    def rate(self, group: dict[str, Any]) -> float:
        b1, b2 = float32(group["momentum"]), float32(group["momentum2"])
        return float32(super().rate(group) * correction(b1, b2, group["step"]))

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        mean, square_mean = history
        b1, b2 = float32(group["momentum"]), float32(group["momentum2"])
        torch._foreach_mul_(mean, b1)
        torch._foreach_add_(mean, grads, alpha=float32(1 - b1))
        torch._foreach_mul_(square_mean, b2)
        torch._foreach_addcmul_(square_mean, grads, grads, value=float32(1 - b2))
        root = torch._foreach_sqrt(square_mean)
        torch._foreach_add_(root, float32(group["delta"]))
        return torch._foreach_div(mean, root), rate

    def fused(
        self,
        group: dict[str, Any],
        rate: Rate,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        """torch's rule after infinitely many steps, at the corrected rate."""
        mean, square_mean = history
        b1, b2 = float32(group["momentum"]), float32(group["momentum2"])
        if max(b1, b2) >= 1:
            return False
        if self._late is None or self._late.device != params[0].device:
            self._late = torch.full((), math.inf, device=params[0].device)
        torch._fused_adam_(
            params,
            grads,
            mean,
            square_mean,
            [],
            [self._late] * len(params),
            lr=rate,
            beta1=b1,
            beta2=b2,
            weight_decay=decay,
            eps=float32(group["delta"]),
            amsgrad=False,
            maximize=False,
            found_inf=self.overflowed,
        )
        return True


def correction(b1: float, b2: float, t: int) -> float:
    """sqrt(1 - b2^t) / (1 - b1^t), in double precision, rounded to float32."""
    return float32(math.sqrt(1 - power(b2, t)) / (1 - power(b1, t)))
