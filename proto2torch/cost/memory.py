"""The memory that a training takes: parameters, gradients, the rule's history, and what a forward keeps for backward.

An estimate, made from shapes alone. What it leaves out is what nobody can know before a run: the workspace of cuDNN's
algorithms, the allocator's rounding, and the driver's own few hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from proto2torch.cost.rows import BYTES, batch, bytes_of
from proto2torch.ir.graph import Net, Node, Value
from proto2torch.ir.layout import restrided

HISTORY = {"SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2}
"""Arrays of a parameter's size that each rule keeps (`Rule.slots` of solvers/)."""

_INDEX = 8  # bytes of torch's int64
_MAX = 0  # PoolMethod
_SUM = 1  # EltwiseOp

_KEEPS_NO_BOTTOM = frozenset(
    {
        *("ReLU", "Sigmoid", "TanH", "ELU", "Exp", "Softmax", "SoftmaxWithLoss", "Dropout", "Bias", "Concat", "Slice"),
        *("Split", "Flatten", "Reshape", "Reduction", "Tile", "Crop", "BatchReindex", "Filter", "Silence"),
    }
)
"""Types whose gradient needs nothing of what they read; any other's code keeps it."""

_KEEPS_TOP = frozenset(("ReLU", "Sigmoid", "TanH", "ELU", "Exp", "Softmax", "MVN"))
"""Types whose torch code keeps what it makes."""

_KEEPS_AS_MUCH = frozenset(("LRN", "SoftmaxWithLoss"))
"""Types that keep another array of the bottom's size: LRN's scale, a loss's log-probabilities."""

_PER_STEP = {"LSTM": 9, "RNN": 3}
"""Arrays of a recurrent layer's top that its steps keep: gates, states and what they are activated to."""


@dataclass(frozen=True)
class Memory:
    """The memory of one training step, in bytes."""

    parameters: int
    """Learnable blobs and statistics."""
    gradients: int
    """One for each blob that learns."""
    history: int
    """What the solver's rule remembers of each blob that learns."""
    activations: int
    """What the forward keeps for the backward, inputs among it."""
    passing: int
    """The most that one layer's own forward or backward needs beside all that: the gradients of its tops and bottoms,
    or tops that nothing keeps."""
    batch: int | None
    """The number of items that `activations` and `passing` are for; None where the inputs do not agree on it."""

    @property
    def fixed(self) -> int:
        """What no batch size changes."""
        return self.parameters + self.gradients + self.history

    @property
    def total(self) -> int:
        return self.fixed + self.activations + self.passing

    def at(self, batch: int) -> int:
        """The total for another batch size, to which activations are proportional.

        Raises:
            ValueError: the net has no one batch size.
        """
        if not self.batch:
            raise ValueError(f"the inputs of the net have no common batch size. Received: {batch}")
        return self.fixed + -(-(self.activations + self.passing) * batch // self.batch)

    def fitting(self, available: int, iter_size: int = 1) -> tuple[int, int] | None:
        """The largest batch_size that fits, and the iter_size with which it sums the gradient of as many items as this
        batch with `iter_size` does: `(64, 4)` for a batch of 256. None where not even one item fits.

        Batch sizes that divide the number of items are taken, so that an iteration stays what it was.
        """
        items = (self.batch or 0) * iter_size
        sizes = (n for n in range(self.batch or 0, 0, -1) if items % n == 0)
        found = next((n for n in sizes if self.at(n) <= available), None)
        return None if found is None else (found, items // found)


def estimate(net: Net, rule: str = "SGD") -> Memory:
    """The memory of one training step of `net`, with the rule of a solver `type`, in float32.

    parameters: every blob once. gradients: the blobs that learn. history: HISTORY[rule] arrays for each of those.
    activations: each value once that autograd keeps, in place or not, for torch's modules keep what their gradient
    reads: a convolution its bottom, a ReLU its top, max pooling its bottom and int64 indices; and the batch, twice
    where the net lays it out channels_last.

    Raises:
        ValueError: a rule that Caffe does not have.
    """
    if rule not in HISTORY:
        raise ValueError(f"the rules are {', '.join(HISTORY)}. Received: {rule!r}")
    owners = list(net.owners)
    learned = sum(prod(p.blob.shape) for p in owners if p.requires_grad) * BYTES
    root = _roots(net)
    saved = {root.get(v, v) for node in net.nodes for v in _kept(node)}
    kept = saved | set(net.inputs)
    copies = [v for v in restrided(net) if v in saved and v.shape[1] > 1]
    extra = sum(map(_extra, net.nodes)) + sum(map(bytes_of, copies))
    return Memory(
        sum(prod(p.blob.shape) for p in owners) * BYTES,
        learned,
        learned * HISTORY[rule],
        sum(map(bytes_of, kept)) + extra,
        max((_passing(node, kept, root) for node in net.nodes), default=0),
        batch(net),
    )


def _roots(net: Net) -> dict[Value, Value]:
    """The value whose memory a view of it shares: Split, Flatten, Reshape."""
    root: dict[Value, Value] = {}
    for node in net.nodes:
        if node.op.shares_memory():
            root.update((v, root.get(node.inputs[0], node.inputs[0])) for v in node.outputs)
    return root


def _kept(node: Node) -> Iterator[Value]:
    """The values that a node's gradient reads."""
    if not node.needs_backward:
        return
    sum_of_all = node.type == "Eltwise" and node.op.p.operation == _SUM
    if node.type not in _KEEPS_NO_BOTTOM and not sum_of_all:
        yield from node.inputs
    if node.type in _KEEPS_TOP:
        yield from node.outputs[:1]


def _extra(node: Node) -> int:
    """The bytes that a node's gradient reads beside bottoms and tops."""
    if not node.needs_backward:
        return 0
    if node.type in _KEEPS_AS_MUCH:
        return bytes_of(node.inputs[0])
    if node.type == "Pooling" and node.op.p.pool == _MAX:
        return prod(node.outputs[0].shape) * _INDEX
    if node.type == "Dropout" and node.op.phase == "TRAIN":
        return prod(node.inputs[0].shape)  # a byte an element
    return _PER_STEP.get(node.type, 0) * bytes_of(node.outputs[0]) if node.outputs else 0


def _passing(node: Node, kept: set[Value], root: dict[Value, Value]) -> int:
    """What a node needs while it works: forward the bottoms and tops that nothing keeps, backward the gradients of
    both."""
    if node.op.shares_memory():
        return 0
    touched = (*node.inputs, *node.outputs)
    forward = sum(bytes_of(v) for v in touched if root.get(v, v) not in kept)
    learning = [v for v, wanted in zip(node.inputs, node.propagate, strict=True) if wanted]
    backward = sum(map(bytes_of, (*learning, *node.outputs))) if node.needs_backward else 0
    return max(forward, backward)
