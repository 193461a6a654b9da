"""The net between prototxt and source: nodes and values, frozen. In-place tops have become new versions of a blob."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from proto2torch.prototxt.document import LayerDefinition

Shape = tuple[int, ...]

AUTOMATIC = "(automatic)"
"""The name Caffe gives to the top of a loss layer that lists none; where there are several, how theirs begin."""


@dataclass(frozen=True)
class Value:
    """One version of a blob: each in-place layer makes the next one."""

    blob: str
    version: int
    shape: Shape


@dataclass(frozen=True)
class Blob:
    """A learnable blob as its layer declares it, in Caffe's stored order and shape."""

    key: str
    """The attribute of the layer's torch module that holds it: `weight`."""
    shape: Shape
    filler: Any = None
    """Caffe's FillerParameter message; None fills with zeros, as Caffe's default filler does."""
    transposed: bool = False
    """Whether torch keeps the transpose of what Caffe stores (InnerProduct with `transpose`)."""
    frozen: bool = False
    """Statistics, not weights (BatchNorm): torch keeps a buffer, and no rule updates it."""
    initial: Callable[[], Any] | None = None
    """Gives its first values, in place of a filler (Python layers)."""
    draws: int = 1
    """How often Caffe fills it; all but the first values are thrown away (LSTM: once a time step)."""


@dataclass(frozen=True)
class Param:
    """A learnable blob in its net: who owns it and how it learns (facts 1.8)."""

    node: int
    """Index of the node it belongs to."""
    index: int
    blob: Blob
    name: str
    """The sharing name of `param { name }`; empty where it has none."""
    lr_mult: float
    decay_mult: float
    requires_grad: bool
    owner: tuple[int, int] | None = None
    """(node, index) of the blob it shares; None where it is the owner."""


@dataclass(frozen=True)
class Node:
    """One layer in its place: what it reads, what it makes, and what its gradient is worth."""

    index: int
    op: Any
    """The `layers.base.Layer` instance."""
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    params: tuple[Param, ...]
    loss_weights: tuple[float, ...]
    """One a top; 0 where the top is no part of the objective."""
    propagate: tuple[bool, ...]
    """One a bottom: whether Caffe computes its diff (facts 1.6)."""
    needs_backward: bool
    pinned: bool = False
    """Whether a later layer fixes the spatial extent (an InnerProduct's width), so that no other size can pass."""
    memory_format: str = "contiguous"
    """How its planes lie in memory, as the net's do."""
    plain: bool = False
    """Whether its code shall be stock torch where there is something faster of our own."""

    @property
    def name(self) -> str:
        return str(self.op.name)

    @property
    def type(self) -> str:
        return str(self.op.definition.type)

    @property
    def definition(self) -> LayerDefinition:
        definition: LayerDefinition = self.op.definition
        return definition


@dataclass(frozen=True)
class Term:
    """A weighted top: weight times the sum of its elements is part of the objective."""

    value: Value
    weight: float
    back_propagates: bool
    """Not where its layer runs no backward, nor where a reader's gradient takes the place of the weight."""


@dataclass(frozen=True)
class Net:
    """A net in execution order, which is file order."""

    name: str
    phase: str
    """TRAIN or TEST."""
    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    """Tops of Input and data layers, in order: the arguments of the module."""
    outputs: tuple[Value, ...]
    """Blobs that no layer reads, in the byte order of their names, as Caffe gives them."""
    path: str | None = None
    notes: tuple[str, ...] = ()
    """What Caffe drops or ignores in silence, for the user to read."""
    memory_format: str = "contiguous"
    """How planes lie in memory, by the name that torch has for it: contiguous or channels_last."""

    @property
    def owners(self) -> Iterator[Param]:
        """The learnable parameters, each once, in the order of first appearance: the order of a solver's history."""
        return (param for node in self.nodes for param in node.params if param.owner is None)

    @property
    def objective(self) -> Iterator[Term]:
        """The terms of the objective, in order."""
        overwritten = {
            v for n in self.nodes if n.needs_backward for v, p in zip(n.inputs, n.propagate, strict=True) if p
        }
        for node in self.nodes:
            for value, weight in zip(node.outputs, node.loss_weights, strict=True):
                if weight:
                    yield Term(value, weight, node.needs_backward and value not in overwritten)
