"""The ImageData layer: batches of the images that a text file lists.

With `shuffle` the list is shuffled at the start and again after each pass, by Caffe's own stream of random words; with
`rand_skip` the first pass begins at a random line.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import decode, image_list
from proto2torch.data.decode import COLOUR, GREY
from proto2torch.data.feed import Batch, Feed, Seed
from proto2torch.data.fields import batch_size, new_seed, tops
from proto2torch.data.image_list import Listed
from proto2torch.data.on_device import Pending, finished
from proto2torch.data.resize import resize
from proto2torch.data.transform import Decoded, Transform
from proto2torch.errors import DataError
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights.random import Stream

_PREFETCH = 4  # data_param.prefetch, whose default holds for these layers too


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """The feed of an ImageData layer.

    Raises:
        DataError: the list or its first image cannot be read, or the image does not fit transform_param.
    """
    return Feed(ImageSource(definition, phase, seed), definition.message.data_param.prefetch or _PREFETCH)


class ImageSource:
    """Images of a list as batches: (N, C, H, W), C being 3 (blue, green, red) or 1, and labels (N,).

    All images of a batch have one shape, unless they are resized or cropped to one; another batch may have another.
    """

    def __init__(self, definition: LayerDefinition, phase: str, seed: int | None) -> None:
        self._definition = definition
        self._p: Any = definition.message.image_data_param
        tops(definition, 2, 2)
        self.batch_size = batch_size(definition, "image_data_param")
        if bool(self._p.new_height) != bool(self._p.new_width):
            raise self._error("new_height and new_width go together: give both or neither", "new_height")
        if self._p.new_height * self._p.new_width > decode.MOST_PIXELS:
            received = f"{self._p.new_height} x {self._p.new_width}"
            raise self._error(f"expected at most {decode.MOST_PIXELS} pixels. Received: {received}", "new_height")
        self._listed = self._list()
        first = new_seed(seed)
        self._transform = Transform(definition, phase, first)
        self._order = Order(len(self._listed), first if self._p.shuffle else None)
        self._skip = first
        image = self._transform.shape(self._image(self._at(0)).shape)
        self.shapes: list[Shape] = [(self.batch_size, *image), (self.batch_size,)]

    @property
    def seed(self) -> Seed:
        """What its crops and mirrors, its order and its first line follow from."""
        return {"transform": self._transform.seed, "shuffle": self._order.seed or 0, "skip": self._skip}

    def reseed(self, seed: Seed) -> None:
        seeds = seed if isinstance(seed, dict) else dict.fromkeys(("transform", "shuffle", "skip"), seed)
        self._transform.reseed(seeds.get("transform", self._transform.seed))
        self._skip = seeds.get("skip", self._skip)
        if self._p.shuffle:
            self._order = Order(len(self._listed), seeds.get("shuffle", self._order.seed))

    def batch(self, first: int) -> Batch:
        listed, labels = self._take(first)
        return self._transform.stream(self._decoded(listed), first), labels

    def gather(self, first: int, device: torch.device) -> Pending | Batch:
        """Bytes for `device`."""
        listed, labels = self._take(first)
        return Pending(self._transform.gather_stream(self._decoded(listed), first, device), labels)

    def finish(self, gathered: Pending | Batch, device: torch.device) -> Batch:
        return finished(self._transform, gathered, device)

    def name(self, number: int) -> str:
        """An image as messages name it."""
        listed = self._at(number)
        return self._named(listed.path, listed)

    def close(self) -> None:
        """There is nothing to give back: each image is opened and closed."""

    def _take(self, first: int) -> tuple[list[Listed], torch.Tensor]:
        """The lines of a batch, and their labels."""
        listed = [self._at(number) for number in range(first, first + self.batch_size)]
        return listed, torch.tensor([item.label for item in listed], dtype=torch.float32)

    def _decoded(self, listed: list[Listed]) -> Decoded:
        return Decoded(
            len(listed),
            lambda number: self._image(listed[number]),
            lambda number, expected, received: self._other_shape(listed[number], expected, received),
        )

    def _at(self, number: int) -> Listed:
        """The line that is read as number `number`, over all passes."""
        if self._p.rand_skip:
            number += self._skip % self._p.rand_skip
        return self._listed[self._order.at(number)]

    def _image(self, listed: Listed) -> NDArray[np.uint8]:
        name, where = self._p.root_folder + listed.path, self._where("source")
        how = COLOUR if self._p.is_color else GREY
        image = decode.read(resolve(name, where.file), how, where, self._named(name, listed))
        return resize(image, self._p.new_height, self._p.new_width) if self._p.new_height else image

    def _named(self, name: str, listed: Listed) -> str:
        return f"{name!r}, line {listed.line} of {self._p.source!r}"

    def _list(self) -> list[Listed]:
        where = self._where("source")
        if not self._p.source:
            raise self._error("source, the file that lists the images, is missing")
        path = resolve(self._p.source, where.file)
        if os.path.isdir(path):
            raise self._error(f"source must be a text file that lists images. Received: the folder {path!r}")
        listed = image_list.read(path, where)
        if self._p.rand_skip > len(listed):
            message = f"rand_skip must not exceed the number of images, {len(listed)}. Received: {self._p.rand_skip}"
            raise self._error(message, "rand_skip")
        return listed

    def _other_shape(self, listed: Listed, expected: Shape, received: Shape) -> DataError:
        message = f"all images of a batch must have one shape, but {self._named(listed.path, listed)}, differs."
        hint = "set new_height and new_width, or transform_param.crop_size, or batch_size: 1"
        return self._error(f"{message} Expected: {expected}. Received: {received}", hint=hint)

    def _where(self, field: str) -> Any:
        return self._definition.where(f"image_data_param.{field}")

    def _error(self, message: str, field: str = "source", hint: str | None = None) -> DataError:
        return DataError(message, where=self._where(field), hint=hint)


class Order:
    """The order of `count` things over all passes: as it is, or with a seed shuffled anew before each pass."""

    def __init__(self, count: int, seed: int | None) -> None:
        self.seed = seed
        self._count = count
        self._stream, self._epoch = Stream(seed or 0), -1
        self._order = self._before = np.arange(count)

    def at(self, number: int) -> int:
        """Which thing comes at place `number`."""
        epoch, place = divmod(number, self._count)
        if self.seed is None:
            return place
        if epoch < self._epoch:
            if epoch == self._epoch - 1:  # a batch that spans two passes
                return int(self._before[place])
            self._stream, self._epoch = Stream(self.seed), -1
            self._order = np.arange(self._count)
        while self._epoch < epoch:
            self._before, self._order = self._order, self._order[self._stream.shuffle(self._count)]
            self._epoch += 1
        return int(self._order[place])
