"""Nesterov's accelerated gradient as Caffe does it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Rate
from proto2torch.solvers.momentum import Momentum, divisible, rescale
from proto2torch.solvers.numbers import float32


class Nesterov(Momentum):
    """Caffe's Nesterov, with rate a and momentum m:

        h' = m * h + a * g
        w  = w - ((1 + m) * h' - m * h)

    The last bracket is a * (m * h' / a + g): `torch.optim.SGD(nesterov=True)` at the rate a, over a velocity divided by
    a. So the buffer holds h / `scale` of its group, and is multiplied anew where the rate changes. `g` is the gradient
    after regularisation.
    """

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        (velocity,) = history
        momentum = float32(group["momentum"])
        if isinstance(rate, Tensor):  # the velocity is divided by it
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, grads)
            torch._foreach_add_(grads, velocity, alpha=momentum)
            return grads, rate
        rescale(group, velocity, 1.0)
        updates = torch._foreach_mul(velocity, -momentum)
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, grads, alpha=rate)
        torch._foreach_add_(updates, velocity, alpha=float32(1 + momentum))
        return updates, 1.0

    def fused(
        self,
        group: dict[str, Any],
        rate: Rate,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        (velocity,) = history
        momentum = float32(group["momentum"])
        if momentum == 0:  # torch keeps no buffer, Caffe does
            return False
        if not isinstance(rate, Tensor):
            if not divisible(group, rate):
                return False
            rescale(group, velocity, rate)
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
