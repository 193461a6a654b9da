"""Arrays as pictures: planes side by side, from the least value black to the greatest white."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width) in gray, or (height, width, 3) in red, green and blue."""

_WHITE = 255


def normalized(values: Any) -> Picture:
    """Values as bytes, all by one scale: (v - least) / (greatest - least), as vis_square of Caffe's examples has it.

    Equal values, and what is not finite, become mid gray.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    span = high - low
    scaled = (
        (np.where(finite, values, low) - low) / span if span > 0 and np.isfinite(span) else np.full(values.shape, 0.5)
    )
    return np.where(finite, np.rint(scaled * _WHITE), _WHITE // 2).astype(np.uint8)


def square(planes: Picture) -> Picture:
    """Planes (n, height, width) or (n, height, width, 3) as a grid that is nearly square, a white line between them."""
    side = ceil(sqrt(len(planes)))
    return table(planes, side)


def table(planes: Picture, columns: int) -> Picture:
    """Planes row by row, `columns` in each; places that are left stay white."""
    n, height, width = planes.shape[:3]
    rows, colour = -(-n // columns), planes.shape[3:]
    full = np.full((rows * columns, height + 1, width + 1, *colour), _WHITE, np.uint8)
    full[:n, :height, :width] = planes
    grid = full.reshape(rows, columns, height + 1, width + 1, *colour).swapaxes(1, 2)
    return grid.reshape(rows * (height + 1), columns * (width + 1), *colour)[:-1, :-1]


def enlarged(picture: Picture, target: int, most: int) -> Picture:
    """Each pixel as a square, as large as keeps the longer side within `target`, and at most `most` pixels wide."""
    factor = min(most, max(1, target // max(picture.shape[:2])))
    return picture.repeat(factor, 0).repeat(factor, 1)


def bars(values: Any, height: int = 80, width: int = 512) -> Picture:
    """A vector as bars from zero, positive ones upward; of more than `width` values the greatest of each group."""
    values = np.nan_to_num(np.asarray(values, np.float64).ravel(), posinf=0, neginf=0)
    if len(values) > width:
        groups = np.array_split(values, width)
        values = np.array([g[np.abs(g).argmax()] for g in groups])
    low, high = min(0.0, values.min(initial=0.0)), max(0.0, values.max(initial=0.0))
    scale = (height - 1) / (high - low or 1.0)
    zero = round(high * scale)
    ends = np.clip(np.rint((high - values) * scale), 0, height - 1).astype(int)
    rows = np.arange(height)[:, None]
    inked = (rows >= np.minimum(ends, zero)) & (rows <= np.maximum(ends, zero))
    return np.where(inked, 70, _WHITE).astype(np.uint8).repeat(max(1, width // max(1, len(values))), 1)
