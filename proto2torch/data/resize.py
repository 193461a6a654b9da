"""OpenCV's bilinear resize of 8-bit images, bit for bit: cv::resize's integers, not real numbers rounded at the end.

A pixel of the result lies at (d + 0.5)·scale - 0.5 of the source. Its two weights an axis are rounded to 1/2048. Along
a row the weighted sum is exact; of the sums of two rows the low 4 bits go, each is weighted and loses 16 bits, and both
together are rounded by 2 bits: 22 in all.
Where both axes shrink to exactly half, the mean of each 2 x 2 pixels is taken instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
ONE = 2048
"""What the weights of an axis are of."""


def rounded(values: NDArray[np.float32]) -> Pixels:
    """To eight bits: the nearest whole number, the even one of two, within 0 to 255."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


class Axis(NamedTuple):
    """For each pixel of the result, two of the source and their weights of 2048, int32."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weight_low: NDArray[np.int32]
    weight_high: NDArray[np.int32]


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """An image (C, H, W) of another height and width."""
    rows, columns = image.shape[1:]
    if (rows, columns) == (height, width):
        return image
    if (rows, columns) == (2 * height, 2 * width):
        blocks = image.reshape(-1, height, 2, width, 2).astype(np.uint16)
        halved: Pixels = ((blocks.sum((2, 4), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
        return halved
    return blended(image, _axis(rows, height), _across(columns, width))


def blended(image: Pixels, down: Axis, across: Axis) -> Pixels:
    """The image (C, H, W) at the pixels that two axes say."""
    height = len(down.low)
    used, place = np.unique(np.concatenate([down.low, down.high]), return_inverse=True)
    source = image[:, used]
    summed = source[:, :, across.low] * across.weight_low + source[:, :, across.high] * across.weight_high
    summed >>= 4
    low, high = summed[:, place[:height]], summed[:, place[height:]]
    low *= down.weight_low[:, None]
    high *= down.weight_high[:, None]
    low >>= 16
    high >>= 16
    low += high
    low += 2
    low >>= 2
    return low.astype(np.uint8)


@lru_cache(maxsize=64)
def _axis(source: int, target: int) -> Axis:
    """Pixels beyond the edge are those at the edge; their weights stay."""
    at = ((np.arange(target) + 0.5) * (1 / (target / source)) - 0.5).astype(np.float32)
    low = np.floor(at)
    part = at - low
    return between(low.astype(np.int64), part, source)


def between(low: NDArray[np.int64], part: NDArray[np.float32], source: int) -> Axis:
    """An axis whose pixels lie behind pixel `low` by a `part` of the way to the next; the source has so many."""
    weights = [np.rint(w * np.float32(ONE)).astype(np.int32) for w in (1 - part, part)]
    return Axis(low.clip(0, source - 1), (low + 1).clip(0, source - 1), *weights)


@lru_cache(maxsize=64)
def _across(source: int, target: int) -> Axis:
    """Along a row, a pixel that lies beyond the edge is that at the edge with all the weight."""
    axis = _axis(source, target)
    beyond = axis.low == axis.high
    return axis._replace(
        weight_low=np.where(beyond, ONE, axis.weight_low).astype(np.int32),
        weight_high=np.where(beyond, 0, axis.weight_high).astype(np.int32),
    )
