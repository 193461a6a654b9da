"""A diagram of a net: the boxes and arrows that its prototxt says, and what its graph adds to them.

The graph of a net gives shapes, costs, source and blocks. Where it cannot be had, because a layer is of a type that is
not supported or a database that would say a shape is not there, the boxes and arrows are drawn all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proto2torch.codegen.steps import Step
from proto2torch.cost.reading import graph
from proto2torch.cost.rows import Row, row_of
from proto2torch.drawing import details
from proto2torch.drawing.diagram import Arrow, Block, Box, Diagram, Layer, kind_of
from proto2torch.errors import DataError, Proto2TorchError, UnsupportedError
from proto2torch.ir.graph import Net, Node, Shape
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

PHASES = ("TRAIN", "TEST")
_TOLD = ("TEST", "TRAIN")  # whose graph tells of a layer that both have


def build(
    definition: NetDefinition,
    phase: str = "ALL",
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    registry: Mapping[str, Any] = REGISTRY,
) -> Diagram:
    """The diagram of a net that has been read, in phase TRAIN, TEST or, as Caffe's draw_net does, in ALL of them.

    Raises what is wrong with the net, save layers that are not supported and data that is not there: the diagram is
    then without shapes, and its notes say why. Of ALL phases, one that is wrong is left out and noted where the other
    is a net: many are written for one phase alone.
    """
    chosen: tuple[str, ...] = PHASES if phase == "ALL" else (phase,)
    selected = {p: filters.select(definition, p, level, stages).layers for p in chosen}
    ids = {p: {id(layer) for layer in layers} for p, layers in selected.items()}
    if phase == "ALL" and ids["TRAIN"] == ids["TEST"]:
        chosen = ("TEST",)

    def lowered(p: str) -> Net:
        return graph(definition, p, level=level, stages=stages, shapes=shapes, registry=registry)

    found = _Found()
    chosen = found.gather({p: selected[p] for p in chosen}, lowered)
    boxes = _Boxes(found)
    for layer in definition.layers:
        phases = tuple(p for p in chosen if id(layer) in ids[p])
        if phases:
            boxes.add(layer, phases)
    notes = tuple(dict.fromkeys((*definition.notes, *found.notes)))
    made = tuple(map(Box, map(tuple, boxes.layers), boxes.blocks))
    return Diagram(definition.name, definition.path, chosen, made, boxes.arrows, tuple(found.blocks), notes)


@dataclass(frozen=True)
class _Told:
    """What a graph says of a layer."""

    row: Row
    torch: str
    block: int | None


@dataclass
class _Found:
    """What the graphs of a net's phases say of its layers, which are known by their identity."""

    told: dict[int, _Told] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def gather(
        self, selected: Mapping[str, Sequence[LayerDefinition]], lowered: Callable[[str], Net]
    ) -> tuple[str, ...]:
        """Gather what the graphs of the phases say; the phases that are nets, of which there must be one."""
        wrong: dict[str, Proto2TorchError] = {}
        for phase in (p for p in _TOLD if p in selected):
            try:
                self._look(phase, selected[phase], lowered)
            except Proto2TorchError as error:
                wrong[phase] = error
                self.notes.append(f"phase {phase} is left out: {_first_line(error)}")
        if len(wrong) == len(selected):
            raise next(iter(wrong.values()))
        return tuple(phase for phase in selected if phase not in wrong)

    def _look(self, phase: str, layers: Sequence[LayerDefinition], lowered: Callable[[str], Net]) -> None:
        """What the graph of one phase says; what an earlier phase said stays."""
        try:
            net = lowered(phase)
        except Proto2TorchError as error:
            problems = getattr(error, "problems", [error])
            if not all(isinstance(p, (DataError, UnsupportedError)) for p in problems):
                raise
            hint = "; --shape BLOB=N,C,H,W says them" if isinstance(problems[0], DataError) else ""
            self.notes.append(f"phase {phase} is drawn without shapes: {_first_line(problems[0])}{hint}")
            return
        self.notes += net.notes
        source, inside = None, dict[int, int]()
        try:
            source = details.Source(net)
            inside = inside if self.blocks else self._take_blocks(source)
        except UnsupportedError as error:
            self.notes.append(f"phase {phase} is drawn without source: {_first_line(error)}")
        for layer, node in _pairs(layers, net.nodes):
            lines, at = (source.lines(node), inside.get(source.written(node).index)) if source else ("", None)
            self.told.setdefault(id(layer), _Told(row_of(node), lines, at))

    def _take_blocks(self, source: details.Source) -> dict[int, int]:
        """The innermost block of each node that lies in one; adds the blocks to the diagram's."""
        inside: dict[int, int] = {}

        def walk(steps: Sequence[Step], parent: int | None) -> None:
            for step in steps:
                if step.inner:
                    about = step.call.function if step.call else f"{len(step.inner)} blocks"
                    self.blocks.append(Block(step.name, about, parent))
                    walk(step.inner, len(self.blocks) - 1)
                elif parent is not None:
                    inside[step.index] = parent

        walk(source.folded().steps, None)
        return inside


