"""OpenCV's resize of 8-bit images by its other methods: nearest, area, cubic and Lanczos over 8 pixels.

Nearest and area are the same pixels (area in float32, where the sum of a few may round the other way); cubic and
Lanczos use OpenCV's weights of 1/2048 and are rounded once, where its vector code rounds within one level of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.resize import Axis, Pixels, blended, resize

LINEAR, AREA, NEAREST, CUBIC, LANCZOS4 = "LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"
_ONE = 2048
_LEAST = 1e-3  # what OpenCV's area leaves out of a pixel


def resized(image: Pixels, height: int, width: int, method: str = LINEAR) -> Pixels:
    """An image (C, H, W) of another height and width."""
    rows, columns = image.shape[1:]
    if (rows, columns) == (height, width):
        return image
    if method == LINEAR or (method == AREA and (rows, columns) == (2 * height, 2 * width)):
        return resize(image, height, width)
    if method == NEAREST:
        picked: Pixels = image[:, _nearest(rows, height)][:, :, _nearest(columns, width)]
        return picked
    if method == AREA and rows >= height and columns >= width:
        summed = _shares(rows, height) @ image.astype(np.float32) @ _shares(columns, width).T
        return np.rint(summed).clip(0, 255).astype(np.uint8)
    if method == AREA:
        return blended(image, _growing(rows, height), _growing(columns, width))
    taps = {CUBIC: _cubic_taps, LANCZOS4: _lanczos_taps}[method]
    return _by_taps(image, taps(rows, height), taps(columns, width))


Taps = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For each pixel of the result (k, n) pixels of the source, and their weights of 2048."""


def _by_taps(image: Pixels, down: Taps, across: Taps) -> Pixels:
    wide = sum(image[:, :, place] * weight for place, weight in zip(*across, strict=True))
    tall = sum(np.asarray(wide)[:, place] * weight[:, None] for place, weight in zip(*down, strict=True))
    return ((np.asarray(tall) + (_ONE * _ONE >> 1)) // (_ONE * _ONE)).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _nearest(source: int, target: int) -> NDArray[np.int64]:
    step = 1 / (target / source)
    return np.floor(np.arange(target) * step).astype(np.int64).clip(0, source - 1)


@lru_cache(maxsize=64)
def _shares(source: int, target: int) -> NDArray[np.float32]:
    """(target, source): the share that each pixel of the source has in one of the result."""
    shares, scale = np.zeros((target, source), np.float32), 1 / (target / source)
    for i in range(target):
        start, end = i * scale, (i + 1) * scale
        cell = min(scale, source - start)
        first, last = math.ceil(start), min(math.floor(end), source - 1)
        first = min(first, last)
        shares[i, first:last] = 1 / cell
        if first - start > _LEAST:
            shares[i, first - 1] = (first - start) / cell
        if end - last > _LEAST:
            shares[i, last] = min(end - last, 1, cell) / cell
    return shares


def _taps(source: int, at: NDArray[np.int64], weights: NDArray[np.float32], before: int) -> Taps:
    """Pixels beyond the edge are those at the edge."""
    places = at + np.arange(-before, len(weights) - before)[:, None]
    return places.clip(0, source - 1), np.rint(weights * np.float32(_ONE)).astype(np.int64)


@lru_cache(maxsize=64)
def _growing(source: int, target: int) -> Axis:
    """Where an axis grows, area is linear with other weights."""
    place = np.arange(target)
    low = np.floor(place * (1 / (target / source))).astype(np.int64)
    part = ((place + 1) - (low + 1) * (target / source)).astype(np.float32)
    part = np.where((part <= 0) | (low >= source - 1), np.float32(0), part - np.floor(part))
    weights = [np.rint(w * np.float32(_ONE)).astype(np.int32) for w in (1 - part, part)]
    return Axis(low.clip(0, source - 1), (low + 1).clip(0, source - 1), *weights)


def _placed(weights: Callable[[NDArray[np.float32]], NDArray[np.float32]], before: int) -> Callable[[int, int], Taps]:
    @lru_cache(maxsize=64)
    def taps(source: int, target: int) -> Taps:
        place = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
        at = np.floor(place)
        return _taps(source, at.astype(np.int64), weights(place - at), before)

    return taps


def _cubic(x: NDArray[np.float32]) -> NDArray[np.float32]:
    a = np.float32(-0.75)
    first = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    second = ((a + 2) * x - (a + 3)) * x * x + 1
    third = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1
    return np.stack([first, second, third, 1 - first - second - third])


def _lanczos(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """sinc(t) sinc(t / 4) at the eight pixels around, their sum 1."""
    t = np.arange(-3, 5)[:, None] - x.astype(np.float64)
    weights = np.sinc(t) * np.sinc(t / 4)
    return (weights / weights.sum(0)).astype(np.float32)


_cubic_taps, _lanczos_taps = _placed(_cubic, 1), _placed(_lanczos, 3)
