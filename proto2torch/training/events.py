"""What a training tells of itself: the figures of a display, of a test; and all of them together, its history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class History:
    """Every display and every test of a training, in order."""

    displays: list[Displayed] = field(default_factory=list)
    tests: list[Tested] = field(default_factory=list)

    def add(self, event: Event) -> None:
        if isinstance(event, Tested):
            self.tests.append(event)
        else:
            self.displays.append(event)

    def series(self, name: str, net: str = "train") -> list[tuple[int, float]]:
        """(iteration, value) of one figure: `series("lr")`, `series("accuracy", "test0")`."""
        events: Sequence[Event] = self.displays if net == "train" else self.tests
        found = ((e.iteration, dict(e.figures()).get(name)) for e in events if e.net == net)
        return [(iteration, value) for iteration, value in found if value is not None]
