"""What a weight file holds: blobs by layer, before anything is known of the net that they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Arrays by layer as if a file had held them."""
    return StoredWeights(
        {
            name: StoredLayer(name, tuple(StoredBlob(np.asarray(blob, dtype=np.float32)) for blob in blobs))
            for name, blobs in layers.items()
        }
    )
