"""The graph of a net for looking at: read without torch, and where it can be without the databases that feed it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proto2torch import files
from proto2torch.ir import given
from proto2torch.ir.graph import Net, Shape
from proto2torch.ir.lower import lower, with_splits
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

_STATED = ("DummyData", "MemoryData", "WindowData")
"""Types whose shapes their own fields say."""

_SOURCES = {"Data": "data_param", "ImageData": "image_data_param", "HDF5Data": "hdf5_data_param"}
_COLOURS = 3


def graph(
    definition: NetDefinition,
    phase: str = "TEST",
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    registry: Mapping[str, Any] = REGISTRY,
) -> Net:
    """The graph of a net that has been read, in one phase.

    `shapes` are those of inputs and of data layers' tops, by blob. Where a database is not there and its shapes are not
    given, a batch is taken to be what batch_size, crop_size and mean_value say of it; the net's notes tell of it.
    torch is imported only where a database, or a user's class, must be opened for its shapes.
    """
    shapes = shapes or {}
    data = _Shapes(registry)
    selected = filters.select(definition, phase, level, stages)
    known = given.before(shapes, data)
    net = lower(with_splits(selected, definition, phase, registry, known), phase, registry, known, shapes)
    given.check_known(shapes, net)
    return replace(net, notes=(*net.notes, *dict.fromkeys(data.notes)))


class _Shapes:
    """The shapes of the tops of data layers, and what had to be assumed for them."""

    def __init__(self, registry: Mapping[str, Any]) -> None:
        self.registry = registry
        self.notes: list[str] = []

    def __call__(self, layer: LayerDefinition, phase: str) -> Sequence[Shape]:
        if layer.type in _STATED:
            stated: Sequence[Shape] = self.registry[layer.type](layer, phase).shapes()
            return stated
        found = None if _is_there(layer) else assumed(layer)
        if found is None:
            return _read(layer, phase, self.registry)
        blob, extents = layer.message.top[0], ",".join(map(str, found[0]))
        self.notes.append(
            f"{layer.where()}: {_source(layer)!r} is not there: its batches are taken to be {found[0]}, as batch_size "
            f"and transform_param say; --shape {blob}={extents} says it otherwise"
        )
        return found


def assumed(layer: LayerDefinition) -> list[Shape] | None:
    """What the fields of a Data or ImageData layer say of its tops: (batch_size, C, crop_size, crop_size) and
    (batch_size). C is the number of mean values, 1 for gray images, else 3. None where no field says the extent."""
    if layer.type not in ("Data", "ImageData"):
        return None
    message = getattr(layer.message, _SOURCES[layer.type])
    transform = layer.message.transform_param
    extent = (transform.crop_size,) * 2
    if not transform.crop_size and layer.type == "ImageData":
        extent = (message.new_height, message.new_width)
    if not (all(extent) and message.batch_size and layer.message.top):
        return None
    gray = transform.force_gray or (layer.type == "ImageData" and not message.is_color)
    channels = 1 if gray else max(_COLOURS if len(transform.mean_value) < 2 else 0, len(transform.mean_value))
    tops: list[Shape] = [(message.batch_size, channels, *extent)]
    return tops + [(message.batch_size,)] * (len(layer.message.top) - 1)


def _source(layer: LayerDefinition) -> str:
    field = _SOURCES.get(layer.type)
    return str(getattr(layer.message, field).source) if field else ""


def _is_there(layer: LayerDefinition) -> bool:
    source = _source(layer)
    beside = layer.source.path if layer.source else None
    return bool(source) and os.path.exists(files.resolve(source, beside))


def _read(layer: LayerDefinition, phase: str, registry: Mapping[str, Any]) -> Sequence[Shape]:
    from proto2torch import data

    return data.shapes_in(registry, layer, phase)