def _pairs(layers: Sequence[LayerDefinition], nodes: Sequence[Node]) -> Iterator[tuple[LayerDefinition, Node]]:
    """Each layer of a prototxt with its node; between them stand the Split layers that Caffe inserts."""
    rest = iter(layers)
    layer = next(rest, None)
    for node in nodes:
        if layer is not None and (node.name, node.type) == (layer.name, layer.type):
            yield layer, node
            layer = next(rest, None)


def _first_line(error: Proto2TorchError) -> str:
    return str(error).split("\n")[0]


class _Boxes:
    """Layers as they become boxes, in the order of the file, and who makes each blob in each phase."""

    def __init__(self, found: _Found) -> None:
        self.layers: list[list[Layer]] = []
        self.blocks: list[int | None] = []
        self._found = found
        self._makers: dict[tuple[str, str], int] = {}  # box by phase and blob
        self._shapes: dict[tuple[int, str], Shape | None] = {}
        self._arrows: dict[tuple[int, int, str], list[str]] = {}

    def add(self, definition: LayerDefinition, phases: tuple[str, ...]) -> None:
        """Add a layer: to the box that makes the blob it works on in place, else in a box of its own."""
        message, told = definition.message, self._found.told.get(id(definition))
        layer = _layer(definition, phases, told)
        box = self._host(message, phases)
        if box is None:
            box = len(self.layers)
            self.layers.append([])
            self.blocks.append(told.block if told else None)
            for p in phases:
                for blob in message.bottom:
                    if (p, blob) in self._makers:
                        self._arrows.setdefault((self._makers[p, blob], box, blob), []).append(p)
        self.layers[box].append(layer)
        self._makers.update(((p, blob), box) for p in phases for blob in message.top)
        self._shapes.update(((box, blob), shape) for blob, shape in layer.tops)

    def _host(self, message: Any, phases: Sequence[str]) -> int | None:
        """The box of a layer that works in place on one blob, where its phases agree on it."""
        if list(message.bottom) != list(message.top) or len(message.bottom) != 1:
            return None
        makers = {self._makers.get((p, message.bottom[0])) for p in phases}
        host = makers.pop() if len(makers) == 1 else None
        read = any(source == host and blob == message.bottom[0] for source, _, blob in self._arrows)
        return None if read else host

    @property
    def arrows(self) -> tuple[Arrow, ...]:
        return tuple(
            Arrow(source, target, blob, self._shapes.get((source, blob)), tuple(dict.fromkeys(phases)))
            for (source, target, blob), phases in self._arrows.items()
        )


def _layer(definition: LayerDefinition, phases: tuple[str, ...], told: _Told | None) -> Layer:
    message = definition.message
    return Layer(
        definition.name,
        definition.type,
        kind_of(definition.type),
        phases,
        details.summary(message),
        definition.where().line,
        details.text_of(message),
        told.torch if told else "",
        told.row.tops if told else tuple((blob, None) for blob in message.top),
        told.row.parameters if told else None,
        told.row.multiply_adds if told else None,
    )
