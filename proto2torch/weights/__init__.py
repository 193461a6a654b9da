"""Weights between Caffe's files and a net: reading, matching by layer name, writing; and the fillers without them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from proto2torch.errors import WeightsError, Where
from proto2torch.weights import blobproto, caffemodel, formats, wire
from proto2torch.weights.matching import match
from proto2torch.weights.report import Report
from proto2torch.weights.stored import StoredWeights, of_arrays

__all__ = ["Report", "StoredWeights", "blobproto", "match", "read", "read_stored", "save"]

Array = np.ndarray[Any, Any]


def read(path: str, check: bool = True) -> dict[str, list[Array]]:
    """The blobs of each layer that has any, in Caffe's order and shape, float32.

    Args:
        path: a .caffemodel or .caffemodel.h5, told apart by content.
        check: verify the checksum of a file that has one.

    Raises:
        WeightsError: the file cannot be read or is no weight file.
    """
    return read_stored(path, check).arrays()


def read_stored(source: str | Mapping[str, Sequence[Any]], check: bool = True) -> StoredWeights:
    """What a weight file holds, for `match`, a .caffemodel without a copy; or arrays by layer, as from a file."""
    if isinstance(source, Mapping):
        return of_arrays(source)
    if formats.is_hdf5(wire.mapped(source, WeightsError)):
        from proto2torch.weights import hdf5

        return hdf5.read(source)
    return caffemodel.read(source, check)


def save(
    path: str,
    name: str,
    layers: Iterable[tuple[Any, Sequence[Array]]],
    state_dict: Mapping[str, Any] | None = None,
    shared: Collection[tuple[str, int]] = (),
) -> None:
    """Write the weights of a net as what the ending of `path` says: .caffemodel, .h5, or .safetensors of `state_dict`.

    `shared` are the (layer, index) of blobs that another layer owns, which an HDF5 file leaves out.

    Raises:
        WeightsError: no format has this ending, or the format cannot hold these weights.
        RunError: the file cannot be written.
    """
    if path.endswith(".h5"):
        from proto2torch.weights import hdf5

        hdf5.write(path, layers, shared=shared)
    elif path.endswith(".safetensors"):
        from proto2torch.weights import tensors

        tensors.write(path, state_dict or {})
    elif path.endswith(".caffemodel"):
        caffemodel.write(path, name, layers, seal=True)
    else:
        raise WeightsError(
            "the ending of a weight file must be .caffemodel, .caffemodel.h5 or .safetensors", where=Where(file=path)
        )
