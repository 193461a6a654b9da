"""The filters of a net as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np

from proto2torch.cost.reading import graph
from proto2torch.cost.table import extents
from proto2torch.errors import NetError, Proto2TorchError, WeightsError, Where, did_you_mean
from proto2torch.ir.graph import Shape
from proto2torch.prototxt import filters as phases
from proto2torch.prototxt.document import LayerDefinition, NetDefinition
from proto2torch.view.grids import enlarged, normalized, square, table
from proto2torch.view.sheet import Panel

TYPES = ("Convolution", "Deconvolution", "InnerProduct")
_TARGET, _MOST = 900, 12  # pixels of a picture's longer side, and of the side of a weight
_COLOURS = 3


def panels(
    definition: NetDefinition,
    weights: Mapping[str, Sequence[Any]],
    layers: Sequence[str] = (),
    *,
    rgb: bool = False,
    count: int = 48,
    level: int = 0,
    stages: Sequence[str] = (),
) -> list[Panel]:
    """A panel for each of `layers`, or for the first convolution, of weights as `read_weights` gives them.

    The first convolution's filters over three channels are colours, blue first as Caffe's images are (red first with
    `rgb`), in a square grid; so are those over one channel, in gray. Of other layers each row is a filter and each
    column a channel, `count` of either at most. An InnerProduct over planes is like a convolution that covers them;
    over a vector it is one picture of its matrix.

    Raises:
        NetError: a layer that the net does not have, or that has no filters. WeightsError: the file has none for it.
    """
    selected = phases.select(definition, "TEST", level, stages).layers
    having = {layer.name: layer for layer in selected if layer.type in TYPES}
    first = next((layer.name for layer in selected if layer.type == "Convolution"), None)
    names = list(layers) or [name for name in (first or next(iter(having), None),) if name]
    if not names:
        raise NetError(f"the net has no layer with filters: {', '.join(TYPES)}", where=Where(file=definition.path))
    wanted = [_layer(name, having, definition) for name in names]
    dense = any(layer.type == "InnerProduct" for layer in wanted)  # whose planes only the net's shapes tell
    shapes = _bottoms(definition, level, stages) if dense else {}
    made = []
    for layer in wanted:
        array = _weight(layer, weights, shapes.get(layer.name))
        made.append(_panel(layer, array, layer.name == first, rgb, count))
    return made


def _layer(name: str, having: Mapping[str, LayerDefinition], definition: NetDefinition) -> LayerDefinition:
    if name in having:
        return having[name]
    other = next((layer for layer in definition.layers if layer.name == name), None)
    if other is not None:
        raise NetError(f"it has no filters; {', '.join(TYPES)} have", where=other.where())
    hint = did_you_mean(name, having) or f"those with filters are {', '.join(having)}"
    raise NetError(f"the net has no layer {name!r}", where=Where(file=definition.path), hint=hint)


def _bottoms(definition: NetDefinition, level: int, stages: Sequence[str]) -> dict[str, Shape]:
    """The shape of each layer's bottom, as far as it is known without its data."""
    with suppress(Proto2TorchError):
        return {n.name: n.inputs[0].shape for n in graph(definition, level=level, stages=stages).nodes if n.inputs}
    return {}


def _weight(layer: LayerDefinition, weights: Mapping[str, Sequence[Any]], bottom: Shape | None) -> Any:
    """The first blob of a layer: (filters, channels, height, width), or a matrix (outputs, inputs)."""
    blobs = weights.get(layer.name, ())
    if not blobs:
        hint = did_you_mean(layer.name, weights) or f"it has them for {', '.join(list(weights)[:8])}"
        raise WeightsError("the file has no weights for it", where=layer.where(), hint=hint)
    array: Any = np.asarray(blobs[0])
    if layer.type != "InnerProduct":
        if array.ndim != 4:
            raise NetError(
                f"only filters over planes can be drawn. Received: a blob of {array.shape}", where=layer.where()
            )
        return array
    matrix = array.reshape(array.shape[-2:]) if array.ndim >= 2 else array.reshape(1, -1)
    if layer.message.inner_product_param.transpose:
        matrix = matrix.T
    planes = bottom[1:] if bottom is not None and len(bottom) == 4 else ()
    if planes and prod(planes) == matrix.shape[1] and prod(planes[1:]) > 1:
        return matrix.reshape(-1, *planes)
    return matrix


def _panel(layer: LayerDefinition, array: Any, is_first: bool, rgb: bool, count: int) -> Panel:
    title = f"{layer.name}  {extents(array.shape)}"
    if array.ndim == 2:
        part = array[: count * 16, : count * 16]
        shown = "" if part.shape == array.shape else f"  (the first {extents(part.shape)})"
        return Panel(f"{title}{shown}", enlarged(normalized(part), _TARGET, _MOST))
    channels = array.shape[1]
    if channels == 1 or (channels == _COLOURS and is_first):
        planes = normalized(array).transpose(0, 2, 3, 1)
        planes = planes[..., 0] if channels == 1 else planes if rgb else planes[..., ::-1]
        return Panel(title, enlarged(square(planes), _TARGET, _MOST))
    part = array[:count, :count]
    shown = "" if part.shape == array.shape else f"  (the first {len(part)} by {part.shape[1]})"
    planes = normalized(part).reshape(-1, *part.shape[2:])
    return Panel(f"{title}{shown}, a row a filter", enlarged(table(planes, part.shape[1]), _TARGET, _MOST))
