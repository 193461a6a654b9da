"""Caffe's transform_param: out = (pixel - mean) * scale, on a crop that may be mirrored.

For each image Caffe draws from a random stream of the layer's own, word modulo n: a mirror bit where `mirror` is set
(in both phases), then in TRAIN, where `crop_size` is set, the top and the left of the crop. In TEST the crop is the
middle, rounded down. The mean is that of the pixel's place in the whole image, whether it is mirrored or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data.datum import Image
from proto2torch.data.fields import refuse_others
from proto2torch.errors import DataError
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights import blobproto
from proto2torch.weights.random import Stream

_FIELDS = ("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray")
_SKIPPED_AT_ONCE = 1 << 20  # words


class Transform:
    """The transformation of one layer; `seed` starts its random stream."""

    def __init__(self, definition: LayerDefinition, phase: str, seed: int) -> None:
        refuse_others(definition, "transform_param", _FIELDS)
        self._definition = definition
        self._p: Any = definition.message.transform_param
        self._random_crop = phase == "TRAIN" and self._p.crop_size > 0
        self._draws = _Draws(seed, int(self._p.mirror) + 2 * int(self._random_crop))
        self._mean = read_mean(definition)

    @property
    def seed(self) -> int:
        return self._draws.seed

    def reseed(self, seed: int) -> None:
        """Start the random stream anew."""
        self._draws = _Draws(seed, self._draws.per_image)

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
        draws = self._draws.take(first, len(images)).tolist()
        batch = self._pick(images, draws) if self._p.crop_size or self._p.mirror else self._whole(images)
        if self._p.scale != 1:
            batch *= np.float32(self._p.scale)
        return torch.from_numpy(batch)

    def _whole(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """All images as they are, less the mean."""
        batch = np.stack(images).astype(np.float32)
        if self._mean is not None:
            batch -= self._mean
        return batch

    def _pick(self, images: Sequence[Image], draws: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The crop of each image less that of the mean, mirrored where its words say so; in one pass over each."""
        mirror, crop = self._p.mirror, self._p.crop_size
        batch = np.empty((len(images), *self.shape(images[0].shape)), np.float32)
        for image, words, target in zip(images, draws, batch, strict=True):
            mean: Any = self._mean
            if crop:
                place = self._place(image, words)
                image, mean = image[place], mean[place] if self._p.mean_file else mean
            if mirror and words[0] % 2:
                target = target[:, :, ::-1]
            if mean is None:
                target[...] = image
            else:
                np.subtract(image, mean, out=target)
        return batch

    def _place(self, image: Image, words: Sequence[int]) -> tuple[slice, slice, slice]:
        """Where the crop of an image lies."""
        crop = self._p.crop_size
        spare_rows, spare_columns = image.shape[1] - crop, image.shape[2] - crop
        if self._random_crop:
            top, left = words[-2] % (spare_rows + 1), words[-1] % (spare_columns + 1)
        else:
            top, left = spare_rows // 2, spare_columns // 2
        return slice(None), slice(top, top + crop), slice(left, left + crop)

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


class _Draws:
    """The words of a random stream by the number of the image that they are for."""

    def __init__(self, seed: int, per_image: int) -> None:
        self.seed = seed
        self.per_image = per_image
        self._stream, self._at = Stream(seed), 0

    def take(self, first: int, count: int) -> NDArray[np.uint32]:
        """(count, per_image) words."""
        if first < self._at:
            self._stream, self._at = Stream(self.seed), 0
        missing = (first - self._at) * self.per_image
        while missing > 0:
            missing -= len(self._stream.words(min(missing, _SKIPPED_AT_ONCE)))
        self._at = first + count
        return self._stream.words(count * self.per_image).reshape(count, self.per_image)
