"""The WindowData layer: windows of images, warped to one size, a part of them of what is to be recognised.

A batch holds windows of the background first, then those of the foreground; each is chosen at random by Caffe's own
stream: a word modulo the number of windows, then where `mirror` is set a word modulo 2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import decode, window_list, workers
from proto2torch.data.decode import COLOUR
from proto2torch.data.feed import Batch, Feed, Seed
from proto2torch.data.fields import batch_size, new_seed, tops
from proto2torch.data.resize import resize
from proto2torch.data.transform import read_mean
from proto2torch.data.window_list import Window
from proto2torch.errors import DataError
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights.random import Stream

_PREFETCH = 4
_CHANNELS = 3
_MODES = ("warp", "square")
Single = np.float32  # what Caffe computes with


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """The feed of a WindowData layer.

    Raises:
        DataError: the list cannot be read, or lacks windows of the foreground or the background.
    """
    return Feed(WindowSource(definition, seed), _PREFETCH)


class WindowSource:
    """Windows as batches: (N, 3, crop, crop), blue first, and labels (N,), 0 for the background."""

    def __init__(self, definition: LayerDefinition, seed: int | None) -> None:
        self._definition = definition
        self._p: Any = definition.message.window_data_param
        self._transform: Any = definition.message.transform_param
        tops(definition, 2, 2)
        self.batch_size = batch_size(definition, "window_data_param")
        self._crop = self._checked_crop()
        self._mean = self._read_mean()
        self._list = window_list.read(self._path(), self._where("source"))
        self._groups = self._split()
        self._foreground = int(Single(self.batch_size) * Single(self._p.fg_fraction))
        self.shapes: list[Shape] = [(self.batch_size, _CHANNELS, self._crop, self._crop), (self.batch_size,)]
        self.reseed(new_seed(seed))

    @property
    def seed(self) -> Seed:
        return {"windows": self._seed}

    def reseed(self, seed: Seed) -> None:
        self._seed = seed if isinstance(seed, int) else seed["windows"]
        self._stream, self._at = Stream(self._seed), 0

    def batch(self, first: int) -> Batch:
        chosen = self._choose(first)
        out = np.zeros((self.batch_size, _CHANNELS, self._crop, self._crop), np.float32)
        workers.run(lambda item: self._write(*item), list(zip(out, chosen, strict=True)))
        labels = [float(window.label) for window, _ in chosen]
        return torch.from_numpy(out), torch.tensor(labels, dtype=torch.float32)

    def close(self) -> None:
        """There is nothing to give back: each image is opened and closed."""

    def _choose(self, first: int) -> list[tuple[Window, bool]]:
        each = 1 + self._transform.mirror
        if first < self._at:
            self._stream, self._at = Stream(self._seed), 0
        self._stream.words((first - self._at) * each)
        self._at = first + self.batch_size
        words = self._stream.words(self.batch_size * each).reshape(self.batch_size, each).tolist()
        background = self.batch_size - self._foreground
        groups = [self._groups[place >= background] for place in range(self.batch_size)]
        return [
            (group[drawn[0] % len(group)], each == 2 and drawn[1] % 2 == 1)
            for group, drawn in zip(groups, words, strict=True)
        ]

    def _write(self, target: NDArray[np.float32], chosen: tuple[Window, bool]) -> None:
        """Warp a window into `target`, (3, crop, crop), which holds zeros."""
        window, mirrored = chosen
        image = self._image(window)
        place = _place(window, mirrored, image.shape[1:], self._crop, self._p.context_pad, self._p.crop_mode)
        if not place.fits(image.shape[1:]):
            rows, columns = image.shape[1:]
            corners = f"{window.x1} {window.y1} {window.x2} {window.y2}"
            message = f"a window must lie in its image, {columns} wide and {rows} high. Received: {corners}"
            raise self._error(f"{message}, line {window.line} of {self._p.source!r}")
        part = image[:, place.y1 : place.y2 + 1, place.x1 : place.x2 + 1]
        pixels = resize(part, place.height, place.width).astype(np.float32)
        if mirrored:
            pixels = pixels[:, :, ::-1]
        rows, columns = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
        if self._mean is not None:
            pixels = pixels - (self._mean[:, rows, columns] if self._mean.shape[1] > 1 else self._mean)
        target[:, rows, columns] = pixels * Single(self._p.scale)

    def _image(self, window: Window) -> NDArray[np.uint8]:
        name, where = self._p.root_folder + self._list.paths[window.image], self._where("source")
        return decode.read(resolve(name, where.file), COLOUR, where, repr(name))

    def _split(self) -> tuple[list[Window], list[Window]]:
        """Background and foreground."""
        most, least = Single(self._p.bg_threshold), Single(self._p.fg_threshold)
        foreground = [w for w in self._list.windows if Single(w.overlap) >= least]
        rest = [w for w in self._list.windows if Single(w.overlap) < least]
        background = [w._replace(label=0) for w in rest if Single(w.overlap) < most]
        for window in foreground:
            if window.label <= 0:
                message = f"a window of the foreground must have a label of 1 or more. Received: {window.label}"
                raise self._error(f"{message}, line {window.line} of {self._p.source!r}")
        for group, name in ((background, "background"), (foreground, "foreground")):
            if not group:
                raise self._error(f"{self._p.source!r} has no windows of the {name}")
        return background, foreground

    def _checked_crop(self) -> int:
        crop: int = self._transform.crop_size
        if not crop:
            raise self._error("crop_size, the extent of the windows, is missing", "transform_param.crop_size")
        if self._p.crop_mode not in _MODES:
            raise self._error(f"crop_mode must be warp or square. Received: {self._p.crop_mode!r}", "crop_mode")
        if not 0 <= self._p.fg_fraction <= 1:
            raise self._error(f"fg_fraction must be within 0 to 1. Received: {self._p.fg_fraction:g}", "fg_fraction")
        if 2 * self._p.context_pad >= crop:
            message = f"context_pad must be less than half of crop_size, {crop}. Received: {self._p.context_pad}"
            raise self._error(message, "context_pad")
        return crop

    def _read_mean(self) -> NDArray[np.float32] | None:
        """The middle of mean_file (3, crop, crop), or mean_value (3, 1, 1) or (1, 1, 1)."""
        mean = read_mean(self._definition)
        if mean is None or not self._transform.mean_file:
            if mean is not None and len(mean) not in (1, _CHANNELS):
                raise self._error(f"expected 1 or 3 values. Received: {len(mean)}", "transform_param.mean_value")
            return mean
        start = (mean.shape[2] - self._crop) // 2
        middle = mean[:, max(start, 0) : start + self._crop, max(start, 0) : start + self._crop]
        if middle.shape != (_CHANNELS, self._crop, self._crop):
            message = f"the mean must have 3 channels and at least {self._crop} x {self._crop} pixels."
            raise self._error(f"{message} Received: {mean.shape}", "transform_param.mean_file")
        return middle

    def _path(self) -> str:
        if not self._p.source:
            raise self._error("source, the file that lists the windows, is missing")
        return resolve(self._p.source, self._where("source").file)

    def _where(self, field: str) -> Any:
        return self._definition.where(field if "." in field else f"window_data_param.{field}")

    def _error(self, message: str, field: str = "source") -> DataError:
        return DataError(message, where=self._where(field))


class Place(NamedTuple):
    """The part of the image that is taken, its corners included, and where it goes in the crop."""

    x1: int
    y1: int
    x2: int
    y2: int
    top: int
    left: int
    height: int
    width: int

    def fits(self, extent: tuple[int, ...]) -> bool:
        """Whether there is something to take, all of it in an image of this (height, width)."""
        inside = 0 <= self.x1 <= self.x2 < extent[1] and 0 <= self.y1 <= self.y2 < extent[0]
        return inside and self.height > 0 and self.width > 0


def _place(window: Window, mirrored: bool, extent: tuple[int, ...], crop: int, pad: int, mode: str) -> Place:
    """Caffe's arithmetic: the window grows by the context around it, and what lies beyond the image stays empty.

    The context scales both halves by crop / (crop - 2 * pad); all in float32, rounded half away from zero.
    """
    x1, y1, x2, y2 = window.x1, window.y1, window.x2, window.y2
    if not pad and mode != "square":
        return Place(x1, y1, x2, y2, 0, 0, crop, crop)
    grow = Single(crop) / Single(crop - 2 * pad)
    half_height, half_width = Single(y2 - y1 + 1) / Single(2), Single(x2 - x1 + 1) / Single(2)
    middle_x, middle_y = Single(x1) + half_width, Single(y1) + half_height
    if mode == "square":
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(middle_x - half_width * grow), _round(middle_x + half_width * grow)
    y1, y2 = _round(middle_y - half_height * grow), _round(middle_y + half_height * grow)
    across = _clip(x1, x2, extent[1], crop)
    down = _clip(y1, y2, extent[0], crop)
    left = across.after if mirrored else across.before
    height, width = min(down.size, crop - down.before), min(across.size, crop - left)
    return Place(across.first, down.first, across.last, down.last, down.before, left, height, width)


class _Clipped(NamedTuple):
    """One axis of a window, clipped to the image, and what becomes of it in the crop."""

    first: int
    last: int
    before: int
    after: int
    size: int


def _clip(first: int, last: int, extent: int, crop: int) -> _Clipped:
    scale = Single(crop) / Single(last - first + 1)
    before, after = max(0, -first), max(0, last - extent + 1)
    first, last = first + before, last - after
    size = _round(Single(last - first + 1) * scale)
    return _Clipped(first, last, _round(Single(before) * scale), _round(Single(after) * scale), size)


def _round(value: Any) -> int:
    """To the nearest whole number, halves away from zero."""
    return int(math.floor(abs(float(value)) + 0.5) * math.copysign(1, value))
