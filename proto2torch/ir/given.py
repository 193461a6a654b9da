"""Shapes that a caller gives, in place of those that a database would say or an Input layer says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proto2torch.errors import DataError, NetError, Where, did_you_mean
from proto2torch.ir.graph import Net, Shape
from proto2torch.ir.lower import DataShapes
from proto2torch.prototxt.document import LayerDefinition

_LABELLED = ("Data", "ImageData", "MemoryData", "WindowData")
"""The types whose second top has one label an item."""


def tops(layer: LayerDefinition, shapes: Mapping[str, Shape]) -> list[Shape] | None:
    """The shapes of a layer's tops where they are given, or None; a label need not be."""
    names = list(layer.message.top)
    if layer.message.bottom or not names or names[0] not in shapes:
        return None
    if layer.type not in _LABELLED:
        return [shapes[name] for name in names] if all(name in shapes for name in names) else None
    return [shapes[names[0]], *(shapes.get(name, shapes[names[0]][:1]) for name in names[1:])]


def before(shapes: Mapping[str, Shape], otherwise: DataShapes) -> DataShapes:
    """The given shapes of a data layer's tops, and what `otherwise` says of a layer whose tops are not given."""

    def data_shapes(layer: LayerDefinition, phase: str) -> Sequence[Shape]:
        given = tops(layer, shapes)
        if given is not None:
            return given
        try:
            return otherwise(layer, phase)
        except DataError as error:
            names = " ".join(f"--shape {name}=N,…" for name in layer.message.top if name not in shapes)
            if layer.type in _LABELLED:
                names = f"--shape {layer.message.top[0]}=N,C,H,W"
            hint = f"{names} gives its shape without reading it"
            raise DataError(
                error.message, where=error.where, hint=f"{error.hint}\n  {hint}" if error.hint else hint
            ) from error

    return data_shapes


def check_known(shapes: Mapping[str, Shape], net: Net) -> None:
    """Refuse a shape for a blob that is no input of the net."""
    inputs = [value.blob for value in net.inputs]
    for name in shapes:
        if name not in inputs:
            hint = did_you_mean(name, inputs) or f"its inputs are {', '.join(inputs) or 'none'}"
            raise NetError(f"a shape is given for {name!r}, which is no input", where=Where(file=net.path), hint=hint)
