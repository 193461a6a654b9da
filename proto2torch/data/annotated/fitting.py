"""How an image and its boxes come to the size of a net: resize_param, and expand_param before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.annotated.objects import Box, Objects
from proto2torch.data.interpolation import resized
from proto2torch.data.resize import Pixels, rounded

WARP, SMALL, LARGE = "WARP", "FIT_SMALL_SIZE", "FIT_LARGE_SIZE_AND_PAD"
_PADDING = {"CONSTANT": "constant", "MIRRORED": "reflect", "REPEAT_NEAREST": "edge"}


def name(param: Any, field: str, index: int | None = None) -> str:
    """The name of an enum field's value."""
    value = getattr(param, field) if index is None else getattr(param, field)[index]
    return str(param.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[value].name)


def fit(image: Pixels, param: Any, draw: np.random.Generator) -> Pixels:
    """An image (C, H, W) as ResizeParameter wants it; of several interp_mode any is as likely."""
    number = len(param.interp_mode)
    method = name(param, "interp_mode", int(draw.integers(number))) if number else "LINEAR"
    height, width = param.height, param.width
    mode, aspect = name(param, "resize_mode"), image.shape[2] / image.shape[1]
    if mode == WARP:
        return resized(image, height, width, method)
    wider = aspect > width / height
    rows = max(1, math.floor(width / aspect)) if wider == (mode == LARGE) else height
    columns = width if wider == (mode == LARGE) else max(1, math.floor(aspect * height))
    image = resized(image, rows, columns, method)
    return _padded(image, param) if mode == LARGE else image


def _padded(image: Pixels, param: Any) -> Pixels:
    """The image in the middle of its full size."""
    spare = (param.height - image.shape[1], param.width - image.shape[2])
    sides = [(0, 0), *((most // 2, most - most // 2) for most in spare)]
    mode = _PADDING[name(param, "pad_mode")]
    if mode != "constant":
        return np.pad(image, sides, mode=mode)  # type: ignore[call-overload, no-any-return]
    values = rounded(np.array(param.pad_value or [0], np.float32))
    whole = np.empty((len(image), param.height, param.width), np.uint8)
    whole[:] = values.reshape(-1, 1, 1)
    (top, _), (left, _) = sides[1:]
    whole[:, top : top + image.shape[1], left : left + image.shape[2]] = image
    return whole


def fit_boxes(objects: Objects, image: tuple[int, int], param: Any) -> Objects:
    """The objects of an image (height, width) as shares of what `fit` makes of it.

    Beyond the edge a box is cut off; FIT_LARGE_SIZE_AND_PAD reckons with the padding before it is rounded to pixels.
    """
    height, width = np.float32(param.height), np.float32(param.width)
    old_height, old_width = np.float32(image[0]), np.float32(image[1])
    mode, aspect = name(param, "resize_mode"), old_width / old_height
    wider = aspect > width / height
    if mode == SMALL:
        width, height = (aspect * height, height) if wider else (width, width / aspect)
    pad_x = pad_y = np.float32(0)
    if mode == LARGE and wider:
        pad_y = (height - width / aspect) / 2
    elif mode == LARGE:
        pad_x = (width - aspect * height) / 2
    x = _moved(objects.boxes[:, 0::2] * old_width, (width - 2 * pad_x) / old_width, pad_x, width)
    y = _moved(objects.boxes[:, 1::2] * old_height, (height - 2 * pad_y) / old_height, pad_y, height)
    return objects.at(np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).astype(np.float32))


def _moved(ends: Box, scale: np.float32, padding: np.float32, size: np.float32) -> Box:
    """Low and high ends in pixels, on the new axis and as shares of it."""
    scaled = ends * scale
    low, high = np.maximum(scaled[:, 0], 0), np.minimum(scaled[:, 1], size)
    return (np.stack([low, high], 1) + padding) / size


def expand(
    image: Pixels, param: Any, mean: NDArray[np.float32] | None, draw: np.random.Generator
) -> tuple[Pixels, Box | None]:
    """The image somewhere on a larger canvas, 1 to max_expand_ratio times as wide and high, filled with the mean.

    Beside it the canvas as a box in shares of the image; None where it stays as it is.
    """
    if draw.uniform() > param.prob or abs(param.max_expand_ratio - 1) < 1e-2:
        return image, None
    ratio = draw.uniform(1, param.max_expand_ratio)
    rows, columns = image.shape[1:]
    height, width = int(rows * ratio), int(columns * ratio)
    top, left = math.floor(draw.uniform(0, height - rows)), math.floor(draw.uniform(0, width - columns))
    canvas = np.zeros((len(image), height, width), np.uint8)
    if mean is not None:
        canvas[:] = rounded(mean.mean((1, 2), keepdims=True))
    canvas[:, top : top + rows, left : left + columns] = image
    box = np.array([-left / columns, -top / rows, (width - left) / columns, (height - top) / rows], np.float32)
    return canvas, box


def cut(image: Pixels, box: Box) -> Pixels:
    """The part of an image that a box within it shows, its corners rounded down to pixels."""
    rows, columns = image.shape[1:]
    left, top, right, bottom = (float(v) for v in box.clip(0, 1) * np.array([columns, rows, columns, rows], np.float32))
    x, y, width, height = int(left), int(top), int(right - left), int(bottom - top)
    return image[:, y : y + height, x : x + width]
