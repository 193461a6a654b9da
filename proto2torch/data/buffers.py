"""Memory for batches that is used again: fresh memory costs more, page by page, than what is written to it."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.ir.graph import Shape

_KEPT = 8  # arrays that lie idle or are in use and come back


class Buffers:
    """Gives arrays of one shape at a time; one comes back by itself when no tensor or view of it is left."""

    def __init__(self) -> None:
        self._shape: Shape = ()
        self._lent: list[tuple[NDArray[np.float32], weakref.ref[Any]]] = []
        self._lock = threading.Lock()

    def take(self, shape: Shape) -> NDArray[np.float32]:
        """An array of float32 that nobody else holds; what is in it is of no meaning."""
        with self._lock:
            if shape != self._shape:
                self._shape, self._lent = shape, []
            for number, (array, user) in enumerate(self._lent):
                if user() is None:
                    view = array.view()
                    self._lent[number] = array, weakref.ref(view)
                    return view
            array = np.empty(shape, np.float32)
            view = array.view()
            if len(self._lent) < _KEPT:
                self._lent.append((array, weakref.ref(view)))
            return view


def pinned(shape: Shape, device: torch.device) -> torch.Tensor:
    """Bytes on the host to be copied to `device`; where that is a CUDA device, pinned, so that the copy need not wait.

    torch keeps pinned memory until the copies out of it are done, and uses it again.
    """
    return torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
