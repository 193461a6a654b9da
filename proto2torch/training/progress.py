"""The progress bar of a training on a terminal: two lines that stay below the log."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, TextIO

from proto2torch.solvers.numbers import shown
from proto2torch.training.callbacks import Callback
from proto2torch.training.events import Displayed, Tested

if TYPE_CHECKING:
    from proto2torch.training.solver import Solver

_EVERY = 0.2  # seconds between two drawings
_BAR = 24  # characters at most
_FADE = 0.7  # how much of the speed before counts at a drawing


class Progress(Callback):
    """Shows how far the training is, loss, rate, images a second and the time left; below, the last test results.

    On the CPU the loss is that of the last iteration; on another device that of the last display, for nothing waits for
    the device between displays.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._tests: dict[int, str] = {}
        self._drawn = 0
        self._clock = 0.0
        self._at = 0
        self._speed = 0.0
        self._loss: float | None = None

    def start(self, solver: Solver) -> None:
        self._clock, self._at = time.perf_counter(), solver.iter
        solver.log.status = self

    def iterated(self, solver: Solver) -> None:
        now = time.perf_counter()
        if now - self._clock < _EVERY:
            return
        speed = (solver.iter - self._at) / (now - self._clock)
        self._speed = _FADE * self._speed + (1 - _FADE) * speed if self._speed else speed
        self._clock, self._at = now, solver.iter
        if solver.device.type == "cpu":
            self._loss = solver.loss.item()
        self._show(solver)

    def displayed(self, solver: Solver, event: Displayed) -> None:
        self._loss = event.loss

    def tested(self, solver: Solver, event: Tested) -> None:
        results = ", ".join(f"{figure.name} {shown(figure.value)}" for figure in event.outputs)
        self._tests[event.index] = f"test #{event.index} after {event.iteration}: {results}"
        self._show(solver)

    def end(self, solver: Solver) -> None:
        self.clear()
        solver.log.status = None

    def clear(self) -> None:
        """Take the lines away."""
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0
            self._stream.flush()

    def draw(self) -> None:
        """Write the lines below what stands on the terminal."""
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("".join(f"{line[:width]}\n" for line in self._lines))
        self._stream.flush()
        self._drawn = len(self._lines)

    def _show(self, solver: Solver) -> None:
        self._lines = [self._line(solver), *self._tests.values()]
        self.clear()
        self.draw()

    def _line(self, solver: Solver) -> str:
        done, whole = solver.iter, max(solver.definition.max_iter, 1)
        parts = [f"{done}/{whole}"]
        if self._loss is not None:
            parts.append(f"loss {shown(self._loss)}")
        parts.append(f"lr {shown(solver.lr)}")
        if self._speed:
            rate = self._speed * solver.images
            parts.append(f"{rate:.0f} images/s" if rate else f"{self._speed:.1f} iter/s")
            parts.append(f"{clock((whole - done) / self._speed)} left")
        text = "  ".join(parts)
        bar = min(_BAR, max(0, shutil.get_terminal_size().columns - len(text) - 4))  # what a narrow terminal leaves
        filled = min(bar, bar * done // whole)
        return f"[{'#' * filled}{'.' * (bar - filled)}] {text}" if bar else text


def clock(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
