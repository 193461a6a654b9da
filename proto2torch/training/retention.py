"""Which snapshots stay and when a training has learned enough: callbacks for `--keep`, `--best` and `--patience`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proto2torch.errors import SolverError, did_you_mean
from proto2torch.training import snapshot
from proto2torch.training.callbacks import Callback
from proto2torch.training.events import Tested, named
from proto2torch.training.log import Figure
from proto2torch.training.snapshot import Names

if TYPE_CHECKING:
    from proto2torch.training.solver import Solver


class Keep(Callback):
    """Keeps the newest `count` snapshots: after each one, older ones of the same snapshot_prefix are removed.

    Snapshots of earlier runs, Caffe's too, are older than all of this run, whatever their iterations.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"the number of snapshots to keep must be at least 1. Received: {count}")
        self._count = count

    def snapshotted(self, solver: Solver, names: Names) -> None:
        for at, state in snapshot.by_run(solver.prefix, solver.lineage.run)[: -self._count]:
            snapshot.remove(state)
            solver.log(f"Removed the snapshot of iteration {at}")


@dataclass(frozen=True)
class Output:
    """A test output to watch, and which way is better."""

    name: str
    lower: bool
    """Whether less is better."""

    @classmethod
    def parse(cls, text: str) -> Output:
        """`accuracy`, or `error:min`, `score:max`; without either, names with "loss" or "error" in them are minimised.

        Raises:
            ValueError: another word behind the colon.
        """
        name, colon, way = text.rpartition(":")
        if not colon:
            lower = any(word in text.lower() for word in ("loss", "err"))
            return cls(text, lower)
        if way not in ("min", "max"):
            raise ValueError(f"expected OUTPUT, OUTPUT:min or OUTPUT:max. Received: {text!r}")
        return cls(name, way == "min")

    def value(self, event: Tested) -> float:
        """Its value in a test.

        Raises:
            SolverError: the test net has no such output.
        """
        values = dict(named(event.outputs))
        if self.name not in values:
            known = did_you_mean(self.name, values) or f"its outputs are {', '.join(values) or 'none'}"
            raise SolverError(f"the test net has no output {self.name!r} of one element", hint=known)
        return values[self.name]

    def better(self, value: float, than: float) -> bool:
        """Whether a value is better than another; nothing is better than what is not a number."""
        return value < than if self.lower else value > than

    @property
    def worst(self) -> float:
        return math.inf if self.lower else -math.inf


class Best(Callback):
    """Keeps the best snapshot by an output of the first test net, as `{prefix}_best.caffemodel` and `.solverstate`."""

    def __init__(self, output: str) -> None:
        self.output = Output.parse(output)
        self.value = self.output.worst
        self.iteration: int | None = None

    def tested(self, solver: Solver, event: Tested) -> None:
        if event.index:
            return
        value = self.output.value(event)
        if not self.output.better(value, self.value):
            return
        self.value, self.iteration = value, event.iteration
        solver.log(f"Best {self.output.name} so far: {value:g} after {event.iteration} iterations")
        solver.snapshot(best_names(solver))

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "iteration": self.iteration}

    def load_state(self, state: dict[str, Any]) -> None:
        self.value, self.iteration = state["value"], state["iteration"]


def best_names(solver: Solver) -> Names:
    """The files of the best snapshot."""
    ending = ".h5" if solver.definition.snapshot_hdf5 else ""
    stem = f"{solver.prefix}_best"
    return Names(f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}", f"{stem}.resume", solver.iter)


class Patience(Callback):
    """Stops the training when an output of the first test net has not become better in `tests` tests.

    Without `output`, the first output with "acc" in its name is watched, else the first of all.
    """

    def __init__(self, tests: int, output: str | None = None) -> None:
        if tests < 1:
            raise ValueError(f"patience must be at least 1 test. Received: {tests}")
        self._tests = tests
        self._output = Output.parse(output) if output is not None else None
        self._best: float | None = None
        self._waited = 0

    def tested(self, solver: Solver, event: Tested) -> None:
        if event.index:
            return
        output = self._output = self._output or _first(event.outputs)
        value = output.value(event)
        if self._best is None or output.better(value, self._best):
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited >= self._tests:
            solver.log(f"{output.name} has not become better than {self._best:g} in {self._waited} tests: stopping")
            solver.stop()

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited}

    def load_state(self, state: dict[str, Any]) -> None:
        self._best, self._waited = state["best"], state["waited"]


def _first(outputs: Iterable[Figure]) -> Output:
    names = [name for name, _ in named(tuple(outputs))]
    if not names:
        raise SolverError("the test net has no output to watch")
    return Output.parse(next((name for name in names if "acc" in name.lower()), names[0]))
