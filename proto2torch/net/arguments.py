"""What a net is called with: inputs by position or by name, the rest from its data layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from proto2torch import data
from proto2torch.errors import DataError, NetError, did_you_mean
from proto2torch.ir.graph import Net
from proto2torch.net.built import Built

_TARGET = re.compile(r"Target (-?\d+) is out of bounds")  # what torch's losses say of a label


def collect(
    graph: Net,
    feeds: Mapping[str, data.AnyFeed],
    args: tuple[Any, ...],
    given: Mapping[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Every input by name; data layers give the next batch, made for `device`, of what is not given.

    Raises NetError for inputs that are unknown, missing or given twice.
    """
    names = [v.blob for v in graph.inputs]
    if args and len(args) != len(names):
        raise NetError(f"takes {len(names)} inputs, {', '.join(names)}. Received: {len(args)} by position")
    twice = [name for name, _ in zip(names, args, strict=False) if name in given]
    if twice:
        raise NetError(f"an input is given by position or by name. Received twice: {', '.join(twice)}")
    found = {**given, **dict(zip(names, args, strict=False))}
    for name in found:
        if name not in names:
            raise NetError(f"the net has no input {name!r}", hint=did_you_mean(name, names) or f"inputs: {names}")
    for layer, feed in feeds.items():
        tops = next(n for n in graph.nodes if n.name == layer and not n.inputs).outputs
        if any(v.blob not in found for v in tops):
            batch = data.next_batch(feed, device)
            found |= {v.blob: t for v, t in zip(tops, batch, strict=True) if v.blob not in found}
    missing = [name for name in names if name not in found]
    if missing:
        raise NetError(f"needs every input. Missing: {', '.join(missing)}")
    return found


def run(graph: Net, feeds: Mapping[str, data.AnyFeed], built: Built, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a net's module returns; a label out of range is named as its data layer names it."""
    try:
        return built.run(inputs)
    except DataError as error:
        target = _TARGET.search(error.message)
        names = list(_names(graph, feeds, inputs, float(target[1]))) if target else []
        if not names:
            raise
        raise DataError(f"{error.message}. The label is that of {', '.join(names)}") from error


def _names(graph: Net, feeds: Mapping[str, data.AnyFeed], inputs: Mapping[str, Tensor], value: float) -> Iterator[str]:
    """Where the labels of this value come from, as far as data layers gave them."""
    for node in graph.nodes:
        feed = feeds.get(node.name)
        if isinstance(feed, data.Feed) and len(node.outputs) == 2:
            labels = inputs[node.outputs[1].blob]
            places = (labels.view(len(labels), -1) == value).any(1).nonzero().flatten().tolist()
            yield from (name for place in places if (name := feed.name(place)) is not None)


def as_tensor(name: str, value: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    """An input on the net's device, in its parameters' type; arrays of any strides and byte order."""
    if isinstance(value, Tensor):
        tensor = value
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise NetError(f"input {name!r} must be numbers. Received: {type(value).__name__} of {array.dtype}")
        tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))
    return tensor.to(device, dtype, non_blocking=True)
