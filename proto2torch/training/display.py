"""The lines that a training shows: its progress, the outputs of its nets, its tests."""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import Tensor

from proto2torch.solvers.numbers import float32, shown
from proto2torch.training.log import Log, figures, output_lines
from proto2torch.training.test import Means


class Display:
    """Writes Caffe's lines and keeps the time between displays."""

    def __init__(self, log: Log, interval: int) -> None:
        self._log = log
        self._interval = interval
        self._last: int | None = None
        self._clock = time.perf_counter()

    def restart(self) -> None:
        """Start the time anew."""
        self._clock = time.perf_counter()

    def progress(
        self, iteration: int, loss: float, outputs: Mapping[str, Tensor], weights: Mapping[str, float]
    ) -> None:
        """The line of a display iteration, with its speed since the last, and the outputs of the train net."""
        now = time.perf_counter()
        seconds = now - self._clock
        speed = (iteration - self._last) / (seconds or 1) if self._last is not None else 0.0
        rate = f"{shown(speed)} iter/s, {shown(seconds)}s/{self._interval} iters"
        self._log(f"Iteration {iteration} ({rate}), loss = {shown(loss)}")
        for line in output_lines("Train", figures(outputs, weights)):
            self._log(line)
        self._last, self._clock = iteration, now

    def test(self, means: Means, with_loss: bool) -> None:
        """The result of one test net."""
        if with_loss:
            self._log(f"Test loss: {shown(means.loss.item())}")
        for line in output_lines("Test", figures(means.outputs, means.weights)):
            self._log(line)

    def clipped(self, norm: Tensor, limit: float, factor: Tensor) -> None:
        """That gradients were scaled down, if they were; waits for the device."""
        if norm.item() > limit:
            text = f"(L2 norm {shown(norm.item())} > {shown(float32(limit))}) by scale factor {shown(factor.item())}"
            self._log(f"Gradient clipping: scaling down gradients {text}")
