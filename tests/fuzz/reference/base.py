"""What a layer of the reference is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]

LAYERS: dict[str, type[Layer]] = {}
"""Every layer class by Caffe's type name."""


class Refused(Exception):
    """Caffe aborts on this."""


class Layer:
    """One layer: `blobs` are its learnable blobs, `diffs` what its last backward gave each of them.

    `kept` is what forward keeps for backward, as Caffe keeps copies and masks beside its blobs.
    """

    loss: ClassVar[bool] = False
    takes_no_gradient: ClassVar[tuple[int, ...]] = ()
    """The bottoms for which Caffe aborts when they need a gradient."""
    not_forced: ClassVar[tuple[int, ...]] = ()
    """The bottoms that force_backward leaves as they are."""
    has_backward: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    """Its tops hold values of its bottoms, or whole numbers: nothing is rounded."""
    by_value: ClassVar[bool] = False
    """Each top value depends on one bottom value alone, so that equal ones give equal ones."""

    def __init_subclass__(cls, type: str | None = None, param: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type is not None:
            cls.param = param
            LAYERS[type] = cls

    param: ClassVar[str | None] = None

    def __init__(self, message: Any, phase: str) -> None:
        self.message = message
        self.phase = ("TRAIN", "TEST")[message.phase] if message.HasField("phase") else phase
        self.p: Any = getattr(message, self.param) if self.param else None
        self.in_place = bool(message.bottom and message.top and message.bottom[0] == message.top[0])
        self.blobs: list[Array] = []
        self.diffs: list[Array] = []
        self.kept: Any = None

    def tops(self, *x: Shape) -> list[Shape]:
        """The shapes of the tops for bottoms of these shapes; Refused where Caffe aborts."""
        return [x[0]]

    def blob_shapes(self, *x: Shape) -> list[Shape]:
        """The shapes of the learnable blobs, in stored order."""
        return []

    def forward(self, *x: Array) -> Any:
        """The data of the top, or a tuple for several."""
        raise NotImplementedError

    def backward(self, x: Sequence[Array], y: Sequence[Array], dy: Sequence[Array]) -> Any:
        """The diff of the bottom, or a tuple with None where there is none; `diffs` is set."""
        raise NotImplementedError

    def overwrites(self, index: int, *x: Shape) -> bool:
        """Whether backward overwrites the diff of blob `index`, where others add to it."""
        return False


def require(condition: bool, why: str) -> None:
    """Refused unless the condition holds."""
    if not condition:
        raise Refused(why)


def axis_of(axis: int, shape: Shape) -> int:
    """A Caffe axis as an index; a negative one counts from the end."""
    require(-len(shape) <= axis < len(shape), f"axis {axis} of {shape}")
    return axis % len(shape)


def count(shape: Sequence[int]) -> int:
    """The number of elements."""
    return int(np.prod(shape, dtype=np.int64))
