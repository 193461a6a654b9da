"""What `import caffe` finds in a module of Python layers: the classes that such layers are written against."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]


class Blob:
    """An array `data` and its gradient `diff`, float32, as pycaffe shows them.

    `reshape` keeps the memory where it is large enough, and zeroes it where it grows.
    """

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._memory = np.zeros((2, math.prod(shape) if shape else 0), np.float32)

    def reshape(self, *shape: int) -> None:
        """Give it another shape."""
        self._shape = tuple(int(extent) for extent in shape)
        if math.prod(self._shape) > self._memory.shape[1]:
            self._memory = np.zeros((2, math.prod(self._shape)), np.float32)

    @property
    def data(self) -> Array:
        return self._view(0)

    @property
    def diff(self) -> Array:
        return self._view(1)

    def _view(self, which: int) -> Array:
        count = math.prod(self._shape)
        memory: Array = self._memory[which, :count]
        return memory.reshape(self._shape) if memory.size == count else memory  # else it was never given a shape

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return self.data.size

    def _legacy(self, axis: int) -> int:
        return self._shape[axis] if axis < len(self._shape) else 1

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)


class Blobs(list[Blob]):
    """The learnable blobs of a layer."""

    def add_blob(self, *shape: int) -> None:
        """Add one of zeros."""
        self.append(Blob(*shape))


class Layer:
    """The class that Python layers derive from: `setup`, `reshape`, `forward` and `backward` are theirs to write.

    `param_str` and `phase` (0 TRAIN, 1 TEST) are set before `setup`, where `self.blobs.add_blob` makes learnable blobs.
    """

    param_str: str
    param_str_: str
    phase: int

    def __init__(self, layer_param: Any = None, *args: Any, **kwargs: Any) -> None:
        self.layer_param = layer_param

    @property
    def blobs(self) -> Blobs:
        found: Blobs = self.__dict__.setdefault("_blobs", Blobs())
        return found

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Called once, before all else."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Called after `setup` and before each forward, to give the tops their shapes."""
        raise NotImplementedError

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Write the data of the tops."""
        raise NotImplementedError

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Write the diffs of those bottoms that `propagate_down` names, and of the blobs."""
        raise NotImplementedError


class _Caffe(ModuleType):
    TRAIN, TEST = 0, 1
    Layer = Layer
    __version__ = "1.0.0"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"for Python layers there are caffe.Layer, caffe.TRAIN and caffe.TEST. Received: {name}")


CAFFE = _Caffe("caffe", __doc__)


@contextmanager
def importable(*folders: str) -> Iterator[None]:
    """While a user's module is loaded, `import caffe` finds this one, and modules are looked for in `folders` too."""
    before, path = sys.modules.get("caffe"), list(sys.path)
    sys.modules["caffe"] = CAFFE
    sys.path += [os.path.abspath(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = path
        if before is None:
            del sys.modules["caffe"]
        else:
            sys.modules["caffe"] = before
