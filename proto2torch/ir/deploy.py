"""A net without what a module for use has no place for: losses, accuracies, the labels they read, files to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proto2torch.ir.graph import Net, Node, Value


def without_labels(net: Net) -> Net:
    """`net` less every layer that reads a data layer's label as a label, and what lies behind such a layer.

    What those layers read besides becomes output: the scores of a classifier. A net that has no such layer, or that
    would have nothing left, stays as it is.
    """
    labels = _labels(net)
    gone: set[Value] = set()
    kept: list[Node] = []
    for node in net.nodes:
        if any(v in gone or v in labels for v in node.inputs):
            gone.update(node.outputs)
        elif not set(node.outputs) <= labels or not node.outputs:
            kept.append(node)
    if len(kept) == len(net.nodes) or not any(n.inputs for n in kept):
        return net
    read = {v for n in kept for v in n.inputs}
    made = [v for n in kept if n.inputs for v in n.outputs]
    aliases = {v: n.inputs[0] for n in kept if n.op.alias for v in n.outputs}
    outputs = {aliases.get(v, v) for v in made if v not in read}
    outputs -= {v for n in kept if not n.op.alias for v in n.inputs}
    inputs = tuple(v for v in net.inputs if v not in labels)
    return replace(net, nodes=tuple(kept), inputs=inputs, outputs=tuple(sorted(outputs, key=lambda v: v.blob.encode())))


def without_files(net: Net) -> Net:
    """`net` less its HDF5Output layers and their copies of blobs; what was made for them alone becomes output."""
    kept = [node for node in net.nodes if node.type != "HDF5Output"]
    if len(kept) == len(net.nodes):
        return net
    root: dict[Value, Value] = {}
    for node in net.nodes:
        if node.op.alias:
            root.update((v, root.get(node.inputs[0], node.inputs[0])) for v in node.outputs)
    read = {root.get(v, v) for node in kept if not node.op.alias for v in node.inputs}
    written = {root.get(v, v) for node in net.nodes if node.type == "HDF5Output" for v in node.inputs}
    outputs = {*net.outputs, *(written - read - {*net.inputs})}
    nodes = _without_unread_copies(kept)
    return replace(net, nodes=nodes, outputs=tuple(sorted(outputs, key=lambda v: v.blob.encode())))


def _without_unread_copies(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes, of each Split only the tops that are read or weigh in the objective."""
    read = {v for node in nodes for v in node.inputs}
    kept = []
    for node in nodes:
        if node.op.alias:
            tops = [(v, w) for v, w in zip(node.outputs, node.loss_weights, strict=True) if v in read or w]
            if not tops:
                continue
            node = replace(node, outputs=tuple(v for v, _ in tops), loss_weights=tuple(w for _, w in tops))
        kept.append(node)
    return tuple(kept)


def _labels(net: Net) -> set[Value]:
    """The tops of data layers, and their copies, that are read as labels and as nothing else."""
    as_label: set[Value] = set()
    otherwise: set[Value] = set()
    for node in reversed(net.nodes):
        for i, value in enumerate(node.inputs):
            copies = node.op.alias and all(v in as_label and v not in otherwise for v in node.outputs)
            (as_label if copies or i in node.op.labels else otherwise).add(value)
    only = as_label - otherwise
    found = {v for n in net.nodes if n.op.data for v in n.outputs if v in only}
    for node in net.nodes:
        if node.op.alias and node.inputs[0] in found:
            found.update(node.outputs)
    return found
