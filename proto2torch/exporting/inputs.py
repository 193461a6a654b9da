"""Inputs and weights to compare two ways of computing a net by: drawn, always the same, and such as its layers take."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import torch
from torch import Tensor

from proto2torch.ir.graph import Net, Node, Shape, Value
from proto2torch.net.blobs import LearnedBlob

BATCH = 2  # a batch of one hides what a batch size does


def draw_inputs(graph: Net, names: Iterable[str], batch: int | None = BATCH) -> dict[str, Tensor]:
    """A tensor for each named input of `graph`: U[0, 1), or whole numbers for labels and indices.

    With `batch` the inputs that share the net's batch size have that many items, else as many as the net declares.
    """
    inputs = {v.blob: v for v in graph.inputs}
    sizes = {v.shape[0] for v in graph.inputs if v.shape}
    common = sizes.pop() if len(sizes) == 1 else None
    drawn = {}
    for name in names:
        shape = inputs[name].shape
        if batch is not None and shape and shape[0] == common:
            shape = (batch, *shape[1:])
        drawn[name] = _draw(graph, inputs[name], shape)
    return drawn


def draw_weights(blobs: Iterable[LearnedBlob]) -> None:
    """Fill blobs so that values neither vanish nor explode on their way through a deep net."""
    for blob in blobs:
        if blob.param.blob.initial is not None:
            continue  # a Python layer's own
        values = blob.tensor.detach()
        generator = _generator(f"{blob.layer}/{blob.index}", values.device)
        if values.ndim > 1:
            bound = (3 * values.shape[0] / max(1, values.numel())) ** 0.5
            values.uniform_(-bound, bound, generator=generator)
        else:
            low, high = (0.5, 1.5) if blob.param.blob.frozen else (0.2, 0.6)  # statistics; biases and slopes
            values.uniform_(low, high, generator=generator)


def _draw(graph: Net, value: Value, shape: Shape) -> Tensor:
    readers = [(node, i) for node, i in _readers(graph, value) if i in (*node.op.labels, *node.op.indices)]
    if not readers:
        return torch.rand(shape, generator=_generator(value.blob))
    if any(node.type == "Filter" for node, _ in readers):
        return torch.ones(shape)
    many = min(min([2, *node.inputs[0].shape[1:]]) for node, _ in readers)
    return (torch.arange(torch.Size(shape).numel()) % many).reshape(shape).float()


def _readers(graph: Net, value: Value) -> list[tuple[Node, int]]:
    """The layers that read a value, through copies of it too, and as which bottom."""
    found = []
    for node in graph.nodes:
        for i, bottom in enumerate(node.inputs):
            if bottom == value and node.op.alias:
                found += [reader for copy in node.outputs for reader in _readers(graph, copy)]
            elif bottom == value:
                found.append((node, i))
    return found


def _generator(name: str, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(zlib.crc32(name.encode("utf-8", "surrogateescape")))
