"""A solver as one file of PyTorch: what `export` prints of it."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from proto2torch import data
from proto2torch.codegen.names import prose
from proto2torch.ir import given
from proto2torch.ir.graph import Net, Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.solvers.sources import NetSource
from proto2torch.train_script import inputs, models, parameters, pieces, training, updates
from proto2torch.train_script.inputs import Feed
from proto2torch.train_script.models import Model, Models
from proto2torch.train_script.parts import Parts
from proto2torch.train_script.readers import Readers
from proto2torch.train_script.text import docstring
from proto2torch.training import nets, snapshot

_OWN = frozenset(
    (
        *("Training", "initialize", "learning_rate", "multipliers", "parameter_groups", "step", "objective", "show"),
        *("newest", "main", "Dummy", "prepare", "train_image", "test_image", "MAX_ITER", "DISPLAY", "ITER_SIZE"),
        *("AVERAGE_LOSS", "TEST_INTERVAL", "TEST_ITER", "SNAPSHOT", "PREFIX", "MEAN", "TRAIN_MEAN", "TEST_MEAN"),
    )
)
"""Names that the script itself defines, which no class of a net may have."""


_WITHOUT = {
    "debug_info": "the lines of each layer's values",
    "test_compute_loss": "the line with the loss of a test",
    "snapshot_diff": "the gradients in snapshots",
}
"""What the fields that a script does without would show."""


@dataclass(frozen=True)
class Script:
    """A training script."""

    text: str
    train: Model
    """The train net, whose keys are those of the weights that the script loads."""
    arrays: Mapping[str, Any] = field(default_factory=dict)
    """Mean images that lie beside the script, by file name."""
    notes: tuple[str, ...] = ()


def write(
    definition: SolverDefinition,
    *,
    stem: str | None,
    weights: bool = False,
    fold: bool = True,
    level: int | None = None,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
) -> Script:
    """The script of a solver; `stem` is its file's name, None where it goes to stdout.

    With `weights` it begins with those of a file `{stem}.safetensors` beside it. `shapes` gives those of data layers'
    tops whose databases need not be there. `level` and `stages` go to the train net alone.

    Raises:
        UnsupportedError: a part of the solver or of its nets that a script cannot have; other errors for what is wrong.
    """
    graphs = _graphs(definition, level, stages, shapes or {})
    feeds = [inputs.feeds(net, net.phase, _arrays(i)) for i, net in enumerate(graphs)]
    taken = {*_OWN, *pieces.IMPORTED, *pieces.pieces(), *dir(builtins)}
    classes = models.write(graphs[0], graphs[1:], fold=fold, taken=taken)
    return _Assembly(definition, classes, feeds, stem, weights).script()


def _arrays(net: int) -> str:
    return "train_data.npz" if net == 0 else "test_data.npz" if net == 1 else f"test{net - 1}_data.npz"


def _graphs(d: SolverDefinition, level: int | None, stages: Sequence[str], shapes: Mapping[str, Shape]) -> list[Net]:
    """The train net and the test nets."""
    known = given.before(shapes, _shapes)
    made = [_graph(d, d.train, "TRAIN", level, stages, known)]
    return [*made, *(_graph(d, source, "TEST", None, (), known) for source in d.tests)]


def _graph(
    d: SolverDefinition, source: NetSource, phase: str, level: int | None, stages: Sequence[str], shapes: Any
) -> Net:
    definition = nets.read(d, source)
    return models.lowered(definition, shapes=shapes, **nets.selection(definition, source, phase, level, stages))


def _shapes(layer: LayerDefinition, phase: str) -> Sequence[Shape]:
    feed = data.open(layer, phase)
    try:
        return feed.shapes
    finally:
        feed.close()


@dataclass(frozen=True)
class _Learning:
    """The optimizer's constructor, and the functions about the weights."""

    optimizer: str
    functions: tuple[str, ...]


def _left_out(d: SolverDefinition) -> list[str]:
    """A note for each field that changes no weight and that the script does without."""
    asked = [field for field in _WITHOUT if getattr(d.document.message, field)]
    return [f"{d.document.where(field)}: the script does without {field}, {_WITHOUT[field]}" for field in asked]


