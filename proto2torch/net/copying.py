"""Arrays of a weight file into the tensors of a net, as fast as memory is copied, and a piece at a time.

Where it can be, the file is read straight into the memory of the parameters, so that no more of it than some pieces is
in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proto2torch.data import workers

Array = NDArray[np.float32]
Read = Callable[[Array, Array], None]
"""Copies the first array into the second, which is contiguous."""

_IN_MEMORY = 32 << 20  # bytes that all threads together copy at once


@torch.no_grad()
def copy(pairs: Iterable[tuple[Tensor, Array]], read: Read) -> None:
    """Fill tensors with arrays of their shapes, by several threads: a large one by all of them.

    Of several arrays for the same memory, that of a shared parameter, the last one is taken.
    """

    def put(piece: tuple[Tensor, Array]) -> None:
        tensor, array = piece
        if tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.is_contiguous():
            read(array, tensor.numpy())
        else:
            between = np.empty(array.shape, np.float32)
            read(array, between)
            tensor.copy_(torch.from_numpy(between))

    pairs = list({(tensor.data_ptr(), tensor.numel()): (tensor, array) for tensor, array in pairs}.values())
    try:
        workers.run(put, [piece for tensor, array in pairs for piece in _pieces(tensor.detach(), array)])
    finally:
        for tensor, _ in pairs:
            torch.autograd.graph.increment_version(tensor)  # torch does not see what is written into its memory


def _pieces(tensor: Tensor, array: Array) -> Iterator[tuple[Tensor, Array]]:
    """Both cut along the first axis, into parts of as many bytes as one thread copies at once, or of one row."""
    rows = len(array) if array.ndim else 1
    step = max(1, _IN_MEMORY // workers.workers() * rows // max(1, array.nbytes))
    if step >= rows:
        yield tensor, array
        return
    for start in range(0, rows, step):
        yield tensor[start : start + step], array[start : start + step]
