"""`--compile`: the train net by torch.compile, and a word on whether that was faster."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch

from proto2torch.training.callbacks import Callback

if TYPE_CHECKING:
    from proto2torch.training.solver import Solver

_WARM, _TIMED = 3, 7


class Compile(Callback):
    """Trains some iterations as they are, compiles the net, and logs what an iteration took before and takes now."""

    def __init__(self) -> None:
        self._taken: list[float] = []
        self._began = 0.0

    def start(self, solver: Solver) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def iterated(self, solver: Solver) -> None:
        """Note what the iteration took; a test or a snapshot in between shows in one, and the median passes over it."""
        most = 2 * (_WARM + _TIMED)
        if len(self._taken) == most:
            return
        if solver.device.type == "cuda":
            torch.cuda.synchronize(solver.device)
        now = time.perf_counter()
        self._taken.append(now - self._began)
        if len(self._taken) == most // 2:
            solver.net.module.compile()
        elif len(self._taken) == most:
            self._tell(solver)
        self._began = time.perf_counter()

    def _tell(self, solver: Solver) -> None:
        half = _WARM + _TIMED
        before, after = (
            statistics.median(part) * 1000 for part in (self._taken[_WARM:half], self._taken[half + _WARM :])
        )
        word = "faster" if after < before else "slower: it may be better left out"
        solver.log(f"--compile: {after:.3f} ms an iteration, {before:.3f} ms without, {word}")
