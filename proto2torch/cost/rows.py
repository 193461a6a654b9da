"""The cost of a net layer by layer: parameters, multiply-adds, and the memory of what each layer makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from proto2torch.ir.graph import Net, Node, Shape, Value

BYTES = 4
"""Of a float32."""


@dataclass(frozen=True)
class Row:
    """One layer."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[tuple[str, Shape], ...]
    """Name and shape of each blob that it makes."""
    parameters: int
    """Elements of its learnable blobs; one that is shared counts for its owner alone."""
    shared: int
    """Elements of its learnable blobs that another layer owns."""
    statistics: int
    """Elements of the blobs that no rule updates: a BatchNorm's mean, variance and factor."""
    multiply_adds: int
    """Of a forward of the whole batch, as `layers.base.Layer.multiply_adds` counts them: the products of filters and
    matrices. A multiplication with the addition behind it is one; they are half of the floating point operations."""
    activation_bytes: int
    """Of the tops that take memory of their own in float32: not in place, nor where a top is its bottom's memory."""
    line: int | None
    """Of the prototxt."""


@dataclass(frozen=True)
class Totals:
    """A whole net; the fields are those of a row."""

    parameters: int
    statistics: int
    multiply_adds: int
    activation_bytes: int


def rows(net: Net) -> list[Row]:
    """One row a layer, in order, without the Split layers that Caffe inserts."""
    copied = {v: node.inputs[0] for node in net.nodes if _inserted(node) for v in node.outputs}
    return [row_of(node, copied) for node in net.nodes if not _inserted(node)]


def totals(net: Net) -> Totals:
    """The sums of the rows."""
    made = rows(net)
    return Totals(
        sum(row.parameters for row in made),
        sum(row.statistics for row in made),
        sum(row.multiply_adds for row in made),
        sum(row.activation_bytes for row in made),
    )


def batch(net: Net) -> int | None:
    """The number of items a forward takes: the first extent that all inputs have; None where there is none."""
    sizes = {value.shape[0] for value in net.inputs if value.shape}
    return sizes.pop() if len(sizes) == 1 else None


def own_memory(node: Node) -> tuple[Value, ...]:
    """The tops of a node for which memory is taken: none in place, nor of a layer whose top is its bottom's own."""
    if node.op.shares_memory():
        return ()
    within = {value.blob for value in node.inputs}
    return tuple(value for value in node.outputs if value.blob not in within)


def bytes_of(value: Value) -> int:
    """Of a blob in float32."""
    return prod(value.shape) * BYTES


def _inserted(node: Node) -> bool:
    """Whether it is a Split: copies that are no copies, of which a prototxt knows nothing."""
    return bool(node.op.alias)


def row_of(node: Node, copied: Mapping[Value, Value] | None = None) -> Row:
    """The row of one node; `copied` gives the value that each copy of one stands for."""
    copied = copied or {}
    learned = [p for p in node.params if not p.blob.frozen]
    return Row(
        node.name,
        node.type,
        tuple(copied.get(value, value).blob for value in node.inputs),
        tuple((value.blob, value.shape) for value in node.outputs),
        sum(prod(p.blob.shape) for p in learned if p.owner is None),
        sum(prod(p.blob.shape) for p in learned if p.owner is not None),
        sum(prod(p.blob.shape) for p in node.params if p.blob.frozen and p.owner is None),
        node.op.multiply_adds(*(value.shape for value in node.inputs)),
        sum(map(bytes_of, own_memory(node))),
        node.definition.where().line,
    )
