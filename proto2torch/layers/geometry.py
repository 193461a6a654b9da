"""The axes that a bottom must have; kernel, stride, pad and dilation as messages give them, for all axes or by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proto2torch.ir.graph import Shape
    from proto2torch.layers.base import Layer


def check_channels(layer: Layer, x: Shape) -> None:
    """Refuse a bottom that is not (N, C, …)."""
    if len(x) < 2:
        raise layer.error(f"needs a channel axis behind the batch. Received: a bottom of shape {x}", "bottom")


def check_planes(layer: Layer, x: Shape) -> None:
    """Refuse a bottom that is not (N, C, H, W)."""
    if len(x) != 4:
        raise layer.error(f"works on planes: a bottom of 4 axes. Received: a bottom of shape {x}", "bottom")


def extents(
    layer: Layer, field: str, axes: int, default: int | None = None, short: str | None = None
) -> tuple[int, ...]:
    """The value of a repeated field for each spatial axis: none given, one for all, or one each.

    `short` is the stem of its `_h` and `_w` forms, which hold for two axes only and exclude the repeated form.
    """
    p = layer.p
    values = list(getattr(p, field))
    if short is not None and (p.HasField(f"{short}_h") or p.HasField(f"{short}_w")):
        return _by_name(layer, field, short, axes, values)
    if not values and default is not None:
        return (default,) * axes
    if len(values) not in (1, axes):
        given = "once or once for each of the " + f"{axes} spatial axes"
        raise layer.error(f"{field} must be given {given}. Received: {values or 'nothing'}", field)
    return tuple(values * axes if len(values) == 1 else values)


def _by_name(layer: Layer, field: str, short: str, axes: int, values: Sequence[int]) -> tuple[int, ...]:
    if axes != 2:
        raise layer.error(f"{short}_h and {short}_w hold for 2 spatial axes. Received: {axes}", f"{short}_h")
    if values:
        raise layer.error(f"give either {field} or {short}_h and {short}_w, not both", field)
    return int(getattr(layer.p, f"{short}_h")), int(getattr(layer.p, f"{short}_w"))


def positive(layer: Layer, field: str, values: Sequence[int]) -> None:
    """Refuse a zero, which Caffe aborts on."""
    if any(v <= 0 for v in values):
        raise layer.error(f"{field} must be greater than zero. Received: {tuple(values)}", field)


def both(layer: Layer, field: str, short: str, default: int | None) -> tuple[int, int]:
    """A two-axis field of the pooling kind: a single `field`, or both of its `_h` and `_w` forms."""
    p = layer.p
    h, w = p.HasField(f"{short}_h"), p.HasField(f"{short}_w")
    if not h and not w:
        if not p.HasField(field) and default is None:
            raise layer.error(f"needs {field}, or {short}_h and {short}_w", "")
        value = int(getattr(p, field)) if p.HasField(field) else int(default or 0)
        return value, value
    if p.HasField(field):
        raise layer.error(f"give either {field} or {short}_h and {short}_w, not both", field)
    if not (h and w):
        raise layer.error(f"{short}_h and {short}_w go together", f"{short}_h" if h else f"{short}_w")
    return int(getattr(p, f"{short}_h")), int(getattr(p, f"{short}_w"))
