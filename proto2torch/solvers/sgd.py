"""Stochastic gradient descent as Caffe does it: the rate is part of the momentum buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.solvers.base import Direction, Rate
from proto2torch.solvers.momentum import Momentum, rescale
from proto2torch.solvers.numbers import float32

_LOST = 1e-8
"""Of a rate below, 1 - rate keeps fewer digits than a float32."""


class SGD(Momentum):
    """Caffe's SGD, with rate a and momentum m:

        h = m * h + a * g
        w = w - h

    After the rate drops, the velocity gathered before keeps its old scale; `torch.optim.SGD` rescales it. Where the
    rate lies on the device, the buffer holds h / a:

        h / a = m * h / a + g
        w = w - a * (h / a)
    """

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        (velocity,) = history
        momentum = float32(group["momentum"])
        if isinstance(rate, Tensor):  # the velocity is divided by it
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, grads)
            return velocity, rate
        rescale(group, velocity, 1.0)
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, grads, alpha=rate)
        return velocity, 1.0

    def fused(
        self,
        group: dict[str, Any],
        rate: Rate,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        """torch's rule: over the divided velocity, or with a rate of 1 and its gradient dampened to the share that is
        Caffe's rate."""
        (velocity,) = history
        momentum, lr, dampening = float32(group["momentum"]), rate, 0.0
        if momentum == 0:  # torch keeps no buffer, Caffe does
            return False
        if not isinstance(rate, Tensor):
            if 0 < rate < _LOST:
                return False
            rescale(group, velocity, 1.0)
            lr, dampening = 1.0, 1 - rate
        torch._fused_sgd_(
            params,
            grads,
            velocity,
            weight_decay=decay,
            momentum=momentum,
            lr=lr,
            dampening=dampening,
            nesterov=False,
            maximize=False,
            found_inf=self.overflowed,
            is_first_step=False,
        )
        return True
