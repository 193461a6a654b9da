"""What a weight file holds: blobs by layer, before anything is known of the net that they are for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proto2torch.errors import WeightsError, Where
from proto2torch.weights import wire

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StoredBlob:
    """One blob as its file holds it.

    `array` is float32 and may lie unaligned in the mapped file: it is valid while the file is not cut short.
    """

    array: Array
    legacy: bool = False
    """Whether the file gives num, channels, height and width; the array then has 4 axes."""
    diff: Array | None = None


@dataclass(frozen=True)
class StoredLayer:
    """The blobs of one layer, in order. Only an HDF5 file can leave one out (None): a shared one of another layer."""

    name: str
    blobs: tuple[StoredBlob | None, ...]
    type: str = ""
    """Caffe's type name; empty where the file does not say it in words."""


@dataclass(frozen=True)
class StoredWeights:
    """The layers of a weight file by name, in file order. Of several of one name, Caffe uses the first."""

    layers: Mapping[str, StoredLayer]
    path: str | None = None
    name: str = ""
    """The net's own name."""
    hdf5: bool = False
    """Whether it came from HDF5, whose blobs match by HDF5's rule."""
    data: memoryview | None = field(default=None, repr=False)
    """The mapped file that arrays lie in."""

    def read(self, array: Array, into: Array) -> None:
        """Copy an array of these weights, or a part of one, into another of its shape, float32 and contiguous.

        Where it lies in the mapped file as it is, it is read from there.

        Raises:
            WeightsError: the file has been cut short meanwhile.
        """
        start = self._offset(array)
        if start is None:
            np.copyto(into, array)
            return
        assert self.data is not None
        try:
            wire.read(self.data, start, into.reshape(-1).view(np.uint8).data)
        except EOFError as error:
            raise WeightsError(
                f"it has become shorter while it was read: {error}", where=Where(file=self.path)
            ) from error

    def _offset(self, array: Array) -> int | None:
        """Where the values of an array lie in the mapped file; None where they do not lie there in a row."""
        if self.data is None or not array.size or not array.flags.c_contiguous:
            return None
        start = array.ctypes.data - np.frombuffer(self.data, np.uint8).ctypes.data
        return int(start) if 0 <= start <= len(self.data) - array.nbytes else None

    def arrays(self) -> dict[str, list[Array]]:
        """The layers that have blobs, each as a list of float32 arrays of their own memory."""
        return {
            name: [np.array(blob.array) for blob in layer.blobs if blob is not None]
            for name, layer in self.layers.items()
            if any(blob is not None for blob in layer.blobs)
        }


def of_arrays(layers: Mapping[str, Sequence[Any]]) -> StoredWeights:
    """Arrays or tensors by layer as if a file had held them.

    Raises:
        WeightsError: a name is no string, a layer has no sequence, or something in it is no array of numbers.
    """
    return StoredWeights({name: StoredLayer(name, tuple(_blobs(name, blobs))) for name, blobs in layers.items()})


def _blobs(name: Any, blobs: Any) -> Iterator[StoredBlob]:
    if not isinstance(name, str):
        raise WeightsError(f"layers are named by strings. Received: {name!r}")
    if isinstance(blobs, (str, bytes, Mapping)) or not isinstance(blobs, Iterable):
        message = f"expected a list of arrays, one for each blob. Received: {type(blobs).__name__}"
        raise WeightsError(message, where=Where(layer=name))
    for index, blob in enumerate(blobs):
        yield StoredBlob(_array(blob, index, name))


def _array(blob: Any, index: int, name: str) -> Array:
    """An array, a tensor of any device, or nested lists, as float32."""
    if hasattr(blob, "detach"):
        blob = blob.detach().cpu().float().numpy()
    try:
        array = np.asarray(blob)
    except (ValueError, TypeError) as error:
        message = f"expected an array of numbers for blob {index}: {error}"
        raise WeightsError(message, where=Where(layer=name)) from error
    if array.dtype.kind not in "biuf":
        message = f"expected an array of numbers for blob {index}. Received: {type(blob).__name__} of {array.dtype}"
        raise WeightsError(message, where=Where(layer=name))
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinity, as in a file
        return array.astype(np.float32, copy=False)
