"""What Caffe's in-place layers leave in a blob's memory for the backward passes that read it.

An in-place layer writes over its bottom. A layer before it whose backward reads that memory finds the later content,
and its gradient is not the derivative: a ReLU behind which a Scale works in place takes the sign of the scaled values.
"""

from __future__ import annotations

from collections.abc import Iterator

from proto2torch.errors import UnsupportedError
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


def shared(net: Net) -> Iterator[UnsupportedError]:
    """An error for each layer whose in-place work writes over a blob of another name, with which its own shares memory
    in Caffe (behind a Flatten), where that is still read: by a later layer, or in training by an earlier backward."""
    memory = _memory(net)
    for node in net.nodes:
        if not (node.inputs and node.op.inplace and node.op.overwrites()):
            continue
        written = node.inputs[0]
        held = memory[written]
        if held.blob == written.blob:
            continue
        reader = next((other for other in net.nodes if _loses(net, other, node, memory)), None)
        if reader is not None:
            yield node.op.refuse(
                f"works in place on {written.blob!r}, which in Caffe is the memory of {held.blob!r}: "
                f"layer {reader.name!r} would read there what this one has written",
                "top[0]",
                f"give its top another name than {written.blob!r}",
            )


def _memory(net: Net) -> dict[Value, Value]:
    """The value for which Caffe first allocated the memory of each value."""
    memory: dict[Value, Value] = {}
    for node in net.nodes:
        for i, value in enumerate(node.outputs):
            inplace = i < len(node.inputs) and node.inputs[i].blob == value.blob
            source = node.inputs[i] if inplace else node.inputs[0] if node.op.shares_memory() else None
            memory[value] = memory[source] if source is not None else value
    return memory


def _loses(net: Net, reader: Node, writer: Node, memory: dict[Value, Value]) -> bool:
    """Whether `reader` reads the memory that `writer` changes, under another name and after the change."""
    blob, held = writer.inputs[0].blob, memory[writer.inputs[0]]
    trains = net.phase == "TRAIN" and reader.needs_backward and any(reader.propagate)
    if reader.op.shares_memory():
        return False
    if any(memory[v] == held and v.blob != blob for v in reader.outputs):  # it made the memory, or worked in place
        reads = "top" in reader.op.backward_reads or (reader.op.inplace and "bottom" in reader.op.backward_reads)
        return trains and reads and not reader.op.survives(writer.op)
    if any(memory[v] == held and v.blob != blob for v in reader.inputs):
        learns = net.phase == "TRAIN" and reader.needs_backward
        return reader.index > writer.index or learns
    return False
