"""The classes of the train net and the test nets, which have one set of weights.

The train net stands as `export` prints it. A test net that has the same modules is a subclass with a forward of its
own; its BatchNorms are told to use the statistics that the training gathers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import PurePath
from typing import Any

from proto2torch.codegen.inline import closure
from proto2torch.codegen.inline import pieces as runtime_pieces
from proto2torch.codegen.layout import statement
from proto2torch.codegen.names import prose
from proto2torch.codegen.source import Source, generate
from proto2torch.errors import SolverError, UnsupportedError
from proto2torch.ir.deploy import without_files
from proto2torch.ir.graph import Net, Node, Param
from proto2torch.ir.lower import DataShapes, lower, with_splits
from proto2torch.layers import REGISTRY
from proto2torch.layers.batch_norm import BatchNorm
from proto2torch.prototxt import filters
from proto2torch.prototxt.document import NetDefinition
from proto2torch.train_script import segments
from proto2torch.train_script.text import docstring


@dataclass(frozen=True)
class Model:
    """One net: its graph, its file as `export` writes it, and the class that it has in the script."""

    graph: Net
    source: Source
    name: str
    switched: bool = False
    """Whether its BatchNorms must be told to use the gathered statistics."""


@dataclass(frozen=True)
class Models:
    """The train net, the test nets, and the source of all their classes."""

    train: Model
    tests: tuple[Model, ...]
    runtime: tuple[str, ...]
    """What they carry of runtime/."""
    classes: tuple[str, ...]
    imports: frozenset[str]


class _Following(BatchNorm):
    """A test net's BatchNorm, written as that of the train net."""

    @property
    def uses_global(self) -> bool:
        return bool(self.p.HasField("use_global_stats") and self.p.use_global_stats)

    is_fixed = False


def lowered(definition: NetDefinition, phase: str, level: int, stages: Sequence[str], shapes: DataShapes) -> Net:
    """The graph of a net; a test net's BatchNorms keep the sums that the train net gathers."""
    registry: Mapping[str, Any] = REGISTRY if phase == "TRAIN" else {**REGISTRY, "BatchNorm": _Following}
    selected = filters.select(definition, phase, level, stages)
    return without_files(lower(with_splits(selected, definition, phase, registry, shapes), phase, registry, shapes))


def write(train: Net, tests: Sequence[Net], *, fold: bool, taken: Collection[str]) -> Models:
    """The classes of a script in which the names `taken` mean other things.

    Raises:
        UnsupportedError: a test net learns what the train net does not have.
    """
    for folded in dict.fromkeys((fold, False)):
        sources = [generate(train, fold=folded), *(_test_source(net, folded) for net in tests)]
        strange = [_strange(train, sources[0], net, source) for net, source in zip(tests, sources[1:], strict=True)]
        if not any(strange):
            return _together([train, *tests], sources, taken)
    node = next(node for node in strange if node)
    raise UnsupportedError(
        "a test net has learnable blobs that the train net has not, or has in another shape; a training script"
        " cannot share them",
        where=node.definition.where(),
    )


def _test_source(net: Net, fold: bool) -> Source:
    returns = [(v.blob, v) for v in net.outputs]
    if not returns:
        raise SolverError(f"the test net {net.name!r} has no output to show")
    return generate(net, returns, fold=fold, whole=True)


def _strange(train: Net, source: Source, net: Net, test: Source) -> Node | None:
    """The first node of a test net whose blobs are not where the train net keeps its own."""
    known = {(node.name, p.index): (source.keys.get((p.node, p.index)), p.blob.shape) for node, p in _owners(train)}
    for node, param in _owners(net):
        here = test.keys.get((param.node, param.index)), param.blob.shape
        if known.get((node.name, param.index)) != here:
            return node
    return None


def _owners(net: Net) -> Iterator[tuple[Node, Param]]:
    """The learnable parameters with the nodes that they are of."""
    return ((node, param) for node in net.nodes for param in node.params if param.owner is None)


def _together(graphs: Sequence[Net], sources: Sequence[Source], taken: Collection[str]) -> Models:
    """All classes, each once: those of a test net that differ from the train net's get names of their own."""
    runtime: dict[str, None] = {}
    classes: dict[str, str] = {}
    found: list[Model] = []
    for i, (graph, source) in enumerate(zip(graphs, sources, strict=True)):
        definitions = segments.split(source.text)
        runtime |= dict.fromkeys(s.name for s in definitions if s.name in runtime_pieces())
        names: dict[str, str] = {}
        for segment in (s for s in definitions if s.name not in runtime_pieces()):
            base = found[0].name if found and segment.name == source.class_name else ""
            for name in _candidates(segment.name, "Test" if i else "Net", taken):
                text = segments.renamed(segment.text, {**names, segment.name: name})
                if base and text != classes.get(name):
                    text = _test_class(text, name, base, classes[base], graph, source)
                if classes.setdefault(name, text) == text:
                    break
            if name != segment.name:
                names[segment.name] = name
        main = names.get(source.class_name, source.class_name)
        found.append(Model(graph, source, main, bool(i) and _switched(graph)))
    imports = frozenset(line for source in sources for line in segments.import_lines(source.text))
    carried = tuple(piece.text for piece in closure(runtime))
    return Models(found[0], tuple(found[1:]), carried, tuple(classes.values()), imports)


def _candidates(name: str, suffix: str, taken: Collection[str]) -> Iterator[str]:
    """Names for a class: its own, then with a suffix, then numbered."""
    names = chain([name, f"{name}{suffix}"], (f"{name}{suffix}{n}" for n in count(2)))
    return (name for name in names if name not in taken)


def _test_class(text: str, name: str, base: str, train: str, graph: Net, source: Source) -> str:
    """A test net's class: by what it has of its own, where it has the modules and the inputs of the train net's."""
    theirs, ours = segments.methods(train), segments.methods(text)
    signatures = [method["forward"].splitlines()[0] for method in (theirs, ours)]
    same = theirs.get("__init__") == ours.get("__init__") and signatures[0] == signatures[1]
    head, body = ("\n".join(statement(f"class {name}({base}):", 0)), ours["forward"]) if same else text.split("\n", 1)
    given = ", ".join(prose(name) for name in source.returns)
    which = "The same net" if same else f"The net of {prose(PurePath(graph.path or '').name)}"
    return "\n".join([head, *docstring(f"{which} in phase {graph.phase}, which gives {given}.", 4), "", body])


def _switched(graph: Net) -> bool:
    """Whether a test net's BatchNorms use the gathered statistics because it is a test net."""
    norms = [node.op for node in graph.nodes if isinstance(node.op, BatchNorm)]
    explicit = [op for op in norms if op.p.HasField("use_global_stats")]
    fixed = [op for op in explicit if not op.p.use_global_stats]
    if fixed and len(explicit) < len(norms):
        raise fixed[0].refuse(
            "a training script cannot have test nets of which only some BatchNorms use the gathered statistics",
            "use_global_stats",
        )
    return len(explicit) < len(norms)
