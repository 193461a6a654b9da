"""The lines that Caffe logs while it builds a net: its rules, its layers with their blobs' shapes, what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from proto2torch.ir.backward import mark_backward
from proto2torch.ir.graph import Node, Shape
from proto2torch.net import Net
from proto2torch.prototxt import filters, schema
from proto2torch.prototxt.document import NetDefinition
from proto2torch.prototxt.text import dump
from proto2torch.solvers.numbers import shown

_FLOAT = 4  # bytes
_WITH_A_SOFTMAX = ("SoftmaxWithLoss", "InfogainLoss")
"""Types that create a layer of their own name inside, which Caffe's log shows as one more."""


def lines(net: Net, whole: NetDefinition) -> Iterator[str]:
    """What Caffe logs of `net`, built from the layers of `whole` that its state selects (Caffe: net.cpp)."""
    yield from _rejections(whole, net.selected.state)
    yield f"Initializing net from parameters: \n{dump(resolved(net))}"
    count = 0
    for node in net.graph.nodes:
        yield from _created(node)
        for value, weight in zip(node.outputs, node.loss_weights, strict=True):
            yield f"Top shape: {_shape(value.shape)}"
            if weight:
                yield f"    with loss weight {shown(weight)}"
            count += prod(value.shape)
        yield f"Memory required for data: {count * _FLOAT}"
    needs = mark_backward(net.graph.nodes, force=False, refuse=False).layer_need  # Caffe logs it before it forces
    for node in reversed(net.graph.nodes):
        yield f"{node.name} {'needs' if needs[node.index] else 'does not need'} backward computation."
    for name in net.outputs:
        yield f"This network produces output {name}"
    yield "Network initialization done."


def resolved(net: Net) -> Any:
    """The net that was built, as a NetParameter: the layers that its state selects, upgraded, without blobs."""
    message = schema.new("NetParameter")
    message.name = net.name
    message.state.CopyFrom(net.selected.state)
    for layer in net.selected.layers:
        added = message.layer.add()
        added.CopyFrom(layer.message)
        del added.blobs[:]
    return message


def _created(node: Node) -> Iterator[str]:
    name, message = node.name, node.definition.message
    yield f"Creating layer {name}"
    if node.type == "Data":
        yield f"Opened {('leveldb', 'lmdb')[message.data_param.backend]} {message.data_param.source}"
    yield f"Creating Layer {name}"
    for value in node.inputs:
        yield f"{name} <- {value.blob}"
    for i, value in enumerate(node.outputs):
        in_place = i < len(node.inputs) and node.inputs[i].blob == value.blob
        yield f"{name} -> {value.blob}{' (in-place)' if in_place else ''}"
    if node.type == "Data":
        if message.transform_param.mean_file:
            yield f"Loading mean file from: {message.transform_param.mean_file}"
        yield f"output data size: {','.join(map(str, node.outputs[0].shape))}"
    if node.type in _WITH_A_SOFTMAX:
        yield f"Creating layer {name}"
    yield f"Setting up {name}"


def _shape(shape: Shape) -> str:
    """`4 3 (12)`: the extents and their product; `(1)` of a scalar."""
    return " ".join([*map(str, shape), f"({prod(shape)})"])


def _rejections(whole: NetDefinition, state: Any) -> Iterator[str]:
    """The condition of each rule that did not hold, up to the rule that decided."""
    for layer in whole.layers:
        for rule in layer.message.include or layer.message.exclude:
            unmet = filters.unmet(rule, state)
            if unmet is None:
                break
            yield f"{unmet} specified by a rule in layer {layer.name}"
