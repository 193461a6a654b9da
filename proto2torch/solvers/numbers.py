"""float32 arithmetic on Python numbers: Caffe keeps every hyperparameter as a `float`."""

from __future__ import annotations

import math
import struct


def float32(value: float) -> float:
    """The float32 nearest to `value`; infinite beyond its range."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


def power(base: float, exponent: float) -> float:
    """C's `pow` in double precision: infinite or NaN where Python raises."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


def exp(value: float) -> float:
    """C's `exp` in double precision."""
    return math.exp(value) if value < 709 else math.inf


def shown(value: float) -> str:
    """`value` as a C++ stream prints a float: six significant digits, `1.40224`, `1e-05`, `-nan` as `nan`."""
    return f"{value:.6g}"
