"""The MemoryData layer: arrays that the caller sets, over and over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data.feed import Batch, Feed, Seed, one, tensor
from proto2torch.data.fields import batch_size, new_seed, tops
from proto2torch.data.transform import Transform
from proto2torch.errors import DataError
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> MemoryFeed:
    """The feed of a MemoryData layer; it gives nothing before its `set` or `add` has been called."""
    return MemoryFeed(MemorySource(definition, phase, seed))


class MemorySource:
    """Arrays as batches: (N, C, H, W) and labels (N,)."""

    def __init__(self, definition: LayerDefinition, phase: str, seed: int | None) -> None:
        self._definition = definition
        p: Any = definition.message.memory_data_param
        tops(definition, 2, 2)
        self.batch_size = batch_size(definition, "memory_data_param")
        for field in ("channels", "height", "width"):
            if not getattr(p, field):
                raise self._error(f"{field} must be at least 1. Received: 0", f"memory_data_param.{field}")
        self.item: Shape = (p.channels, p.height, p.width)
        self.transform = Transform(definition, phase, new_seed(seed))
        crop = definition.message.transform_param.crop_size
        if crop and (crop, crop) != self.item[1:]:
            message = f"crop_size must be the height and the width, {p.height} and {p.width}. Received: {crop}"
            raise self._error(message, "transform_param.crop_size")
        self.shapes: list[Shape] = [(self.batch_size, *self.item), (self.batch_size,)]
        self._data: Batch | None = None

    @property
    def seed(self) -> Seed:
        return self.transform.seed

    def reseed(self, seed: Seed) -> None:
        self.transform.reseed(one(seed))

    def hold(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Give these from now on, in batches."""
        if tuple(images.shape[1:]) != self.item:
            raise self._error(f"images must have the shape (n, {', '.join(map(str, self.item))}).", tuple(images.shape))
        if len(labels) != len(images) or labels.numel() != len(labels):
            raise self._error(f"expected {len(images)} labels, one an image.", tuple(labels.shape))
        if not len(images) or len(images) % self.batch_size:
            raise self._error(f"the number of images must be a multiple of the batch, {self.batch_size}.", len(images))
        self._data = images, labels.reshape(-1)

    def check(self, images: Sequence[NDArray[Any]]) -> None:
        """Refuse what cannot be transformed to this layer's images."""
        if not images:
            raise self._error(f"the number of images must be a multiple of the batch, {self.batch_size}.", 0)
        for image in images:
            if image.ndim != 3 or image.dtype.kind not in "biuf" or self.transform.shape(image.shape) != self.item:
                received = f"{image.dtype} of shape {image.shape}"
                raise self._error(f"an image must be an array of numbers that becomes {self.item}.", received=received)

    def batch(self, first: int) -> Batch:
        if self._data is None:
            layer = self._definition.name
            hint = f"net.feeds[{layer!r}].set(images, labels) gives it some"
            raise DataError("there are no images to give", where=self._definition.where(), hint=hint)
        start = first % len(self._data[0])
        return tuple(part[start : start + self.batch_size] for part in self._data)

    def close(self) -> None:
        self._data = None

    def _error(self, message: str, what: Any = None, received: str = "") -> DataError:
        if isinstance(what, str):
            return DataError(message, where=self._definition.where(what))
        where = self._definition.where("memory_data_param")
        return DataError(f"{message} Received: {received or what}", where=where)


class MemoryFeed(Feed):
    """A feed whose data comes from the caller."""

    def __init__(self, source: MemorySource) -> None:
        super().__init__(source)
        self._memory = source
        self._added = 0

    def set(self, images: Any, labels: Any) -> None:
        """Give these from the next batch on, as they are: what transform_param says is not done.

        Args:
            images: (n, C, H, W), n a multiple of the batch size; an array or a tensor.
            labels: (n,), or any shape of n values.
        """
        self._memory.hold(tensor(images, "images"), tensor(labels, "labels"))
        self.load_state({**self.state(), "position": 0})

    def add(self, images: Any, labels: Any) -> None:
        """Transform images as transform_param says, then give these: n uint8 or float arrays (C, H, W)."""
        arrays = [np.asarray(image) for image in images]
        self._memory.check(arrays)
        self.set(self._memory.transform(arrays, self._added), labels)
        self._added += len(arrays)
