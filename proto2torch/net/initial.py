"""The values that a net starts with, drawn from one stream in Caffe's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch

from proto2torch.data import AnyFeed, Feed
from proto2torch.data.dummy_data import DummyFeed
from proto2torch.ir.graph import Net, Node, Param
from proto2torch.net.blobs import Blobs
from proto2torch.weights import blobproto, fillers, seeds
from proto2torch.weights.random import Stream


def fill(
    net: Net,
    blobs: Blobs,
    feeds: Mapping[str, AnyFeed],
    stream: Stream,
    device: torch.device,
    brought: Collection[str] = (),
) -> None:
    """Give every blob its memory on `device` and its first values, and every data layer its seeds.

    Layer by layer, blob by blob: a blob that shares another's values draws too, and what it drew is thrown away. The
    layers named in `brought` start at zero, without a draw: somebody brings their values.
    """
    names = Counter(node.name for node in net.nodes)
    for node in net.nodes:
        _seed(node, feeds, stream, net.phase)
        awaited = node.name in brought and names[node.name] == 1
        for param in node.params:
            values = None if awaited else _initial(node, param, stream)
            if param.owner is None:
                view = blobs.allocate((param.node, param.index), device)
                if values is not None:
                    view.copy_(torch.from_numpy(values))
        if not awaited:
            _draw_again(node, stream)


def _seed(node: Node, feeds: Mapping[str, AnyFeed], stream: Stream, phase: str) -> None:
    drawn = seeds.data_layer_draws(node.definition, phase, stream)
    feed = feeds.get(node.name) if node.op.data else None
    if feed is not None and (given := drawn.given()):
        feed.reseed(given)
    elif isinstance(feed, Feed) and node.type == "HDF5Data":
        feed.reseed(stream.peek())  # Caffe takes no word for it, so none may be missing after it
    elif isinstance(feed, DummyFeed):
        feed.draw_from(stream)


def _initial(node: Node, param: Param, stream: Stream) -> Any:
    """A blob's first values; None for zeros."""
    given, filler = node.definition.message.blobs, param.blob.filler
    if param.blob.initial is not None:
        return param.blob.initial()
    if len(given) > param.index:
        return blobproto.array(given[param.index], param.blob.shape, node.definition.where("blobs"))
    if filler is None or (filler.type == "constant" and filler.value == 0 and filler.sparse == -1):
        return None
    return fillers.fill(filler, param.blob.shape, stream, node.definition.where())


def _draw_again(node: Node, stream: Stream) -> None:
    """What a layer draws once more for each time step and throws away (LSTM, RNN)."""
    for again in range(1, max((p.blob.draws for p in node.params), default=1)):
        for param in node.params:
            if again < param.blob.draws:
                _initial(node, param, stream)
