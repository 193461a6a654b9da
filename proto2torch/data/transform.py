"""Caffe's transform_param: out = (pixel - mean) * scale, on a crop that may be mirrored.

For each image Caffe draws from a random stream of the layer's own, word modulo n: a mirror bit where `mirror` is set
(in both phases), then in TRAIN, where `crop_size` is set, the top and the left of the crop. In TEST the crop is the
middle, rounded down. The mean is that of the pixel's place in the whole image, whether it is mirrored or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import crop, workers
from proto2torch.data.buffers import Buffers
from proto2torch.data.crop import Pick
from proto2torch.data.datum import Image
from proto2torch.data.draws import Draws
from proto2torch.data.fields import refuse_others
from proto2torch.data.on_device import Gathered, Stored, finish
from proto2torch.errors import DataError
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights import blobproto

_CPU = torch.device("cpu")
_FIELDS = ("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray")
_SMALL = 1 << 14  # pixels of an image that are sooner moved than a call is made


class Decoded(NamedTuple):
    """The images of a batch, of which each is decoded when it is wanted."""

    total: int
    load: Callable[[int], Image]
    """Gives image number 0 to `total` - 1; several threads call it."""
    differs: Callable[[int, Shape, Shape], DataError]
    """The error of an image, by its number, that becomes not the expected shape but another."""


class Transform:
    """The transformation of one layer; `seed` starts its random stream."""

    def __init__(self, definition: LayerDefinition, phase: str, seed: int, others: Sequence[str] = ()) -> None:
        """`others` are fields of transform_param that somebody else sees to."""
        refuse_others(definition, "transform_param", (*_FIELDS, *others))
        self._definition = definition
        self._p: Any = definition.message.transform_param
        self._random_crop = phase == "TRAIN" and self._p.crop_size > 0
        self._draws = Draws(seed, int(self._p.mirror) + 2 * int(self._random_crop))
        self._mean = read_mean(definition)
        self._turned = None if self._mean is None else np.ascontiguousarray(self._mean[:, :, ::-1])
        self._means: dict[torch.device, torch.Tensor] = {}  # where it has been asked for
        self._batches, self._bytes = Buffers(np.float32), Buffers(np.uint8)

    @property
    def seed(self) -> int:
        return self._draws.seed

    def reseed(self, seed: int) -> None:
        """Start the random stream anew."""
        self._draws = Draws(seed, self._draws.per_image)

    def shape(self, image: Shape) -> Shape:
        """What becomes of an image (C, H, W).

        Raises:
            DataError: the crop is larger than the image, or the mean is one of other images.
        """
        channels, height, width = image
        crop = self._p.crop_size
        if crop > min(height, width):
            raise self._error(f"crop_size must not exceed the image, {height} x {width}. Received: {crop}", "crop_size")
        if self._p.mean_file and self._mean is not None and self._mean.shape != image:
            message = f"the mean must have the shape of the whole image, {image}. Received: {self._mean.shape}"
            raise self._error(message, "mean_file")
        if len(self._p.mean_value) not in (0, 1, channels):
            message = f"expected 1 mean_value or {channels}, one a channel. Received: {len(self._p.mean_value)}"
            raise self._error(message, "mean_value")
        return (channels, crop, crop) if crop else image

    def __call__(self, images: Sequence[Image], first: int) -> torch.Tensor:
        """Images (C, H, W), all checked by `shape`, to a float32 batch; `first` is the number of the first one."""
        return self.apply(images, self.picks([image.shape for image in images], first))

    def apply(self, images: Sequence[Image], picks: Sequence[Pick]) -> torch.Tensor:
        """The same for picks that have been made."""
        shape = (len(images), *self.shape(images[0].shape))
        if crop.alike(images) and math.prod(shape[1:]) <= _SMALL:
            pixels = self._bytes.take(shape)
            _gather(images, picks, pixels)
            return self._finished(pixels, picks)
        batch = self._batches.take(shape)
        workers.run(lambda number: self._write(images[number], picks[number], batch[number]), range(len(images)))
        return torch.from_numpy(batch)

    def gather(self, images: Sequence[Image], first: int, device: torch.device) -> Gathered:
        """The crops of uint8 images as they are, to be finished on `device`."""
        picks = self.picks([image.shape for image in images], first)
        return Gathered(self._moved(images, picks, self.shape(images[0].shape), device), picks)

    def whole(self, images: Sequence[Image], device: torch.device) -> torch.Tensor:
        """uint8 images of one shape as they are, one behind the other, for `device`."""
        return self._moved(images, [Pick(0, 0, False)] * len(images), images[0].shape, device)

    def _moved(
        self, images: Sequence[Image], picks: Sequence[Pick], shape: Shape, device: torch.device
    ) -> torch.Tensor:
        pixels = self._pixels((len(images), *shape), device)
        batch = pixels.numpy()
        if crop.alike(images):
            _gather(images, picks, batch)
        else:
            for image, pick, target in zip(images, picks, batch, strict=True):
                crop.move(image, pick, target)
        return pixels

    def stream(self, images: Decoded, first: int) -> torch.Tensor:
        """The batch of uint8 images that are decoded one by one, by several threads."""
        gathered = self.gather_stream(images, first, _CPU)
        return self._finished(gathered.pixels.numpy(), gathered.picks)

    def gather_stream(self, images: Decoded, first: int, device: torch.device) -> Gathered:
        """What `gather` gives, of uint8 images that are decoded one by one."""
        head, shape = self._head(images)
        pixels = self._pixels((images.total, *shape), device)
        batch, words = pixels.numpy(), self._draws.take(first, images.total).tolist()

        def move(number: int) -> Pick:
            image = self._fitting(images, head, number, shape)
            pick = self._pick(image.shape, words[number])
            crop.move(image, pick, batch[number])
            return pick

        return Gathered(pixels, workers.run(move, range(images.total)))

    def _head(self, images: Decoded) -> tuple[list[Image], Shape]:
        """The first images, one a thread, and what becomes of them."""
        head = workers.run(images.load, range(min(images.total, workers.workers())))
        return head, self.shape(head[0].shape)

    def _fitting(self, images: Decoded, head: list[Image], number: int, shape: Shape) -> Image:
        """An image that fits the first one."""
        image = head[number] if number < len(head) else images.load(number)
        received = self.shape(image.shape)
        if received != shape:
            raise images.differs(number, shape, received)
        return image

    def _pixels(self, shape: Shape, device: torch.device) -> torch.Tensor:
        """Bytes for a batch; for CUDA pinned ones, which torch keeps until the copies out of them are done."""
        if device.type == "cuda":
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        return torch.from_numpy(self._bytes.take(shape))

    def finish(self, gathered: Gathered | Stored, device: torch.device) -> torch.Tensor:
        """What `__call__` gives of gathered images, to the bit, computed on `device`."""
        if self._mean is not None and device not in self._means:
            self._means[device] = torch.from_numpy(self._mean).to(device)
        return finish(gathered, device, self._means.get(device), self._p.scale)

    def _finished(self, pixels: NDArray[np.uint8], picks: Sequence[Pick]) -> torch.Tensor:
        """The batch of what was gathered, which is turned where it lies.

        Each thread makes few calls: those that make many wait for one another.
        """
        batch = self._batches.take(pixels.shape)
        crop.turn(pixels, picks)
        pieces = workers.split(len(pixels), batch.nbytes)
        workers.run(lambda some: self._arithmetic(picks[some], pixels[some], batch[some]), pieces)
        return torch.from_numpy(batch)

    def _write(self, image: Image, pick: Pick, target: NDArray[np.float32]) -> None:
        """Convert an image, subtract and scale: in as few passes as there can be, for each goes through memory."""
        pixels = crop.taken(image, pick, *target.shape[1:])
        self._arithmetic([pick], pixels[None], target[None])

    def _arithmetic(self, picks: Sequence[Pick], images: NDArray[Any], batch: NDArray[np.float32]) -> None:
        """Subtract the mean from some images, and scale them, into `batch`."""
        scale = np.float32(self._p.scale)
        if self._mean is None:
            np.multiply(images, scale, out=batch, dtype=np.float32)
            return
        if self._p.mean_file:
            for pick, image, out in zip(picks, images, batch, strict=True):
                np.subtract(image, self._mean_of(pick, image.shape), out=out, dtype=np.float32)
        else:
            np.subtract(images, self._mean, out=batch, dtype=np.float32)
        if scale != 1:
            batch *= scale

    def _mean_of(self, pick: Pick, shape: Shape) -> Image:
        """The mean of what is taken of an image, mirrored as it is."""
        assert self._mean is not None and self._turned is not None
        _, rows, columns = shape
        if not pick.mirrored:
            return crop.part(self._mean, pick, rows, columns)
        there = pick._replace(left=self._turned.shape[2] - pick.left - columns)
        return crop.part(self._turned, there, rows, columns)

    def picks(self, shapes: Sequence[Shape], first: int) -> list[Pick]:
        """What is taken of images of these shapes, `first` being the number of the first one."""
        drawn = self._draws.take(first, len(shapes)).tolist()
        return [self._pick(shape, words) for shape, words in zip(shapes, drawn, strict=True)]

    def _pick(self, image: Shape, words: Sequence[int]) -> Pick:
        mirrored, extent = bool(self._p.mirror and words[0] % 2), self._p.crop_size
        if not extent:
            return Pick(0, 0, mirrored)
        spare_rows, spare_columns = image[1] - extent, image[2] - extent
        if self._random_crop:
            return Pick(words[-2] % (spare_rows + 1), words[-1] % (spare_columns + 1), mirrored)
        return Pick(spare_rows // 2, spare_columns // 2, mirrored)

    def _where(self, field: str) -> Any:
        return self._definition.where(f"transform_param.{field}")

    def _error(self, message: str, field: str) -> DataError:
        return DataError(message, where=self._where(field))


def read_mean(definition: LayerDefinition) -> NDArray[np.float32] | None:
    """What a layer subtracts: (C, H, W) of mean_file, (C, 1, 1) or (1, 1, 1) of mean_value, or None.

    Raises:
        DataError: both are given, or mean_file cannot be read or is not one image.
    """
    p, where = definition.message.transform_param, definition.where("transform_param.mean_file")
    if p.mean_file and p.mean_value:
        where = definition.where("transform_param.mean_value")
        raise DataError("mean_file and mean_value exclude each other", where=where)
    if not p.mean_file:
        return np.array(p.mean_value, np.float32).reshape(-1, 1, 1) if p.mean_value else None
    path = resolve(p.mean_file, where.file)
    try:
        mean = blobproto.read(path)
    except DataError as error:
        hint = "make one of the training data with `proto2torch mean DB -o FILE`, or give the mean of each channel in "
        hint += "its place, `mean_value: 104 mean_value: 117 mean_value: 123` for ImageNet's (blue, green, red)"
        raise DataError(f"mean_file {path!r}: {error.message}", where=where, hint=hint) from error
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3:
        message = f"expected a mean of shape (C, H, W) or (1, C, H, W) in {p.mean_file!r}. Received: {mean.shape}"
        raise DataError(message, where=where)
    return np.ascontiguousarray(mean, np.float32)


def _gather(images: Sequence[Image], picks: Sequence[Pick], pixels: NDArray[np.uint8]) -> None:
    """`crop.gather` by torch's threads, or by ours where torch has one."""
    pieces = [slice(None)] if torch.get_num_threads() > 1 else workers.split(len(images), pixels.nbytes)
    workers.run(lambda some: crop.gather(images[some], picks[some], pixels[some]), pieces)
