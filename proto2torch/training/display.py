"""The lines that a training shows: its progress, the outputs of its nets, its tests."""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import Tensor

from proto2torch.solvers.numbers import float32, shown
from proto2torch.training.events import Displayed, Tested
from proto2torch.training.log import Log, figures, output_lines
from proto2torch.training.test import Means


class Display:
    """Writes Caffe's lines, keeps the time between displays, and gives what was shown as an event."""

    def __init__(self, log: Log, interval: int, images: int) -> None:
        """`images` is how many records an iteration takes."""
        self._log = log
        self._interval = interval
        self._images = images
        self._last: int | None = None
        self._born = self._clock = time.perf_counter()

    def restart(self) -> None:
        """Start the time anew."""
        self._clock = time.perf_counter()

    def progress(
        self, iteration: int, loss: float, lr: float, outputs: Mapping[str, Tensor], weights: Mapping[str, float]
    ) -> Displayed:
        """The line of a display iteration, with its speed since the last, and the outputs of the train net."""
        now = time.perf_counter()
        seconds = now - self._clock
        speed = (iteration - self._last) / (seconds or 1) if self._last is not None else 0.0
        rate = f"{shown(speed)} iter/s, {shown(seconds)}s/{self._interval} iters"
        self._log(f"Iteration {iteration} ({rate}), loss = {shown(loss)}")
        values = tuple(figures(outputs, weights))
        for line in output_lines("Train", values):
            self._log(line)
        self._last, self._clock = iteration, now
        return Displayed(iteration, now - self._born, loss, lr, values, speed, speed * self._images)

    def test(self, iteration: int, index: int, means: Means, with_loss: bool, by_class: bool = False) -> Tested:
        """The result of one test net; `by_class` shows the average precision of each class too, as SSD does."""
        loss = means.loss.item()
        if with_loss:
            self._log(f"Test loss: {shown(loss)}")
        for classes in means.classes.values() if by_class else ():
            for label, precision in classes.items():
                self._log(f"class{label}: {shown(precision)}")
        values = tuple(figures(means.outputs, means.weights))
        for line in output_lines("Test", values):
            self._log(line)
        return Tested(iteration, time.perf_counter() - self._born, index, loss, values)

    def clipped(self, norm: Tensor, limit: float, factor: Tensor) -> None:
        """That gradients were scaled down, if they were; waits for the device."""
        if norm.item() > limit:
            text = f"(L2 norm {shown(norm.item())} > {shown(float32(limit))}) by scale factor {shown(factor.item())}"
            self._log(f"Gradient clipping: scaling down gradients {text}")
