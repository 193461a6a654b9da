"""The shapes that a layer declares are those that its code gives, for drawn geometries of every registered type."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from proto2torch.codegen.build import build
from proto2torch.codegen.source import generate
from proto2torch.errors import NetError
from proto2torch.ir.graph import Net, Shape
from proto2torch.layers import REGISTRY

from . import geometries_boxes, geometries_forks, geometries_labels  # noqa: F401  (they register more)
from .geometries import GEOMETRIES
from .nets import Case

COMPUTES_NOTHING = {"Input", "Silence", "HDF5Output"}
"""Types whose layers stand for what is there already, or give nothing."""

ITS_OWN = {"Python"}
"""Types whose shapes the user's own code decides."""

AS_MANY_AS_FOUND = {"DetectionEvaluate", "DetectionOutput", "Proposal", "YoloDetectionOutput", "Yolov3DetectionOutput"}
"""Types whose tops have as many rows as the values of the bottoms make; what is declared is Caffe's first guess."""


def drawn_types() -> list[str]:
    left_out = COMPUTES_NOTHING | ITS_OWN | AS_MANY_AS_FOUND
    return sorted(t for t, cls in REGISTRY.items() if not cls.data and t not in left_out)


def test_every_type_has_a_strategy() -> None:
    assert set(drawn_types()) <= set(GEOMETRIES)


@pytest.mark.parametrize("kind", drawn_types())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_formula_gives_the_shape_that_the_code_gives(kind: str, data: st.DataObject) -> None:
    case: Case = data.draw(GEOMETRIES[kind])
    try:
        graph = case.graph()
    except NetError:
        reject()  # a geometry that cannot be; that most of them can is checked by hypothesis
    module = module_of(graph, case)
    assert run_shapes(module, graph, case) == expected(graph)
    try:
        larger = case.graph([grown(shape, case.bottoms[0]) for shape in case.bottoms])
    except NetError:
        return  # this batch does not fit the layer's own fields
    if blob_shapes(larger) == blob_shapes(graph):
        assert run_shapes(module, larger, case) == expected(larger), "the batch size is written into the code"


def grown(shape: Shape, first: Shape) -> Shape:
    """The shape with one item more, where it has as many as the first bottom."""
    return (shape[0] + 1, *shape[1:]) if shape and shape[:1] == first[:1] else shape


def module_of(graph: Net, case: Case) -> torch.nn.Module:
    module = build(generate(graph))
    return module.to_empty(device="cpu") if case.values else module


def run_shapes(module: torch.nn.Module, graph: Net, case: Case) -> dict[str, Shape]:
    device = "cpu" if case.values else "meta"
    inputs = [
        torch.full(v.shape, case.values.get(i, 0.0), device=device)
        for i, v in enumerate(graph.inputs)
        if is_read(graph, v)
    ]
    result = module(*inputs)
    outputs = [v.blob for v in graph.outputs]
    tops = result if isinstance(result, dict) else {outputs[0]: result}
    return {name: tuple(tops[name].shape) for name in outputs if name.startswith("t")}


def is_read(graph: Net, value: object) -> bool:
    return any(value in node.inputs for node in graph.nodes)


def expected(graph: Net) -> dict[str, Shape]:
    return {v.blob: v.shape for v in graph.outputs if v.blob.startswith("t")}


def blob_shapes(graph: Net) -> list[Shape]:
    return [p.blob.shape for node in graph.nodes for p in node.params]
