"""SSD's rules for boxes once more, in plain Python: what the tests compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Box = Sequence[float]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union; inverted boxes have no area."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (area(a) + area(b) - width * height)


def area(box: Box) -> float:
    return 0.0 if box[2] < box[0] or box[3] < box[1] else (box[2] - box[0]) * (box[3] - box[1])


def encode(box: Box, prior: Box, code: str) -> list[float]:
    """The code of a box, before any variance."""
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        return [g - p for g, p in zip(box, prior, strict=True)]
    if code == "CORNER_SIZE":
        return [(g - p) / s for g, p, s in zip(box, prior, (width, height, width, height), strict=True)]
    x, y = (box[0] + box[2] - prior[0] - prior[2]) / 2, (box[1] + box[3] - prior[1] - prior[3]) / 2
    return [x / width, y / height, math.log((box[2] - box[0]) / width), math.log((box[3] - box[1]) / height)]


def decode(values: Box, prior: Box, variance: Box, code: str) -> list[float]:
    """The box that a code means."""
    scaled = [v * s for v, s in zip(values, variance, strict=True)]
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        return [p + c for p, c in zip(prior, scaled, strict=True)]
    if code == "CORNER_SIZE":
        return [p + c * s for p, c, s in zip(prior, scaled, (width, height, width, height), strict=True)]
    x, y = (prior[0] + prior[2]) / 2 + scaled[0] * width, (prior[1] + prior[3]) / 2 + scaled[1] * height
    half_width, half_height = math.exp(scaled[2]) * width / 2, math.exp(scaled[3]) * height / 2
    return [x - half_width, y - half_height, x + half_width, y + half_height]


def drawn(generator: np.random.Generator, count: int) -> np.ndarray:
    """Boxes of which most lie in the image, and some leave it."""
    centre, size = generator.uniform(0.1, 0.9, (count, 2)), generator.uniform(0.1, 0.6, (count, 2))
    return np.concatenate([centre - size / 2, centre + size / 2], 1).astype(np.float32)
