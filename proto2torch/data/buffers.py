"""Memory for batches that is used again: fresh memory costs more, page by page, than what is written to it."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto2torch.ir.graph import Shape

_KEPT = 8  # arrays that lie idle or are in use and come back


class Buffers:
    """Gives arrays of one shape at a time; one comes back by itself when no tensor over it is left."""

    def __init__(self, dtype: type[np.uint8] | type[np.float32]) -> None:
        self._dtype = dtype
        self._shape: Shape = ()
        self._lent: list[tuple[NDArray[Any], weakref.ref[Any]]] = []
        self._lock = threading.Lock()

    def take(self, shape: Shape) -> NDArray[Any]:
        """An array that nobody else holds; what is in it is of no meaning."""
        with self._lock:
            if shape != self._shape:
                self._shape, self._lent = shape, []
            for number, (array, user) in enumerate(self._lent):
                if user() is None:
                    view = array.view()
                    self._lent[number] = array, weakref.ref(view)
                    return view
            array = np.empty(shape, self._dtype)
            view = array.view()
            if len(self._lent) < _KEPT:
                self._lent.append((array, weakref.ref(view)))
            return view
