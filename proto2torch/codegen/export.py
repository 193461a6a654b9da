"""What `export` prints: the source of a prototxt, from reading it to the last line, without importing torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proto2torch.codegen.source import Source, generate
from proto2torch.ir import given
from proto2torch.ir.deploy import without_files, without_labels
from proto2torch.ir.graph import Net, Shape
from proto2torch.ir.lower import DataShapes, lower, with_splits
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters
from proto2torch.prototxt.document import NetDefinition


def export(
    definition: NetDefinition,
    data_shapes: DataShapes,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    keep_labels: bool = False,
    fold: bool = True,
    registry: Mapping[str, Any] = REGISTRY,
    shapes: Mapping[str, Shape] | None = None,
) -> Source:
    """The source of a net that has been read.

    In phase TEST the losses and accuracies that read a data layer's label are left out, so that the module goes from
    data to scores; `keep_labels` keeps them. With `fold`, repeated blocks become classes. `data_shapes` gives the
    shapes of a data layer's tops, batch first; `registry` the layer types that may occur, Python layers too where it is
    that of `python_layers.registry`. `shapes` are those of inputs and of data layers' tops by blob, in place of what
    the file or `data_shapes` says.
    """
    shapes = shapes or {}
    selected = filters.select(definition, phase, level, stages)
    known = given.before(shapes, data_shapes)
    lowered = lower(with_splits(selected, definition, phase, registry, known), phase, registry, known, shapes)
    given.check_known(shapes, lowered)
    graph = without_files(lowered)
    if phase == "TEST" and not keep_labels:
        graph = without_labels(graph)
    return replace(generate(graph, fold=fold), notes=(*graph.notes, *_left_out(lowered)))


def _left_out(net: Net) -> list[str]:
    """A note for each layer that the net runs and its source does not."""
    writers = [node.definition for node in net.nodes if node.type == "HDF5Output"]
    return [
        f"{writer.where()}: the source writes no file; what this layer alone reads is an output" for writer in writers
    ]
