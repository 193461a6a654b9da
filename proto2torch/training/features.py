"""Activations of a net's blobs, batch after batch: from its own data layers, or from images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import workers
from proto2torch.data.prefetch import Prefetcher
from proto2torch.errors import DataError
from proto2torch.predict.preprocess import Preprocessor

if TYPE_CHECKING:
    from proto2torch.net import Net

Array = NDArray[np.float32]

_AHEAD = 2  # batches of images that are decoded while the net works


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
    behind = 1 if net.device.type == "cuda" else 0  # there the next batch begins while this one is on its way
    waiting: deque[dict[str, Callable[[], Array]]] = deque()
    for inputs in batches:
        with torch.inference_mode():  # not around the yield: it would hold for the caller too
            found = net.features(*blobs, **inputs)
            waiting.append({name: _coming(found[name], keep) for name in blobs})
        if len(waiting) > behind:
            yield _arrived(waiting.popleft(), shapes)
    while waiting:
        yield _arrived(waiting.popleft(), shapes)


def own(iterations: int) -> Iterator[dict[str, Any]]:
    """`iterations` batches that the net's data layers give."""
    return ({} for _ in range(iterations))


def images(paths: Sequence[str], prepare: Preprocessor, batch: int, name: str) -> Iterator[dict[str, Any]]:
    """Images in batches of `batch`, the last one with what is left, for the input `name` of a net."""

    def decoded(start: int) -> torch.Tensor:
        return torch.from_numpy(np.stack(workers.run(prepare, paths[start : start + batch])))  # fails behind the last

    ahead = Prefetcher(decoded, 0, batch, _AHEAD)
    try:
        for _ in range(0, len(paths), batch):
            yield {name: ahead.next()}
    finally:
        ahead.close()


def _coming(tensor: torch.Tensor, keep: bool) -> Callable[[], Array]:
    """What gives a blob on the host once it is there; one without axes is one row."""
    rows = tensor.detach().float()
    rows = rows.reshape(1) if rows.ndim == 0 else rows
    if rows.device.type == "cuda":
        host, copied = rows.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(rows.device))

        def arrived() -> Array:
            copied.synchronize()
            return host.numpy()

        return arrived
    array: Array = rows.cpu().numpy()
    array = np.array(array) if keep else array
    return lambda: array


def _arrived(coming: Mapping[str, Callable[[], Array]], shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """The blobs of one batch; their rows must have the shapes of those before."""
    arrays = {name: arrived() for name, arrived in coming.items()}
    for name, array in arrays.items():
        if array.shape[1:] != shapes.setdefault(name, array.shape[1:]):
            message = f"the rows of blob {name!r} must keep their shape, {shapes[name]}."
            raise DataError(f"{message} Received: {array.shape[1:]}")
    return arrays
