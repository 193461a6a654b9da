"""How far two computations of the same values are apart."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def largest(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest |found - expected|, in units of the largest finite |expected| where that is above 1.

    NaN equals NaN and an infinity itself. Where only one of both has them, or shapes differ, the result is infinite.
    """
    if len(found) != len(expected):
        return float("inf")
    return max((_one(a, b) for a, b in zip(found, expected, strict=True)), default=0.0)


def shown(difference: float) -> str:
    """A difference in one digit, so that it is the same on every run: `0`, `6e-08`."""
    return f"{difference:.0e}" if difference else "0"


def _one(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    a, b = found.detach().double(), expected.detach().double()
    same = (a == b) | (a.isnan() & b.isnan())
    if same.all():
        return 0.0
    if not (a[~same].isfinite().all() and b[~same].isfinite().all()):
        return float("inf")
    finite = b[b.isfinite()].abs()
    return float((a - b)[~same].abs().max() / finite.max().clamp(min=1))
