"""Callbacks: what is told of a training while it runs, and may stop it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from proto2torch.training.events import Displayed, Tested
from proto2torch.training.snapshot import Names

if TYPE_CHECKING:
    from proto2torch.training.solver import Solver


class Callback:
    """Told of a training; a subclass overrides what it cares about. `solver.stop()` ends the training.

    What `state` gives is kept in the `.resume` file of each snapshot, and given to `load_state` by a restore.
    """

    def start(self, solver: Solver) -> None:
        """Before the first update of a `step` or `solve`."""

    def iterated(self, solver: Solver) -> None:
        """After each update."""

    def displayed(self, solver: Solver, event: Displayed) -> None:
        """In a display iteration, before its update."""

    def tested(self, solver: Solver, event: Tested) -> None:
        """After the test of one net."""

    def snapshotted(self, solver: Solver, names: Names) -> None:
        """After a snapshot was written."""

    def end(self, solver: Solver) -> None:
        """When `solve` ends, however it ends, or when the solver is closed."""

    def state(self) -> dict[str, Any]:
        """What the callback must know to go on: plain values and tensors."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""


class Callbacks:
    """Several callbacks, told in order."""

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.all = list(callbacks)
        self._started = False

    def start(self, solver: Solver) -> None:
        """Tell of the start, once until the next end."""
        if not self._started:
            self._started = True
            self.tell("start", solver)

    def end(self, solver: Solver) -> None:
        """Tell of the end, if there was a start."""
        if self._started:
            self._started = False
            self.tell("end", solver)

    def tell(self, what: str, *arguments: Any) -> None:
        """Call the method `what` of each."""
        for callback in self.all:
            getattr(callback, what)(*arguments)

    def state(self) -> dict[str, Any]:
        """The states, by the names of their classes."""
        states = {type(callback).__name__: callback.state() for callback in self.all}
        return {name: state for name, state in states.items() if state}

    def load_state(self, states: dict[str, Any]) -> None:
        """Go on from `states`; a callback that they do not know keeps its own."""
        for callback in self.all:
            if type(callback).__name__ in states:
                callback.load_state(states[type(callback).__name__])
