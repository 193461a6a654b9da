"""Activations of a net's blobs, batch after batch: from its own data layers, or from images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import workers
from proto2torch.errors import DataError
from proto2torch.predict.preprocess import Preprocessor

if TYPE_CHECKING:
    from proto2torch.net import Net

Array = NDArray[np.float32]


def extract(
    net: Net, blobs: Sequence[str], batches: Iterable[Mapping[str, Any]], *, keep: bool = False
) -> Iterator[dict[str, Array]]:
    """The named blobs of each batch as float32 arrays, rows first; in-place ones with their last value.

    Layers that none of them needs do not run. With `keep` each array has its own memory; else it is valid until the
    next batch.

    Args:
        batches: the inputs of each batch by name, as `net(...)` takes them; what is missing the data layers give.

    Raises:
        NetError: the net has no such blob, or lacks an input.
        DataError: the rows of a blob change their shape from one batch to another.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.inference_mode():
        for inputs in batches:
            found = net.features(*blobs, **inputs)
            arrays = {name: _rows(found[name], keep) for name in blobs}
            for name, array in arrays.items():
                if array.shape[1:] != shapes.setdefault(name, array.shape[1:]):
                    message = f"the rows of blob {name!r} must keep their shape, {shapes[name]}."
                    raise DataError(f"{message} Received: {array.shape[1:]}")
            yield arrays


def own(iterations: int) -> Iterator[dict[str, Any]]:
    """`iterations` batches that the net's data layers give."""
    return ({} for _ in range(iterations))


def images(paths: Sequence[str], prepare: Preprocessor, batch: int, name: str) -> Iterator[dict[str, Any]]:
    """Images in batches of `batch`, the last one with what is left, for the input `name` of a net."""
    for start in range(0, len(paths), batch):
        some = paths[start : start + batch]
        yield {name: torch.from_numpy(np.stack(workers.run(prepare, some)))}


def _rows(tensor: torch.Tensor, keep: bool) -> Array:
    """A blob on the host; one without axes is one row."""
    array: Array = tensor.detach().float().cpu().numpy()
    array = array.reshape(1) if array.ndim == 0 else array
    return np.array(array) if keep else array
