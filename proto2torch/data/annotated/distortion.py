"""Random changes of brightness, contrast, saturation and hue, in OpenCV's eight bits.

Each is made with its probability: brightness adds a number of [-delta, delta], contrast multiplies by one of
[lower, upper], saturation multiplies HSV's S by one of [lower, upper], hue adds one of [-delta, delta] to its H, which
goes from 0 to 179. Contrast comes last or right after brightness, as often as not. At each step values are rounded and
kept within 0 to 255.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from proto2torch.data.resize import Pixels, rounded

_SHIFT = 12
_BY_VALUE = np.array([0, *(round((255 << _SHIFT) / v) for v in range(1, 256))], np.int32)
_BY_RANGE = np.array([0, *(round((180 << _SHIFT) / (6 * v)) for v in range(1, 256))], np.int32)


def distort(image: Pixels, param: Any, draw: np.random.Generator) -> Pixels:
    """An image (3, H, W), blue first, changed as DistortionParameter says."""
    late = draw.uniform() > 0.5

    def contrast(image: Pixels) -> Pixels:
        if draw.uniform() >= param.contrast_prob:
            return image
        return scaled(image, draw.uniform(param.contrast_lower, param.contrast_upper))

    if draw.uniform() < param.brightness_prob:
        image = shifted(image, draw.uniform(-param.brightness_delta, param.brightness_delta))
    image = contrast(image) if late else image
    if draw.uniform() < param.saturation_prob:
        image = saturated(image, draw.uniform(param.saturation_lower, param.saturation_upper))
    if draw.uniform() < param.hue_prob:
        image = turned(image, draw.uniform(-param.hue_delta, param.hue_delta))
    image = image if late else contrast(image)
    if draw.uniform() < param.random_order_prob:
        image = image[draw.permutation(3)]
    return image


def shifted(image: Pixels, by: float) -> Pixels:
    """Every value plus `by`."""
    return rounded(_LEVELS + np.float32(by))[image]


def scaled(image: Pixels, by: float) -> Pixels:
    """Every value times `by`; the image itself for what is as good as 1."""
    return rounded(_LEVELS * np.float32(by))[image] if abs(by - 1) > 1e-3 else image


def saturated(image: Pixels, by: float) -> Pixels:
    """The saturation times `by`."""
    hsv = to_hsv(image)
    hsv[1] = rounded(_LEVELS * np.float32(by))[hsv[1]]
    return from_hsv(hsv)


def turned(image: Pixels, by: float) -> Pixels:
    """The hue plus `by`, of 180 a full turn."""
    hsv = to_hsv(image)
    hsv[0] = rounded(_LEVELS + np.float32(by))[hsv[0]]
    return from_hsv(hsv)


_LEVELS = np.arange(256, dtype=np.float32)


def to_hsv(image: Pixels) -> Pixels:
    """(3, H, W): hue from 0 to 179, saturation and value, by OpenCV's integers."""
    blue, green, red = image.astype(np.int32)
    value = np.maximum(np.maximum(blue, green), red)
    spread = value - np.minimum(np.minimum(blue, green), red)
    half = 1 << (_SHIFT - 1)
    saturation = (spread * _BY_VALUE[value] + half) >> _SHIFT
    hue = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (hue * _BY_RANGE[spread] + half) >> _SHIFT
    return np.stack([hue + 180 * (hue < 0), saturation, value]).astype(np.uint8)


def from_hsv(image: Pixels) -> Pixels:
    """(3, H, W), blue first; the hue may be anything of eight bits."""
    hue = image[0].astype(np.float32) * np.float32(6 / 180)
    saturation, value = image[1:].astype(np.float32) * np.float32(1 / 255)
    sector = np.floor(hue)
    part = hue - sector
    levels = np.stack(
        [
            value,
            value * (1 - saturation),
            value * (1 - saturation * part),
            value * (1 - saturation * (1 - part)),
        ]
    )
    chosen = _SECTORS[:, sector.astype(np.intp) % 6]
    return rounded(np.take_along_axis(levels, chosen, 0) * np.float32(255))


_SECTORS = np.array([[1, 1, 3, 0, 0, 2], [3, 0, 0, 2, 1, 1], [0, 2, 1, 1, 3, 0]])
"""Which of the four levels blue, green and red have, by the sector of the hue."""
