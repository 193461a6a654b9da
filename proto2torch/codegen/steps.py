"""What a module does, step by step, free of the IR: each step calls a module or a function on values and gives values.

The writer of `forward` and the pass that folds repeated blocks both work on steps; a folded block is a step again.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from proto2torch.codegen.call import Call, parse
from proto2torch.codegen.expression import fill
from proto2torch.ir.graph import Net, Node, Value
from proto2torch.layers.base import Code


@dataclass(frozen=True)
class Step:
    """One call in `forward`, and the module that it needs."""

    index: int
    """Of its node; a block has its first node's."""
    name: str
    """The layer's name in the prototxt, or what a block is called after."""
    type: str
    forward: str | None
    """The template of `Code.forward`; None where nothing is computed."""
    module: str | None
    """The constructor of its module."""
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    leads: bool = False
    """Source reads best when a line begins here."""
    takes_nested: bool = True
    """Whether its first input may be written within its line."""
    foldable: bool = True
    """Whether it may move into a block: its module is nobody else's."""
    call: Call | None = None
    """The constructor of a block, taken apart."""
    parts: tuple[tuple[int, str], ...] = ()
    """The nodes whose modules lie in it, each with the way there from its own attribute: `.0.branch2a`."""
    inner: tuple[Step, ...] = ()
    """The steps that a block, or a row of blocks, stands for."""

    @cached_property
    def constructor(self) -> Call | None:
        """The constructor taken apart."""
        return self.call or (parse(self.module) if self.module is not None else None)

    @property
    def keeps_shape(self) -> bool:
        """Whether it gives one value of the shape of the one that it takes: it normalises or rectifies."""
        return len(self.inputs) == len(self.outputs) == 1 and self.inputs[0].shape == self.outputs[0].shape

    @cached_property
    def label(self) -> Hashable:
        """What two steps share that are one but for numbers, names and what they work on."""
        call = self.constructor
        return self.type, self.forward, call.label if call else None, len(self.outputs)


def steps_of(
    net: Net,
    codes: Mapping[int, Code],
    needed: Collection[int],
    tied: Collection[int],
    remembered: Collection[Value] = (),
) -> list[Step]:
    """The steps of the nodes in `needed`, with the copies that Split layers make resolved to what they copy.

    `tied` are the nodes whose modules share a blob with another's, `remembered` the values that others'
    gradients read: those stay where they are.
    """
    root = roots(net)
    learning: set[Value] = set()  # the values that autograd follows; only those are worth a detach
    steps = []
    for node in net.nodes:
        if node.index not in needed or node.op.alias:
            continue
        inputs = tuple(root.get(v, v) for v in node.inputs)
        code = codes[node.index]
        forward = None if node.op.data or node.type == "Input" else code.forward
        forward = _detached(node, forward, inputs, learning)
        if node.op.differentiable and (learning.intersection(inputs) or any(p.requires_grad for p in node.params)):
            learning.update(node.outputs)
        fixed = node.index in tied or any(v in remembered for v in node.outputs)
        if forward is not None:
            steps.append(_step(node, code, forward, inputs, fixed))
    return steps


def roots(net: Net) -> dict[Value, Value]:
    """The value that each top of a Split layer stands for."""
    root: dict[Value, Value] = {}
    for node in net.nodes:
        if node.op.alias:
            root.update((v, root.get(node.inputs[0], node.inputs[0])) for v in node.outputs)
    return root


def _detached(node: Node, forward: str | None, inputs: Sequence[Value], learning: set[Value]) -> str | None:
    """The template with `.detach()` behind each input that gets no gradient from this node but else would."""
    if forward is None or not node.needs_backward:
        return forward
    cut = {i for i, v in enumerate(inputs) if not node.propagate[i] and v in learning}
    if not cut:
        return forward
    return fill(forward, [f"{{{i}}}.detach()" if i in cut else f"{{{i}}}" for i in range(len(inputs))], "{me}")


def _step(node: Node, code: Code, forward: str, inputs: tuple[Value, ...], tied: bool) -> Step:
    plain = not (code.stateful or code.constants or code.imports or tied)
    return Step(
        node.index,
        node.name,
        node.type,
        forward,
        code.module,
        inputs,
        node.outputs,
        leads=node.op.starts_statement,
        takes_nested=len(inputs) == 1 or node.op.loss or not node.op.differentiable,
        foldable=plain and bool(node.outputs),
        parts=((node.index, ""),) if code.module is not None else (),
    )
