"""Messages to IR: names resolved, shapes inferred, parameters shared, and what back-propagates decided, as Caffe does.

A net's problems are collected, so that one run shows them all: a layer that fails leaves its tops without a shape, and
layers that read those say nothing more about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from proto2torch.errors import NetError, Proto2TorchError, UnsupportedError, blaming, did_you_mean, raise_problems
from proto2torch.ir import layout
from proto2torch.ir.backward import Backward, mark_backward
from proto2torch.ir.graph import AUTOMATIC, Net, Node, Shape, Value
from proto2torch.ir.memory import shared
from proto2torch.ir.sharing import Sharing
from proto2torch.prototxt import forks, splits
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

DataShapes = Callable[[LayerDefinition, str], Sequence[Shape]]

_MOST_ELEMENTS = 2**31 - 1  # Caffe counts a blob's elements in an int
_MOST_AXES = 32


def lower(
    net: NetDefinition,
    phase: str,
    registry: Mapping[str, Any],
    data_shapes: DataShapes,
    input_shapes: Mapping[str, Shape] | None = None,
) -> Net:
    """The IR of a net that has been filtered for `phase` and has its splits.

    `registry` gives the layer class of a type, `data_shapes` the shapes of a data layer's tops, batch first;
    `input_shapes` replaces those of the net's inputs, by blob name.
    Raises what is wrong with the net: one NetError, or all of them as Problems.
    """
    lowering = _Lowering(phase, registry, data_shapes, input_shapes or {}, net)
    lowering.taken.update(top for definition in net.layers for top in definition.message.top)
    for definition in net.layers:
        lowering.layer(definition)
    lowering.problems += lowering.sharing.problems
    if not lowering.problems:
        backward = mark_backward(lowering.nodes, net.force_backward, refuse=phase == "TRAIN")
        lowering.problems += backward.problems
    raise_problems(lowering.problems)
    finished = lowering.finish(net, backward)
    raise_problems(list(shared(finished)))
    return finished


def with_splits(
    selected: NetDefinition,
    whole: NetDefinition | None,
    phase: str,
    registry: Mapping[str, Any],
    data_shapes: DataShapes,
) -> NetDefinition:
    """A filtered net with Caffe's Split layers, ready for `lower`.

    Raises what is wrong with how its layers are wired, and together with it what is wrong with the layers themselves,
    as far as their shapes are known.
    """
    try:
        return splits.insert(selected, whole)
    except Proto2TorchError as error:
        lowering = _Lowering(phase, registry, data_shapes, {}, selected)
        for definition in selected.layers:
            lowering.layer(definition)
        raise_problems([*getattr(error, "problems", [error]), *lowering.problems])
        raise


class _Lowering:
    def __init__(
        self,
        phase: str,
        registry: Mapping[str, Any],
        data_shapes: DataShapes,
        input_shapes: Mapping[str, Shape],
        net: NetDefinition,
    ) -> None:
        self.phase, self.registry, self.data_shapes, self.input_shapes = phase, registry, data_shapes, input_shapes
        self.fork, self.told = net.fork, net.told
        self.problems: list[Proto2TorchError] = []
        self.notes: list[str] = []
        self.nodes: list[Node] = []
        self.blobs: dict[str, Value | None] = {}  # the last version of each blob; None where a layer failed
        self.taken: set[str] = set()  # the names of all blobs, later ones too
        self.read: set[Value] = set()
        self.weighted: set[Value] = set()  # what has a weight in the objective
        self.sharing = Sharing()

    def layer(self, definition: LayerDefinition) -> None:
        """Append the node of one layer, or note what is wrong with it."""
        message = definition.message
        try:
            blamed = self.registry.get(definition.type, type(self))
            with blaming(blamed, definition.where()):
                op = self._op(definition)
            inputs = [self.blobs.get(name) for name in message.bottom]
            known = [value for value in inputs if value is not None]
            if len(known) < len(inputs):
                raise _Unknown
            with blaming(blamed, definition.where()):
                self._append(op, tuple(known))
        except Proto2TorchError as error:
            self.problems.extend(getattr(error, "problems", None) or [error])
            self._forget(message)
        except _Unknown:
            self._forget(message)

    def _forget(self, message: Any) -> None:
        self.blobs.update(dict.fromkeys(message.top))

    def _op(self, definition: LayerDefinition) -> Any:
        cls = self.registry.get(definition.type)
        if cls is None:
            raise UnsupportedError(
                f"layer type {definition.type!r} is not supported",
                where=definition.where("type"),
                hint=did_you_mean(definition.type, self.registry),
            )
        cls = cls.chosen(definition, self.told.get(definition.name, self.fork))
        raise_problems(forks.refused(definition.message, definition.where, {*cls.fork_fields, cls.param}))
        self.notes += _unread(definition, cls)
        op = cls(definition, self.phase)
        self._check_count(op, "bottom", len(definition.message.bottom), op.bottoms)
        self._check_count(op, "top", len(definition.message.top), op.tops_allowed)
        op.check()
        return op

    @staticmethod
    def _check_count(op: Any, kind: str, count: int, allowed: tuple[int, int | None]) -> None:
        fewest, most = allowed
        if kind == "top" and op.loss:
            fewest = 0  # an automatic top takes the place of one that is not listed
        if count < fewest or (most is not None and count > most):
            wanted = f"{fewest}" if fewest == most else f"at least {fewest}" if most is None else f"{fewest} to {most}"
            raise op.error(f"{op.type} takes {wanted} {kind}{'s' if most != 1 else ''}. Received: {count}", kind)

    def _append(self, op: Any, inputs: tuple[Value, ...]) -> None:
        shapes = [value.shape for value in inputs]
        tops = self.data_shapes(op.definition, op.phase) if op.data else op.shapes(*shapes)
        if not inputs:
            tops = [self.input_shapes.get(n, s) for n, s in zip(op.definition.message.top, tops, strict=True)]
        outputs = self._outputs(op, inputs, [_checked(op, tuple(shape)) for shape in tops])
        index = len(self.nodes)
        params = self.sharing.params(index, op, op.blobs(*shapes))
        weights = _loss_weights(op, len(outputs))
        self.weighted.update(v for v, weight in zip(outputs, weights, strict=True) if weight)
        self.read.update(inputs)
        self.nodes.append(Node(index, op, inputs, outputs, params, weights, (False,) * len(inputs), False))

    def _outputs(self, op: Any, inputs: tuple[Value, ...], shapes: Sequence[Shape]) -> tuple[Value, ...]:
        named = list(op.definition.message.top)
        names = named or [self._automatic() for _ in range(op.loss)]
        outputs = []
        for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            inplace = i < len(inputs) and inputs[i].blob == name
            if inplace and not op.allows_inplace:
                raise op.error(f"{op.type} cannot work in place: give its top another name than {name!r}", f"top[{i}]")
            if inplace and inputs[i] in self.weighted:
                raise op.refuse(
                    f"{op.type} works in place on {name!r}, which has a weight in the objective: Caffe adds what it "
                    "was, and takes the gradient of what it becomes",
                    f"top[{i}]",
                    "give its top another name",
                )
            before = self.blobs.get(name)
            value = Value(name, before.version + 1 if before else 0, shape)
            outputs.append(value)
            if named:
                self.blobs[name] = value
        return tuple(outputs)

    def _automatic(self) -> str:
        """A name for the top of a loss that lists none; no other blob has it."""
        name = AUTOMATIC
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name

    def finish(self, net: NetDefinition, backward: Backward) -> Net:
        """The frozen net, once every node is known to be right."""
        nodes = [
            replace(node, params=self.sharing.settle(node.params), propagate=tuple(bottoms), needs_backward=need)
            for node, bottoms, need in zip(self.nodes, backward.bottom_need, backward.layer_need, strict=True)
        ]
        if net.force_backward:
            nodes = [_trained(node) for node in nodes]
        memory_format = layout.memory_format(nodes, net.style.memory_format)
        nodes = [replace(node, memory_format=memory_format, plain=net.style.plain) for node in _pin(nodes)]
        last = [v for v in self.blobs.values() if v is not None and v not in self.read]
        outputs = sorted(last, key=lambda v: v.blob.encode())
        inputs = [v for n in nodes if n.op.data or n.type == "Input" for v in n.outputs]
        notes = (*net.notes, *self.notes, *_doubled(nodes))
        return Net(net.name, self.phase, tuple(nodes), tuple(inputs), tuple(outputs), net.path, notes, memory_format)


def _trained(node: Node) -> Node:
    """The node with a gradient for every parameter, as force_backward asks."""
    return replace(node, params=tuple(replace(p, requires_grad=not p.blob.frozen) for p in node.params))


class _Unknown(Exception):
    """A bottom whose layer has failed already."""


def _unread(definition: LayerDefinition, cls: Any) -> list[str]:
    """A note for each message of another type that the layer has."""
    given = [field.name for field, _ in definition.message.ListFields() if field.name.endswith("_param")]
    strange = [name for name in given if name != cls.param and name not in cls.messages]
    return [f"{definition.where(name)}: Caffe ignores {name!r} of a layer of this type" for name in strange]


def _doubled(nodes: Sequence[Node]) -> list[str]:
    """A note for each layer that learns and has the name of an earlier one."""
    names: set[str] = set()
    doubled = []
    for node in nodes:
        if node.params and node.name in names:
            where = node.definition.where("name")
            doubled.append(f"{where}: an earlier layer has this name too: Caffe copies weights to that one")
        names.update([node.name] if node.params else [])
    return doubled


def _checked(op: Any, shape: Shape) -> Shape:
    count = 1
    for extent in shape:
        count *= extent
    if any(extent < 0 for extent in shape) or count > _MOST_ELEMENTS or len(shape) > _MOST_AXES:
        raise op.error(f"a blob of shape {shape} cannot be: at most 2^31 - 1 elements and 32 axes, none negative")
    return shape


def _loss_weights(op: Any, tops: int) -> tuple[float, ...]:
    given = list(op.definition.message.loss_weight)
    if not given:
        return tuple(1.0 if op.loss and i == 0 else 0.0 for i in range(tops))
    if len(given) != tops:
        raise NetError(
            f"loss_weight must be given once for each top, {tops} times. Received: {len(given)}",
            where=op.definition.where("loss_weight"),
        )
    return tuple(given)


def _pin(nodes: list[Node]) -> list[Node]:
    """Mark the nodes from which every path of extents ends in a layer that fixes them."""
    pinned: set[Value] = set()
    result = []
    for node in reversed(nodes):
        through = any(v in pinned for v in node.outputs)
        result.append(replace(node, pinned=through))
        if node.op.fixes_extent() or (through and not node.op.absorbs_extent()):
            pinned.update(node.inputs)
    return result[::-1]
