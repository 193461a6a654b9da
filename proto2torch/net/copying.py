"""Arrays of a weight file into the tensors of a net, as fast as memory is copied, and a piece at a time.

The file is mapped, so that its values go from where they lie straight to where they belong; its pages are let go once
they have been read, so that no more of it than some pieces is in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proto2torch.data import workers

Array = NDArray[np.float32]
Release = Callable[[Array], None]

_IN_MEMORY = 32 << 20  # bytes of a file that all threads together copy at once


@torch.no_grad()
def copy(pairs: Iterable[tuple[Tensor, Array]], release: Release = lambda _: None) -> None:
    """Fill tensors with arrays of their shapes, in order, each by several threads where it is large.

    `release` is told each part of an array that has been read.
    """

    def put(piece: tuple[Tensor, Array]) -> None:
        tensor, array = piece
        if tensor.device.type == "cpu" and tensor.dtype == torch.float32:
            np.copyto(tensor.numpy(), array)
        else:
            tensor.copy_(torch.from_numpy(np.asarray(array, order="C")))
        release(array)

    for tensor, array in pairs:
        workers.run(put, list(_pieces(tensor.detach(), array)))
        torch.autograd.graph.increment_version(tensor)  # numpy's writing is not seen by torch


def _pieces(tensor: Tensor, array: Array) -> Iterator[tuple[Tensor, Array]]:
    """Both cut along the first axis, into parts of as many bytes as one thread copies at once, or of one row."""
    rows = len(array) if array.ndim else 1
    step = max(1, _IN_MEMORY // workers.workers() * rows // max(1, array.nbytes))
    if step >= rows:
        yield tensor, array
        return
    for start in range(0, rows, step):
        yield tensor[start : start + step], array[start : start + step]
