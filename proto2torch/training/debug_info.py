"""The lines of `debug_info`: mean absolute values of every blob and its diff, as Caffe logs them layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from proto2torch.ir.graph import Node, Param, Value
from proto2torch.net import Net
from proto2torch.solvers.numbers import shown
from proto2torch.training.log import Log
from proto2torch.training.watch import Watch

Edge = tuple[Any, int]
"""An operation of autograd's graph and the number of its output: where a tensor's gradient arrives."""


class DebugInfo:
    """Runs a net forward and backward as it would run anyway, and logs what each layer has made.

    Every figure is fetched from the device. A bottom's diff is what the layer itself gives, before that of the blob's
    other readers is added. Where no weight lies before a bottom autograd computes no diff, and no line is written.
    """

    def __init__(self, net: Net, log: Log, watch: Watch | None = None) -> None:
        """`watch` is given the inputs of each forward."""
        self._net = net
        self._log = log
        self._watch = watch
        self._values: dict[Value, Tensor] = {}

    def forward(self) -> dict[str, Tensor]:
        """The outputs of the net's next batch; the net's `loss` is the objective of this forward."""
        outputs, self._values = self._net.observed()
        if self._watch:
            last = {value.blob: tensor for value, tensor in self._values.items()}
            self._watch.inputs = tuple(last[name] for name in self._net.arguments)
        for node in self._net.graph.nodes:
            for value in node.outputs:
                self._say("Forward", node, f"top blob {value.blob} data", self._values[value])
            for param, blob in zip(node.params, self._net.blobs.of(node), strict=True):
                self._say("Forward", node, f"param blob {param.name or param.index} data", blob.tensor)
        return outputs

    def backward(self) -> None:
        """The backward of the objective; gradients are added to those of the parameters."""
        net = self._net
        diffs = {id(t): torch.zeros_like(t) if t.grad is None else t.grad.clone() for t in _weights(net)}
        running = [node for node in reversed(net.graph.nodes) if node.needs_backward]
        caught = [_Caught(node, self._values, [blob.tensor for blob in net.blobs.of(node)]) for node in running]
        self._values = {}
        if net.loss.requires_grad:
            net.loss.backward()  # type: ignore[no-untyped-call]
        for node, gradients in zip(running, caught, strict=True):
            self._diffs(node, gradients, diffs)
        self._all()

    def _diffs(self, node: Node, caught: _Caught, diffs: Mapping[int, Tensor]) -> None:
        """The lines of one layer, whose gradients are added to the `diffs` of its weights."""
        for i, value in enumerate(node.inputs):
            diff = caught.bottoms.get(i)
            if node.propagate[i] and diff is not None:
                self._say("Backward", node, f"bottom blob {value.blob} diff", diff)
        for param, blob in zip(node.params, self._net.blobs.of(node), strict=True):
            diff = caught.weights.pop(id(blob.tensor), None)
            if diff is not None:
                diffs[id(blob.tensor)].add_(diff)
            if param.requires_grad or _is_statistics(node, param):
                self._say("Backward", node, f"param blob {param.index} diff", diffs[id(blob.tensor)])

    def _say(self, way: str, node: Node, what: str, value: Tensor) -> None:
        mean = value.detach().abs().sum(dtype=torch.float32).item() / max(value.numel(), 1)
        self._log(f"    [{way}] Layer {node.name}, {what}: {shown(mean)}")

    def _all(self) -> None:
        """The norms of all weights and of all their diffs."""
        tensors = _weights(self._net)
        grads = [tensor.grad for tensor in tensors if tensor.grad is not None]
        l1, l2 = ((_norm(tensors, order), _norm(grads, order)) for order in (1, 2))
        text = f"L1 norm = ({l1[0]}, {l1[1]}); L2 norm = ({l2[0]}, {l2[1]})"
        self._log(f"    [Backward] All net params (data, diff): {text}")


class _Caught:
    """The gradients that one layer gives to its bottoms and its weights, noted while a backward runs.

    They are caught where the operations of the layer, found from its tops back to its bottoms, hand them on.
    """

    def __init__(self, node: Node, values: Mapping[Value, Tensor], weights: Sequence[Tensor]) -> None:
        self.bottoms: dict[int, Tensor] = {}
        self.weights: dict[int, Tensor] = {}
        """By the id of the weight."""
        tops = {edge for value in node.outputs if (edge := _edge(values[value])) is not None}
        ends: dict[Edge, list[_Note]] = {}
        for i, value in enumerate(node.inputs):
            edge = _edge(values[value])
            if edge in tops:  # a top is the bottom itself
                values[value].register_hook(_Note(self.bottoms, i))  # type: ignore[no-untyped-call]
            elif edge is not None:
                ends.setdefault(edge, []).append(_Note(self.bottoms, i))
        for weight in weights:
            edge = _edge(weight)
            if edge is not None:
                ends.setdefault(edge, []).append(_Note(self.weights, id(weight)))
        _watch({operation for operation, _ in tops}, ends)


class _Note:
    """Adds the gradients that it is called with under a key."""

    def __init__(self, into: dict[int, Tensor], key: int) -> None:
        self._into, self._key = into, key

    def __call__(self, gradient: Tensor) -> None:
        known = self._into.get(self._key)
        self._into[self._key] = gradient.detach().clone() if known is None else known + gradient


def _watch(tops: Collection[Any], ends: Mapping[Edge, list[_Note]]) -> None:
    """Let what lies between `tops` and `ends` tell `ends` what it hands on to them.

    Where one blob is several bottoms of a layer, its places in the layer's operations are theirs in order.
    """
    beyond = {operation for operation, _ in ends}
    waiting = [operation for operation in tops if operation not in beyond]
    seen = set(waiting)
    for operation in waiting:
        for place, edge in enumerate(operation.next_functions):
            if edge in ends:
                notes = ends[edge]
                operation.register_hook(_handing_on(place, notes.pop(0) if len(notes) > 1 else notes[0]))
            elif edge[0] is not None and edge[0] not in beyond and edge[0] not in seen:
                seen.add(edge[0])
                waiting.append(edge[0])


def _handing_on(place: int, note: _Note) -> Callable[[Sequence[Tensor | None], Any], None]:
    """The hook of an operation that notes its gradient for the input at `place`."""

    def hook(gradients: Sequence[Tensor | None], _: Any) -> None:
        gradient = gradients[place]
        if gradient is not None:
            note(gradient)

    return hook


def _edge(tensor: Tensor) -> Edge | None:
    """Where a tensor's gradient arrives; None where there is none."""
    if not tensor.requires_grad:
        return None
    edge = get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _weights(net: Net) -> list[Tensor]:
    return [blob.tensor for blob in net.learned]


def _is_statistics(node: Node, param: Param) -> bool:
    """Whether Caffe takes it for a weight that learns, because no `param` says otherwise: BatchNorm's statistics."""
    return param.blob.frozen and param.index >= len(node.definition.message.param)


def _norm(tensors: Sequence[Tensor], order: int) -> str:
    norms = torch._foreach_norm(list(tensors), order)
    return shown(torch.linalg.vector_norm(torch.stack(norms), order).item()) if norms else "0"
