"""Caffe's fillers: the initial values of a learnable blob, drawn from one random stream in Caffe's order.

A net draws in the order of its layers and, in each, of its blobs; a blob that shares another's values draws too. What
data layers draw in between says `proto2torch.weights.seeds`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from proto2torch.errors import NetError, Where, did_you_mean
from proto2torch.weights.random import Stream
from proto2torch.weights.seeds import data_layer_draws

__all__ = ["data_layer_draws", "fill"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
_Filler = Callable[[Any, Shape, Stream, Where], Array]

_VARIANCE_NORMS = ("FAN_IN", "FAN_OUT", "AVERAGE")  # by number, as the file stores them


def fill(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    """The values of a blob of `shape`, float32, as Caffe fills it.

    `filler` is a FillerParameter; None is Caffe's default, zeros. Only random fillers take words from the stream.

    Raises:
        NetError at `where`: an unknown type, an empty blob, or a value that Caffe refuses.
    """
    if filler is None:
        return np.zeros(shape, np.float32)
    rule = _FILLERS.get(filler.type)
    if rule is None:
        raise NetError(
            f"no filler is called {filler.type!r}. Expected: {', '.join(_FILLERS)}",
            where=where,
            hint=did_you_mean(filler.type, _FILLERS),
        )
    if filler.sparse != -1 and filler.type != "gaussian":
        raise NetError(f"only a gaussian filler can be sparse. Received: type {filler.type!r}", where=where)
    if math.prod(shape) == 0:
        raise NetError(f"an empty blob cannot be filled. Received: shape {shape}", where=where)
    for field in ("value", "min", "max", "mean", "std"):
        if not math.isfinite(getattr(filler, field)):
            raise NetError(f"filler {field} must be a finite number. Received: {getattr(filler, field)}", where=where)
    return rule(filler, shape, stream, where).astype(np.float32, copy=False).reshape(shape)


def _constant(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    return np.full(shape, filler.value, np.float32)


def _uniform(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    if filler.min > filler.max:
        raise NetError(
            f"a uniform filler needs min <= max. Received: min {filler.min:g}, max {filler.max:g}", where=where
        )
    return stream.uniform(filler.min, filler.max, math.prod(shape))


def _gaussian(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    """N(mean, std); with `sparse` only a share of sparse / shape[0] stays, chosen after all are drawn."""
    if filler.std <= 0:
        raise NetError(f"a gaussian filler needs std > 0. Received: {filler.std:g}", where=where)
    values = stream.gaussian(filler.mean, filler.std, math.prod(shape))
    if filler.sparse == -1:
        return values
    rows = _leading(shape, "sparse", where)
    if not 0 <= filler.sparse <= rows:
        raise NetError(f"sparse must lie in [0, {rows}], the first extent. Received: {filler.sparse}", where=where)
    kept = np.float32(filler.sparse) / np.float32(rows)
    return values * stream.bernoulli(float(kept), len(values))


def _positive_unitball(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    """U(0, 1), each row divided by its sum, which Caffe adds up from left to right in float32."""
    rows = _leading(shape, "a positive_unitball filler", where)
    values = stream.uniform(0, 1, math.prod(shape)).reshape(rows, -1)
    sums = np.add.accumulate(values, axis=1)[:, -1:]
    return np.divide(values, sums)


def _xavier(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    """U(-a, a), a = sqrt(3 / n)."""
    scale = np.sqrt(np.float32(3) / _fan(filler, shape, where))
    return stream.uniform(float(-scale), float(scale), math.prod(shape))


def _msra(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    """N(0, sqrt(2 / n))."""
    deviation = np.sqrt(np.float32(2) / _fan(filler, shape, where))
    return stream.gaussian(0, float(deviation), math.prod(shape))


def _bilinear(filler: Any, shape: Shape, stream: Stream, where: Where) -> Array:
    """(1 - |x/f - c|)(1 - |y/f - c|), f = ceil(k/2), c = (k - 1)/(2f), the same for every pair of channels."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise NetError(f"a bilinear filler needs a blob of 4 axes with a square kernel. Received: {shape}", where=where)
    extent = shape[3]
    factor = np.float32((extent + 1) // 2)
    centre = np.float32((extent - 1) / (2.0 * float(factor)))
    ramp = np.float32(1) - np.abs(np.arange(extent, dtype=np.float32) / factor - centre)
    return np.broadcast_to(ramp[None, :] * ramp[:, None], shape).copy()


def _fan(filler: Any, shape: Shape, where: Where) -> np.float32:
    """The n of xavier and msra: the values per entry of axis 0 (FAN_IN), of axis 1 (FAN_OUT), or the mean of both."""
    count = math.prod(shape)
    fan_in = count // _leading(shape, f"a {filler.type} filler", where)
    fan_out = count // shape[1] if len(shape) > 1 else count
    norm = _VARIANCE_NORMS[filler.variance_norm]
    if norm == "AVERAGE":
        return np.float32(fan_in + fan_out) / np.float32(2)
    return np.float32(fan_out if norm == "FAN_OUT" else fan_in)


def _leading(shape: Shape, what: str, where: Where) -> int:
    if not shape:
        raise NetError(f"{what} needs a blob with an axis. Received: a scalar blob", where=where)
    return shape[0]


_FILLERS: dict[str, _Filler] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
