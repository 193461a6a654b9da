"""Whether a training on CUDA is quicker recorded: tried on its own first iterations, none of which is lost by it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

T = TypeVar("T")
_WARM, _TIMED = 5, 10
"""Iterations of each way: those that are not counted, in which kernels are chosen and the recording is made, and those
that are."""


class Clock(Protocol):
    """Takes the time where the work is done."""

    def now(self) -> Any:
        """A point in time, which may lie ahead of the host."""

    def between(self, start: Any, end: Any) -> float:
        """Milliseconds; waits until `end` has come."""


class CudaClock:
    """The time of a device's current stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now(self) -> Any:
        with torch.cuda.device(self._device):
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        end.synchronize()
        return float(start.elapsed_time(end))


class Verdict(NamedTuple):
    """What an iteration took, in milliseconds."""

    plain: float
    recorded: float

    @property
    def record(self) -> bool:
        """Whether iterations are to be recorded."""
        return self.recorded < self.plain

    def __str__(self) -> str:
        kept = "kept" if self.record else "left out"
        return f"CUDA graph: {self.recorded:.3f} ms an iteration, {self.plain:.3f} ms without: {kept}"


class Trial:
    """Times plain iterations, then recorded ones; the verdict is that of their medians."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: list[tuple[Any, Any]] = []

    @property
    def recording(self) -> bool:
        """Whether the next iteration is one of the recorded ones."""
        return len(self._taken) >= _WARM + _TIMED

    def timed(self, iteration: Callable[[], T]) -> T:
        """Make one iteration of the way whose turn it is."""
        start = self._clock.now()
        found = iteration()
        self._taken.append((start, self._clock.now()))
        return found

    def verdict(self) -> Verdict | None:
        """What was found, once; None before the last iteration of the trial."""
        if len(self._taken) < 2 * (_WARM + _TIMED):
            return None
        taken = [self._clock.between(start, end) for start, end in self._taken]
        half = len(taken) // 2
        return Verdict(statistics.median(taken[_WARM:half]), statistics.median(taken[half + _WARM :]))
