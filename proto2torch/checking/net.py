"""A net: whether it can be built, and what in it does not learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from proto2torch import data
from proto2torch.checking.findings import Findings
from proto2torch.ir.graph import Net, Node, Param, Value
from proto2torch.ir.lower import lower, with_splits
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters
from proto2torch.prototxt.document import NetDefinition

_WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct", "Embed", "LSTM", "RNN")
"""Types whose weights must not start at zero."""


def check(
    whole: NetDefinition,
    phase: str,
    findings: Findings,
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    pretrained: bool = True,
    allow_python_layers: bool = False,
) -> Net | None:
    """Build the graph of one phase and gather what is wrong with it; the graph, where nothing is.

    `pretrained` says whether the weights may come from elsewhere than fillers, `allow_python_layers` whether the
    modules of Python layers may be imported.
    """
    graph, registry = None, _registry(allow_python_layers)
    shapes = partial(data.shapes_in, registry)
    with findings.gathering():
        selected = filters.select(whole, phase, level, stages)
        graph = lower(with_splits(selected, whole, phase, registry, shapes), phase, registry, shapes, {})
    if graph is None:
        return None
    for note in graph.notes:
        if note not in [w.message for w in findings.warnings]:
            findings.warn(note)
    if phase == "TRAIN" and any(node.op.loss or any(node.loss_weights) for node in graph.nodes):
        _learning(graph, findings)
    if phase == "TRAIN" and not pretrained:
        _starting(graph, findings)
    _doubled_softmax(graph, findings)
    return graph


def _registry(allow_python_layers: bool) -> Mapping[str, Any]:
    if not allow_python_layers:
        return REGISTRY
    from proto2torch import python_layers

    return python_layers.registry()


def _learning(graph: Net, findings: Findings) -> None:
    """Losses that nothing reaches, weights that reach no loss, and rates that are zero everywhere."""
    learning = _after(graph, lambda node: any(_learns(p) for p in node.params))
    for term in graph.objective:
        maker = _maker(graph, term.value)
        if term.value not in learning:
            findings.warn(f"no weight that learns reaches the loss {term.value.blob!r}", maker.definition.where())
    owned = [p for node in graph.nodes for p in node.params if not p.blob.frozen]
    if owned and not any(_learns(p) for p in owned):
        node = next(n for n in graph.nodes if n.params)
        findings.warn("lr_mult is 0 for every weight of the net: nothing will learn", node.definition.where("param"))
        return
    reached = _before(graph, [term.value for term in graph.objective])
    for node in graph.nodes:
        if any(_learns(p) for p in node.params) and not any(v in reached for v in node.outputs):
            findings.warn("its weights reach no loss and will not learn", node.definition.where())


def _learns(param: Param) -> bool:
    return param.lr_mult != 0 and not param.blob.frozen


def _starting(graph: Net, findings: Findings) -> None:
    """Weights that start at zero, all outputs alike."""
    for node in graph.nodes:
        first = next((p for p in node.params if p.index == 0 and p.owner is None), None)
        if first is None or node.type not in _WEIGHTED or not _learns(first):
            continue
        if node.definition.message.blobs or not _is_zero(first.blob.filler):
            continue
        hint = 'give it a filler, as weight_filler { type: "xavier" }'
        findings.warn("its weights start at 0, so that all its outputs are alike", node.definition.where(), hint)


def _is_zero(filler: Any) -> bool:
    return filler is None or (filler.type == "constant" and filler.value == 0)


def _doubled_softmax(graph: Net, findings: Findings) -> None:
    softmax = _through_splits(graph, "Softmax")
    for node in graph.nodes:
        if node.type == "SoftmaxWithLoss" and node.inputs[0] in softmax:
            findings.warn(
                "SoftmaxWithLoss takes scores, and its bottom has been through a Softmax already",
                node.definition.where("bottom[0]"),
            )


def _through_splits(graph: Net, kind: str) -> set[Value]:
    found: set[Value] = set()
    for node in graph.nodes:
        if node.type == kind or (node.type == "Split" and node.inputs[0] in found):
            found.update(node.outputs)
    return found


def _after(graph: Net, begins: Any) -> set[Value]:
    """The values that depend on a node for which `begins` says yes."""
    found: set[Value] = set()
    for node in graph.nodes:
        if begins(node) or any(v in found for v in node.inputs):
            found.update(node.outputs)
    return found


def _before(graph: Net, values: Sequence[Value]) -> set[Value]:
    """The values that `values` depend on, themselves among them."""
    found = set(values)
    for node in reversed(graph.nodes):
        if any(v in found for v in node.outputs):
            found.update(node.inputs)
    return found


def _maker(graph: Net, value: Value) -> Node:
    return next(node for node in graph.nodes if value in node.outputs)


def feeders(graph: Net) -> Iterator[Node]:
    """The data layers that read records."""
    return (node for node in graph.nodes if node.op.data)
