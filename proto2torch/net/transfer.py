"""Weights into a net and out of it: by layer name as Caffe keeps them, or by the keys of an exported module."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from proto2torch import weights
from proto2torch.errors import UsageError
from proto2torch.net import copying, states
from proto2torch.net.blobs import Blobs, LearnedBlob
from proto2torch.net.layouts import Layouts
from proto2torch.weights.stored import StoredWeights

Source = str | os.PathLike[str] | Mapping[str, Sequence[Any]] | StoredWeights
"""A file of weights, what has been read of one, or {layer: [arrays]}."""


def opened(source: Source) -> StoredWeights | str:
    """The weights by layer; of a state_dict's file its path.

    Raises WeightsError for a file that cannot be read, UsageError for what is no source.
    """
    if isinstance(source, (StoredWeights, Mapping)):
        return source if isinstance(source, StoredWeights) else weights.read_stored(source)
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"takes a file of weights, or arrays by layer. Received: {type(source).__name__}")
    path = os.fspath(source)
    return path if path.endswith(states.ENDINGS) else weights.read_stored(path)


def load(net: Layouts, source: Source, device: torch.device, *, strict: bool = False) -> weights.Report:
    """Put weights where they belong, and report what matched, what was left as it was and what was not used.

    Raises WeightsError with every blob that does not fit; then nothing has been loaded.
    """
    stored = opened(source)
    if isinstance(stored, str):
        return states.load(net, stored, device)
    params = net.blobs.by_layer(first=stored.path is not None and not stored.hdf5)  # of layers of one name
    shapes = {node.name: [b.shape for b in params.get(node.name, [])] for node in net.graph.nodes}
    report = weights.match(stored, shapes, strict=strict, shared=shared(net.blobs))
    copying.copy(_pairs(report, params), stored.read)
    return report


def _pairs(
    report: weights.Report, params: Mapping[str, Sequence[LearnedBlob]]
) -> Iterator[tuple[torch.Tensor, np.ndarray[Any, Any]]]:
    """Each blob in Caffe's shape, with its array; one that has another layout than its owner as the owner keeps it."""
    for layer, arrays in report.matched.items():
        for blob, array in zip(params[layer], arrays, strict=True):
            if array is None:
                continue
            view = blob.data
            if view.untyped_storage().data_ptr() == blob.tensor.untyped_storage().data_ptr():
                yield view, array
            else:
                yield blob.tensor, blob.from_caffe(array).cpu().numpy()


def messages(blobs: Blobs) -> Iterable[tuple[Any, list[Any]]]:
    """Each layer's message as Caffe stores it, with its blobs as arrays."""
    for node in blobs.graph.nodes:
        message = type(node.definition.message)()
        message.CopyFrom(node.definition.message)
        del message.blobs[:]
        message.phase = ("TRAIN", "TEST").index(node.op.phase)
        yield message, [blob.to_caffe(blob.tensor) for blob in blobs.of(node)]


def save(blobs: Blobs, path: str | os.PathLike[str], name: str, module: torch.nn.Module) -> None:
    """Write .caffemodel, .caffemodel.h5 or, by the keys of `module`, .safetensors: the ending of `path` decides."""
    weights.save(os.fspath(path), name, messages(blobs), module.state_dict(), shared(blobs))


def share(blobs: Blobs, theirs: dict[str, list[LearnedBlob]]) -> None:
    """Let another net's blobs stand for those of every layer of the same name; of layers of one name the first takes
    those of the last, as in Caffe."""
    for node in blobs.graph.nodes:
        others = theirs.pop(node.name, None) if node.params else None
        if others is None:
            continue
        if [b.shape for b in others] != [p.blob.shape for p in node.params]:
            raise node.op.error(f"cannot share blobs with a layer whose shapes are {[b.shape for b in others]}")
        for param, blob in zip(node.params, others, strict=True):
            if param.owner is None:
                blobs.replace((param.node, param.index), blob)


def shared(blobs: Blobs) -> list[tuple[str, int]]:
    """Where a blob is another layer's: layer and index."""
    return [(node.name, p.index) for node in blobs.graph.nodes for p in node.params if p.owner]
