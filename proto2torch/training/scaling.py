"""A scale for the loss of a training in float16, whose gradients else vanish below 6e-8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proto2torch.errors import RunError

_FIRST, _GROWTH, _BACKOFF, _PATIENCE = 2.0**16, 2.0, 0.5, 2000  # as torch.amp.GradScaler's
_LEAST = 2.0**-24
"""Gradients that overflow at this scale are not finite for another reason."""


class Scale:
    """Multiplies the loss before the backward and divides the gradients behind it.

    Where one overflowed, the update is to be left out, and the scale is halved; after 2000 updates it is doubled. All
    of it stays on the device: nothing waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._scale = torch.full((), _FIRST, device=device)
        self._since = torch.zeros((), dtype=torch.int32, device=device)  # updates without an overflow

    def of(self, loss: Tensor) -> Tensor:
        """The loss to take the gradients of."""
        return loss * self._scale

    def scale(self, grads: list[Tensor]) -> None:
        """Multiply in place the gradients of a loss that was not scaled, so that `unscale` gives them back."""
        if grads:
            torch._foreach_mul_(grads, self._scale)

    def unscale(self, grads: list[Tensor]) -> Tensor:
        """Divide the gradients in place, and set the scale for the next ones; gives 1 where one is not finite, or 0."""
        overflowed = torch.zeros((), device=self._scale.device)
        if grads:
            torch._amp_foreach_non_finite_check_and_unscale_(grads, overflowed, self._scale.reciprocal())
        torch._amp_update_scale_(self._scale, self._since, overflowed, _GROWTH, _BACKOFF, _PATIENCE)
        return overflowed

    def check(self) -> None:
        """Wait for the device, and look at the scale.

        Raises:
            RunError: it has become so small that no scale can help.
        """
        if float(self._scale) < _LEAST:
            raise RunError("the gradients are not finite at any scale", hint="try --precision bf16 or fp32")

    def state(self) -> dict[str, Any]:
        """What a resumed training goes on with."""
        return {"scale": float(self._scale), "since": int(self._since)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        if state:
            self._scale.fill_(state["scale"])
            self._since.fill_(state["since"])