class _Assembly:
    """Puts the parts of one script together."""

    def __init__(
        self, d: SolverDefinition, classes: Models, feeds: list[list[Feed]], stem: str | None, weights: bool
    ) -> None:
        self.d, self.classes, self.feeds, self.stem, self.weights = d, classes, feeds, stem or "train", weights
        self.train, self.nets = classes.train, [classes.train, *classes.tests]
        self.readers = Readers(feeds, self.stem)

    def script(self) -> Script:
        d = self.d
        learning = self._learning()
        parts = self._parts(learning.optimizer)
        readers = self.readers.functions.values()
        own = [*learning.functions, *readers, *training.functions(parts), training.training(parts)]
        body = "\n\n\n".join(part for part in [*own, training.command_line(parts)] if part)
        constants = "\n".join([training.constants(parts), *self.readers.means])
        rest = [*self.readers.carried(body), body]
        imports = pieces.imports("\n".join([constants, *rest]), self.classes.imports)
        code = "\n\n\n".join([constants, *self.classes.runtime, *self.classes.classes, *rest])
        notes = dict.fromkeys([*_left_out(d), *(note for model in self.nets for note in model.graph.notes)])
        return Script(f"{self._docstring()}\n\n{imports}\n\n{code}\n", self.train, self.readers.arrays, tuple(notes))

    def _learning(self) -> _Learning:
        """How the weights begin, and how they are updated."""
        d, graph, source = self.d, self.train.graph, self.train.source
        found = parameters.multipliers(graph, source, d.clip_gradients is not None)
        grouped = not parameters.is_plain(found, d.weight_decay > 0)
        rules = updates.write(d, grouped)
        start = "" if self.weights else parameters.initializer(graph, source)
        groups = parameters.groups(found, rules.group_decay)
        over = "parameter_groups(self.net)" if grouped else "self.net.parameters()"
        return _Learning(rules.optimizer.replace(updates.PARAMETERS, over), (start, groups, *rules.functions))

    def _parts(self, optimizer: str) -> Parts:
        feeds = zip(self.feeds, self.nets, strict=True)
        return Parts(
            definition=self.d,
            prefix=snapshot.prefix(self.d),
            models=self.classes,
            batches=tuple(self.readers.batches(of_net, model) for of_net, model in feeds),
            optimizer=optimizer,
            weights=f"{self.stem}.safetensors" if self.weights else "",
        )

    # What it says of itself

    def _docstring(self) -> str:
        d, stem = self.d, prose(f"{self.stem}.py")
        solver = prose(PurePath(d.path).name) if d.path else "a solver"
        name = prose(self.train.graph.name) or "a net"
        usage = [(f"python {stem}", "begins"), (f"python {stem} --resume", "goes on from the newest snapshot")]
        usage.append((f"python {stem} --weights FILE", "begins with the weights of a .safetensors or a .pt"))
        width = max(len(command) for command, _ in usage)
        table = "\n".join(f"    {command.ljust(width)}  {what}" for command, what in usage)
        said = [f"Training of {name} as {solver} says: Caffe's updates in plain PyTorch.", table]
        reads = list(dict.fromkeys(feed.said for feeds in self.feeds for feed in feeds))
        said.append(f"Reads {prose(' and '.join(reads))}; --workers N reads with N processes.")
        every = f"Every {d.snapshot} updates, and at the end, it" if d.snapshot else "At the end it"
        said.append(
            f'{every} writes {prose(snapshot.prefix(d))}_iter_N.pt; torch.load(that)["model"] are the weights.'.replace(
                '"', "'"
            )
        )
        said.append(
            f"The weights begin as {prose(self.stem)}.safetensors has them."
            if self.weights
            else "The weights begin as Caffe's fillers draw them, from torch's random numbers in place of Caffe's."
        )
        said += list(dict.fromkeys(remark for feeds in self.feeds for feed in feeds for remark in feed.remarks))
        return "\n".join(docstring(said, 0))
