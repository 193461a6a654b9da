"""Any iterable of batches in place of a data layer: a DataLoader, a list, a generator function's result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from proto2torch.data.feed import Batch, Feed, Seed, tensor
from proto2torch.errors import DataError, NetError, Where, did_you_mean
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition, NetDefinition


class IterableFeed:
    """The batches of an iterable in order, over and over; a `Feed` to whoever takes batches from it.

    Each batch is a mapping from the names of the tops to arrays or tensors, batch first; or a sequence in their order.
    """

    def __init__(self, batches: Iterable[Any], tops: Sequence[str], where: Where | None = None) -> None:
        self._batches, self._tops, self._where = batches, tuple(tops), where
        self._iterator: Iterator[Any] = iter(batches)
        self._given = 0
        self._first: Batch | None = self._read()
        self.shapes: list[Shape] = [tuple(part.shape) for part in self._first]

    def next(self) -> Batch:
        """The next batch: float32 CPU tensors in the order of the tops.

        Raises:
            DataError: a batch lacks a top, or the iterable gives no batch a second time.
        """
        batch, self._first = self._first if self._first is not None else self._read(), None
        self._given += 1
        return batch

    def reseed(self, seed: Seed) -> None:
        """The iterable makes its own choices."""

    def state(self) -> dict[str, Any]:
        """How many batches were taken."""
        return {"given": self._given}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take as many batches as were taken; the iterable must give the same again."""
        self._iterator, self._first, self._given = iter(self._batches), None, 0
        for _ in range(int(state["given"])):
            self.next()

    def close(self) -> None:
        """Let go of the iterable."""
        self._iterator = iter(())

    def _read(self) -> Batch:
        batch = next(self._iterator, None)
        if batch is None:
            self._iterator = iter(self._batches)
            batch = next(self._iterator, None)
        if batch is None:
            hint = "a generator gives its batches once: give a list or a DataLoader"
            raise DataError("the iterable gives no batch (any more)", where=self._where, hint=hint)
        parts = zip(self._tops, self._parts(batch), strict=True)
        return tuple(tensor(part, repr(top), self._where) for top, part in parts)

    def _parts(self, batch: Any) -> list[Any]:
        if isinstance(batch, Mapping):
            missing = [top for top in self._tops if top not in batch]
            if missing:
                raise self._error(", ".join(self._tops), ", ".join(map(str, batch)))
            return [batch[top] for top in self._tops]
        if not hasattr(batch, "__len__"):
            raise self._error(f"{len(self._tops)} parts, one a top", type(batch).__name__)
        if len(batch) != len(self._tops):
            raise self._error(f"{len(self._tops)} parts, one a top", len(batch))
        return list(batch)

    def _error(self, expected: str, received: Any) -> DataError:
        return DataError(f"a batch must have {expected}. Received: {received}", where=self._where)


AnyFeed = Feed | IterableFeed
"""What `net.feeds` holds."""


def next_batch(feed: AnyFeed, device: torch.device) -> Batch:
    """The next batch of a feed, as far as it can be on `device` already."""
    return feed.next(device) if isinstance(feed, Feed) else feed.next()


def from_iterable(batches: Iterable[Any], tops: Sequence[str] = ("data", "label")) -> IterableFeed:
    """A feed of the batches of any iterable, for `net.feeds`."""
    return IterableFeed(batches, tops)


def given(feeds: Mapping[str, Any], net: NetDefinition) -> dict[str, AnyFeed]:
    """The feeds that take the place of a net's own, by layer; an iterable of batches becomes one.

    Raises:
        NetError: the net has no such layer, or one that has bottoms.
        DataError: a feed does not fit the tops of its layer.
    """
    layers = {layer.name: layer for layer in net.layers if layer.message.top and not layer.message.bottom}
    found: dict[str, AnyFeed] = {}
    for name, feed in feeds.items():
        if name not in layers:
            hint = did_you_mean(name, layers) or f"layers that can be fed: {', '.join(layers) or 'none'}"
            raise NetError(f"the net has no layer {name!r} to feed", where=Where(file=net.path), hint=hint)
        found[name] = _as_feed(feed, layers[name])
    return found


def _as_feed(feed: Any, layer: LayerDefinition) -> AnyFeed:
    tops, where = tuple(layer.message.top), layer.where()
    if not (hasattr(feed, "next") and hasattr(feed, "shapes")):
        if not isinstance(feed, Iterable):
            message = f"expected an iterable of batches, or a feed. Received: {type(feed).__name__}"
            raise DataError(message, where=where)
        return IterableFeed(feed, tops, where)
    if len(feed.shapes) != len(tops):
        message = f"expected a feed of {len(tops)} tops, {', '.join(tops)}. Received: {len(feed.shapes)}"
        raise DataError(message, where=where)
    made: AnyFeed = feed
    return made
