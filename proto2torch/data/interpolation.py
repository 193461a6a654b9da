"""OpenCV's resize of 8-bit images by its other methods: nearest, area, cubic and Lanczos over 8 pixels.

Nearest and area are the same pixels (area in float32, where the sum of a few may round the other way); cubic and
Lanczos use OpenCV's weights of 1/2048 and are rounded once, where its vector code rounds within one level of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.resize import ONE, Axis, Pixels, between, blended, resize, rounded

LINEAR, AREA, NEAREST, CUBIC, LANCZOS4 = "LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"
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
        return rounded(_by_taps(image, _shares(rows, height), _shares(columns, width)))
    if method == AREA:
        return blended(image, _growing(rows, height), _growing(columns, width))
    taps = {CUBIC: _cubic_taps, LANCZOS4: _lanczos_taps}[method]
    summed = _by_taps(image, taps(rows, height), taps(columns, width)).astype(np.int64)
    return np.asarray(((summed + (ONE * ONE >> 1)) // (ONE * ONE)).clip(0, 255), np.uint8)


Taps = tuple[NDArray[np.int64], NDArray[Any]]
"""For each of n pixels of the result k of the source, (k, n), and their weights."""


def _by_taps(image: Pixels, down: Taps, across: Taps) -> NDArray[Any]:
    """The weighted sums, down each column first: rows are gathered faster, and fewer are left."""
    tall = _summed(image, down, down[1].dtype)
    whole = np.promote_types(np.int64, tall.dtype)  # the sums of both axes do not fit in 32 bits
    return _summed(tall.transpose(0, 2, 1), across, whole).transpose(0, 2, 1)


def _summed(image: NDArray[Any], taps: Taps, kind: np.dtype[Any]) -> NDArray[Any]:
    """Along the second axis."""
    places, weights = taps
    total = np.zeros((len(image), places.shape[1], image.shape[2]), kind)
    for place, weight in zip(places, weights.astype(kind), strict=True):
        total += image[:, place] * weight[:, None]
    return total


@lru_cache(maxsize=64)
def _nearest(source: int, target: int) -> NDArray[np.int64]:
    step = 1 / (target / source)
    return np.asarray(np.floor(np.arange(target) * step).clip(0, source - 1), np.int64)


@lru_cache(maxsize=64)
def _shares(source: int, target: int) -> Taps:
    """The pixels that lie in one of the result, each with its share of it; an axis that does not grow."""
    scale = 1 / (target / source)
    shares = [_share(i * scale, (i + 1) * scale, source, scale) for i in range(target)]
    most = max(len(weights) for _, weights in shares)
    places = np.array([[min(first + k, source - 1) for first, _ in shares] for k in range(most)], np.int64)
    weights = [[weights[k] if k < len(weights) else 0 for _, weights in shares] for k in range(most)]
    return places, np.array(weights, np.float32)


def _share(start: float, end: float, source: int, scale: float) -> tuple[int, list[float]]:
    """The first pixel of `start` to `end`, and the shares of it and of those behind it."""
    cell = min(scale, source - start)
    last = min(math.floor(end), source - 1)
    first = min(math.ceil(start), last)
    weights = [1 / cell] * (last - first)
    if end - last > _LEAST:
        weights.append(min(end - last, 1, cell) / cell)
    if first - start > _LEAST:
        return first - 1, [(first - start) / cell, *weights]
    return first, weights


def _taps(source: int, at: NDArray[np.int64], weights: NDArray[np.float32], before: int) -> Taps:
    """Pixels beyond the edge are those at the edge."""
    places = at + np.arange(-before, len(weights) - before)[:, None]
    return places.clip(0, source - 1), np.rint(weights * np.float32(ONE)).astype(np.int32)


@lru_cache(maxsize=64)
def _growing(source: int, target: int) -> Axis:
    """Where an axis grows, area is linear with other weights."""
    place = np.arange(target)
    low = np.floor(place * (1 / (target / source))).astype(np.int64)
    part = ((place + 1) - (low + 1) * (target / source)).astype(np.float32)
    part = np.where((part <= 0) | (low >= source - 1), np.float32(0), part - np.floor(part))
    return between(low, part, source)


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
    return np.asarray(weights / weights.sum(0), np.float32)


_cubic_taps, _lanczos_taps = _placed(_cubic, 1), _placed(_lanczos, 3)
