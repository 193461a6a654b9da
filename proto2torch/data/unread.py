"""What stands for a data layer whose shapes are given and that is not read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from proto2torch.data.feed import Batch, Seed
from proto2torch.errors import DataError, Where
from proto2torch.ir import given
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition


class Unread:
    """A feed that has shapes and gives no batch."""

    def __init__(self, shapes: Sequence[Shape], where: Where | None = None) -> None:
        self.shapes, self._where = list(shapes), where

    def next(self) -> Batch:
        """There is none."""
        raise DataError("its shape was given, and it is not read", where=self._where)

    def reseed(self, seed: Seed) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Nothing is open."""


def feeds(layers: Iterable[LayerDefinition], shapes: Mapping[str, Shape]) -> dict[str, Unread]:
    """What stands, by name, for those of the layers whose tops have shapes among those given."""
    tops = {layer.name: (layer, given.tops(layer, shapes)) for layer in layers}
    return {name: Unread(known, layer.where()) for name, (layer, known) in tops.items() if known is not None}
