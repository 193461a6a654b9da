"""Caffe's smoothed loss, the running mean of the last `average_loss` losses, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from proto2torch.solvers.numbers import float32

_PENDING = 256  # losses kept one by one before they are packed into one tensor


class SmoothedLoss:
    """Takes losses as they lie on the device and fetches them when the mean is asked for.

    Caffe: the mean of all losses while there are fewer than `window`; then, with each new loss,
    s = s + (new - oldest) / window. The sums are float32, in that order.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._packed: list[Tensor] = []
        self._pending: list[Tensor] = []
        self._recent: list[float] = []
        self._count = 0
        self._mean = 0.0

    def add(self, loss: Tensor) -> None:
        """Take one loss, a 0-d tensor."""
        self._pending.append(loss.detach())
        if len(self._pending) == _PENDING:
            self._pack()

    def value(self) -> float:
        """The smoothed loss so far; waits for the device."""
        self._pack()
        losses = torch.cat(self._packed).tolist() if self._packed else []
        self._packed = []
        for loss in losses:
            self._take(loss)
        return self._mean

    def _pack(self) -> None:
        if self._pending:
            self._packed.append(torch.stack(self._pending).float())
            self._pending = []

    def _take(self, loss: float) -> None:
        size = len(self._recent)
        if size < self._window:
            self._recent.append(loss)
            self._mean = float32(float32(float32(self._mean * size) + loss) / (size + 1))
        else:
            slot = self._count % self._window
            self._mean = float32(self._mean + float32(float32(loss - self._recent[slot]) / self._window))
            self._recent[slot] = loss
        self._count += 1
