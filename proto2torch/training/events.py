"""What a training tells of itself: the figures of a display, of a test; and all of them together, its history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from proto2torch.training.log import Figure


@dataclass(frozen=True)
class Displayed:
    """The figures of one display iteration."""

    iteration: int
    seconds: float
    """Since the solver was made."""
    loss: float
    """The smoothed objective."""
    lr: float
    outputs: tuple[Figure, ...]
    """Every element of every output of the train net, in order."""
    iterations_per_second: float
    images_per_second: float

    net = "train"

    def figures(self) -> Iterator[tuple[str, float]]:
        """Name and value of each figure; the smoothed objective is `smoothed_loss`."""
        yield "smoothed_loss", self.loss
        yield "lr", self.lr
        yield from named(self.outputs)


@dataclass(frozen=True)
class Tested:
    """The figures of one test of one net: means over its batches."""

    iteration: int
    seconds: float
    index: int
    """Which test net."""
    loss: float
    """The mean objective."""
    outputs: tuple[Figure, ...]

    @property
    def net(self) -> str:
        return f"test{self.index}"

    def figures(self) -> Iterator[tuple[str, float]]:
        """Name and value of each figure; the objective is `objective`."""
        yield "objective", self.loss
        yield from named(self.outputs)


Event = Displayed | Tested


def named(outputs: Sequence[Figure]) -> Iterator[tuple[str, float]]:
    """Each figure under its output's name; where an output has several elements, `name[2]`."""
    counts: dict[str, int] = {}
    for figure in outputs:
        counts[figure.name] = counts.get(figure.name, 0) + 1
    seen: dict[str, int] = {}
    for figure in outputs:
        place = seen[figure.name] = seen.get(figure.name, -1) + 1
        yield (figure.name if counts[figure.name] == 1 else f"{figure.name}[{place}]"), figure.value


def plain(event: Event) -> dict[str, Any]:
    """An event as plain values, ready for JSON."""
    outputs = dict(named(event.outputs))
    if isinstance(event, Tested):
        return {
            "event": "test",
            "iteration": event.iteration,
            "seconds": round(event.seconds, 3),
            "net": event.index,
            "objective": event.loss,
            "outputs": outputs,
        }
    return {
        "event": "display",
        "iteration": event.iteration,
        "seconds": round(event.seconds, 3),
        "loss": event.loss,
        "lr": event.lr,
        "iterations_per_second": event.iterations_per_second,
        "images_per_second": event.images_per_second,
        "outputs": outputs,
    }


class History(Sequence[Event]):
    """Every display and every test of a training, in the order in which they came."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    @property
    def displays(self) -> list[Displayed]:
        """The displays alone."""
        return [event for event in self._events if isinstance(event, Displayed)]

    @property
    def tests(self) -> list[Tested]:
        """The tests alone, one for each net of each test."""
        return [event for event in self._events if isinstance(event, Tested)]

    @overload
    def __getitem__(self, at: int) -> Event: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Event]: ...

    def __getitem__(self, at: int | slice) -> Event | Sequence[Event]:
        return self._events[at]

    def __len__(self) -> int:
        return len(self._events)

    def series(self, name: str, net: str = "train") -> list[tuple[int, float]]:
        """(iteration, value) of one figure: `series("lr")`, `series("accuracy", "test0")`."""
        found = ((e.iteration, dict(e.figures()).get(name)) for e in self._events if e.net == net)
        return [(iteration, value) for iteration, value in found if value is not None]
