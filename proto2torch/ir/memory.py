"""What Caffe's in-place layers leave in a blob's memory for the backward passes that read it.

An in-place layer writes over its bottom. A layer before it whose backward reads that memory finds the later content,
and its gradient is not the derivative: a ReLU behind which a Scale works in place takes the sign of the scaled values.
"""

from __future__ import annotations

from proto2torch.ir.graph import Net, Node, Value


def overwritten(net: Net) -> dict[int, Value]:
    """The last content of the memory that a node's backward reads, by node, where a later layer has changed it.

    Only nodes that run backward count, and only where the change makes a difference to them.
    """
    last = {v.blob: v for node in net.nodes for v in node.outputs}
    chains: dict[str, list[Node]] = {}
    for node in net.nodes:
        for value in node.outputs[:1]:
            chains.setdefault(value.blob, []).append(node)
    found = {}
    for node in net.nodes:
        if not (node.outputs and node.needs_backward and any(node.propagate)):
            continue
        value = node.outputs[0]
        chain = chains[value.blob]
        later = [n for n in chain[chain.index(node) + 1 :] if n.op.overwrites()]
        reads = "top" in node.op.backward_reads or (node.op.inplace and "bottom" in node.op.backward_reads)
        if reads and any(not node.op.survives(n.op) for n in later):
            found[node.index] = last[value.blob]
    return found
