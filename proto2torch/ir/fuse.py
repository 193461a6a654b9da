"""BatchNorm and the Scale behind it as one node, where a TEST net normalises with its running statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from proto2torch.ir.graph import Net, Node, Value


def fuse(net: Net, keep: Collection[Value] = ()) -> Net:
    """Join each BatchNorm with its Scale. A value in `keep`, or one that another layer reads too, keeps them apart."""
    readers = Counter(v for node in net.nodes for v in node.inputs)
    reader = {v: node for node in net.nodes for v in node.inputs}
    kept = set(keep) | set(net.outputs)
    nodes: dict[int, Node] = {node.index: node for node in net.nodes}
    for node in net.nodes:
        if not hasattr(node.op, "joined") or node.index not in nodes:
            continue
        value = node.outputs[0]
        scale = reader.get(value)
        if scale is None or readers[value] != 1 or value in kept:
            continue
        op = node.op.joined(scale)
        if op is not None:
            nodes[node.index] = replace(
                node,
                op=op,
                outputs=scale.outputs,
                params=node.params + scale.params,
                loss_weights=scale.loss_weights,
                needs_backward=node.needs_backward or scale.needs_backward,
            )
            del nodes[scale.index]
    return replace(net, nodes=tuple(nodes.values()))
