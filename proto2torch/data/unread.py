"""What stands for a data layer whose shapes are given and that is not read."""

from __future__ import annotations

from collections.abc import Sequence

from proto2torch.data.feed import Batch, Seed
from proto2torch.errors import DataError, Where
from proto2torch.ir.graph import Shape


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
