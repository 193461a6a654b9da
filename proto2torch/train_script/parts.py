"""What the loop of a script is written of, and the small lines that several of its writers need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proto2torch.layers.base import literal
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.train_script.models import Model, Models
from proto2torch.train_script.text import docstring


@dataclass(frozen=True)
class Batches:
    """What feeds one net: Datasets with the size of a batch, None where they give whole batches."""

    datasets: tuple[tuple[str, int | None], ...]
    places: tuple[int, ...] | None
    """Which of their tops the net reads, in its order; None for all as they come."""

    def lines(self, first: str) -> list[str]:
        """The body of a method that gives the batches from number `first` on."""
        names = ["data"] if len(self.datasets) == 1 else [f"data_{i}" for i in range(len(self.datasets))]
        lines = [f"{name} = {dataset}" for name, (dataset, _) in zip(names, self.datasets, strict=True)]
        made = [
            f"batches({name}, {size}, {f'{size} * ' if size else ''}{first}, self.device, self.workers)"
            for name, (_, size) in zip(names, self.datasets, strict=True)
        ]
        feed = made[0] if len(made) == 1 else f"joined({', '.join(made)})"
        if self.places is None:
            return [*lines, f"return {feed}"]
        return [*lines, f"feed = {feed}", f"return picked(feed, {list(self.places)})"]


@dataclass(frozen=True)
class Parts:
    """What the loop is written of."""

    definition: SolverDefinition
    prefix: str
    """What the names of snapshots begin with."""
    models: Models
    batches: tuple[Batches, ...]
    """Those of the train net and of each test net."""
    optimizer: str
    """The call that makes it."""
    weights: str
    """The file beside the script that it begins with; empty where it draws its weights."""

    @property
    def train(self) -> Model:
        return self.models.train

    @property
    def tests(self) -> tuple[Model, ...]:
        return self.models.tests

    @property
    def test_nets(self) -> list[str]:
        """The attributes of `Training` that hold the test nets."""
        return ["test_net"] if len(self.tests) == 1 else [f"test_net_{i}" for i in range(len(self.tests))]

    @property
    def accumulates(self) -> bool:
        """Whether an update takes several batches."""
        return self.definition.iter_size > 1

    @property
    def smooths(self) -> bool:
        """Whether the loss that is shown is a mean over iterations."""
        return self.definition.average_loss > 1 and self.definition.display > 0

    @property
    def remembers(self) -> bool:
        """Whether the nets keep something between forwards beside their weights."""
        return bool(self.train.source.stateful)


def method(signature: str, said: str, lines: Sequence[str]) -> str:
    """A method of a class."""
    doc = docstring(said, 8) if said else []
    return "\n".join([f"    def {signature}:", *doc, *(f"        {line}" for line in lines)])


def indented(lines: Sequence[str]) -> list[str]:
    """Lines within a block."""
    return [f"    {line}" for line in lines]


def as_dict(model: Model, call: str) -> str:
    """A call of a net that gives a dict: of one that gives a value alone, by its name."""
    names = model.source.returns
    return f"{{{literal(names[0])}: {call}}}" if len(names) == 1 else call


def listed(values: Sequence[Any]) -> str:
    """A list of literals, equal ones too."""
    return f"[{', '.join(literal(value) for value in values)}]"
