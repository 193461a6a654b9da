"""The DummyData layer: tops that fillers write, to try a net without data.

A constant top is written once, any other anew for each batch. Its numbers come from the stream that the net's own
fillers draw from, as in Caffe, so that with a `random_seed` they are Caffe's.
"""

from __future__ import annotations

from typing import Any

import torch

from proto2torch.data.feed import Batch, Feed, Seed, one
from proto2torch.data.fields import new_seed
from proto2torch.errors import Where
from proto2torch.ir.graph import Shape
from proto2torch.layers.input import DummyData
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights import fillers
from proto2torch.weights.random import Stream


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> DummyFeed:
    """The feed of a DummyData layer; nothing is read, and nothing made ahead."""
    return DummyFeed(DummySource(definition, phase, seed))


class DummySource:
    """Batches in order, whatever their number: the next one takes the next words of the stream."""

    def __init__(self, definition: LayerDefinition, phase: str, seed: int | None) -> None:
        layer = DummyData(definition, phase)
        layer.check()
        self.shapes: list[Shape] = layer.shapes()
        self.batch_size = 1
        self.seed = new_seed(seed)
        self.stream = Stream(self.seed)
        given = list(layer.p.data_filler)
        self._fillers = given * len(self.shapes) if len(given) == 1 else given or [None] * len(self.shapes)
        self._where = [definition.where(f"dummy_data_param.data_filler[{i}]") for i in range(len(self.shapes))]
        self._constant = [
            self._fill(*what) if what[0] is None or what[0].type == "constant" else None
            for what in zip(self._fillers, self.shapes, self._where, strict=True)
        ]

    def batch(self, first: int) -> Batch:
        parts = zip(self._constant, self._fillers, self.shapes, self._where, strict=True)
        return tuple(constant if constant is not None else self._fill(*what) for constant, *what in parts)

    def _fill(self, filler: Any, shape: Shape, where: Where) -> torch.Tensor:
        return torch.from_numpy(fillers.fill(filler, shape, self.stream, where))

    def reseed(self, seed: Seed) -> None:
        self.seed = one(seed)
        self.stream = Stream(self.seed)

    def close(self) -> None:
        """There is nothing to give back."""


class DummyFeed(Feed):
    """A feed whose place is that of its stream."""

    def __init__(self, source: DummySource) -> None:
        super().__init__(source)
        self._dummy = source

    def draw_from(self, stream: Stream) -> None:
        """Take the numbers from a stream that others draw from too: the net's."""
        self._dummy.stream = stream

    def state(self) -> dict[str, Any]:
        """How far `next` and the stream have come."""
        stream = self._dummy.stream.state()
        words = {"key": stream["key"].tolist(), "position": stream["position"], "ahead": stream["ahead"].tolist()}
        return {**super().state(), "stream": words}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; so do all that draw from the same stream."""
        stream = self._dummy.stream
        super().load_state(state)
        if "stream" in state:
            self._dummy.stream = stream
            stream.load_state(state["stream"])
