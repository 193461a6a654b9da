"""The numbers that go into a drawn net, from its seed and the names: the same for whoever asks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from .reference import Array, Shape
from .reference.base import count


@dataclass(frozen=True)
class Kind:
    """What an input holds: `below` whole numbers from 0 on, `unit` values in [0, 1], or else a normal distribution."""

    below: int | None = None
    unit: bool = False


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def input_values(seed: int, name: str, shape: Shape, kind: Kind) -> Array:
    """An input's values, all of them exact in float32."""
    stream = _stream(seed, name)
    if kind.below is not None:
        return stream.integers(0, kind.below, shape).astype(np.float32)
    return (stream.random(shape) if kind.unit else stream.standard_normal(shape)).astype(np.float32)


def blob_values(seed: int, name: str, layer: str, index: int, shape: Shape) -> Array:
    """A learnable blob's first values, which keep the layer's top of the size of its bottom."""
    stream = _stream(seed, f"{name} {index}")
    drawn = stream.standard_normal(shape)
    if layer == "BatchNorm":
        drawn = [0.5 * drawn, 0.5 + stream.random(shape), np.full(shape, 2.0)][index] * (1 if index == 2 else 2)
    elif layer == "PReLU":
        drawn = 0.4 * drawn
    elif len(shape) >= 2 and layer not in ("Scale", "Bias", "Parameter"):
        drawn = drawn / np.sqrt(count(shape) / shape[0])
    return drawn.astype(np.float32)


def dropout_mask(shape: Shape, ratio: float) -> Array:
    """The mask of every Dropout over this shape: 1 for what is kept."""
    return np.asarray(np.random.default_rng([1, *shape]).random(shape) >= ratio, dtype=float)
