"""Which run a snapshot is of, and what that run trained: a later one is told where it goes on from another's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from proto2torch.errors import SolverError, Where, shown_path
from proto2torch.net import Net
from proto2torch.prototxt.text import dump
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.training import snapshot
from proto2torch.training.net_log import resolved

_LEARNING = (
    *("type", "base_lr", "lr_policy", "gamma", "power", "stepsize", "stepvalue", "stagelr", "stageiter"),
    *("plateau_winsize", "momentum", "momentum2", "rms_decay", "delta", "weight_decay", "regularization_type"),
    *("clip_gradients", "iter_size", "random_seed"),
)
"""The solver's fields that decide what is learned; others may change when a training goes on."""


@dataclass
class Lineage:
    """A run and what it trains. It stands in the `.resume` of each snapshot; a resumed training takes its run over."""

    type: str
    """The update rule."""
    fields: dict[str, str]
    """The solver's fields that decide what is learned, as text."""
    layers: dict[str, str]
    """The layers of the train net as text, by name."""
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    """Tells runs of one prefix apart."""

    @classmethod
    def of(cls, definition: SolverDefinition, net: Net) -> Lineage:
        """A run that begins."""
        message = definition.document.message
        given = {name: getattr(message, name) for name in _LEARNING}
        fields = {name: _text(value) for name, value in given.items()}
        return cls(definition.type, fields, {layer.name: dump(layer) for layer in resolved(net).layer})

    def kept(self) -> dict[str, Any]:
        """What goes into the `.resume`."""
        return asdict(self)

    def go_on(self, kept: Mapping[str, Any] | None, path: str, say: Callable[[str], None]) -> None:
        """Take over the run of the snapshot `path`, whose `.resume` has `kept`; `say` is told what is not as it was.

        Raises:
            SolverError: the snapshot is one of another update rule.
        """
        if kept is None:
            return
        if kept["type"] != self.type:
            message = f"it is the snapshot of a solver of type {kept['type']}. Received: a solver of type {self.type}"
            raise SolverError(message, where=Where(file=path), hint="its weights alone go into any solver: --weights F")
        changed = [*self._fields(kept["fields"]), *self._layers(kept["layers"])]
        if changed:
            say(f"warning: {shown_path(path)} was trained otherwise: {', '.join(changed)}")
        self.run = kept["run"]

    def _fields(self, before: Mapping[str, str]) -> Iterator[str]:
        for name, value in self.fields.items():
            if before.get(name, value) != value:
                yield f"{name} was {before[name]} and is {value}"

    def _layers(self, before: Mapping[str, str]) -> Iterator[str]:
        kinds = {
            "is new": [name for name in self.layers if name not in before],
            "is gone": [name for name in before if name not in self.layers],
            "is another": [name for name, text in self.layers.items() if before.get(name, text) != text],
        }
        for what, names in kinds.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            if names:
                yield f"layer {names[0]!r}{more} {what}"


def newest(prefix: str, say: Callable[[str], None]) -> str | None:
    """The snapshot to resume from: the newest complete one of the run that began last, else the newest of all.

    `say` is told of those that are passed over, and where it is not of the run that began last.
    """
    run = last_run(prefix)
    found = snapshot.newest(prefix, say, run)
    if found is not None and run is not None and snapshot.run_of(found) != run:
        say(f"warning: {found} is of an earlier run: the last one, {prefix}_run, has left no complete snapshot")
    return found


def last_run(prefix: str) -> str | None:
    """The run that the records `{prefix}_run` are of, where they are there."""
    try:
        with open(f"{prefix}_run/run.json", encoding="utf-8") as file:
            run = json.load(file).get("run")
    except (OSError, ValueError, AttributeError):
        return None
    return run if isinstance(run, str) else None


def _text(value: Any) -> str:
    """A field's value as a prototxt would have it; of a repeated field all values."""
    if isinstance(value, (str, int)):
        return str(value)
    return f"{value:.7g}" if isinstance(value, float) else " ".join(map(_text, value)) or "none"
