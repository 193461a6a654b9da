"""HDF5 files as Caffe writes them: weights (.caffemodel.h5), and the ways around h5py that snapshots share.

A weight file has a group `data` with a group for each layer, and in it the blobs as datasets `0`, `1`, …; blobs that
belong to another layer are left out. With `snapshot_diff` a group `diff` of the same layout has them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from proto2torch import files
from proto2torch.errors import Proto2TorchError, WeightsError, Where, unreadable
from proto2torch.weights.stored import StoredBlob, StoredLayer, StoredWeights

Array = np.ndarray[Any, Any]

_DATA, _DIFF = "data", "diff"
_INDEX = re.compile("0|[1-9][0-9]{0,3}")
_MOST_COMPRESSED = 1100  # deflate makes at most 1032 bytes of one
_FAILURES = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, AttributeError)  # of h5py


def read(path: str) -> StoredWeights:
    """The blobs of every layer, those without blobs too. The group `diff` is not read, as in Caffe.

    Raises:
        WeightsError: the file cannot be read or is no Caffe weight file, naming the group or dataset.
    """
    with opened(path, WeightsError) as file:
        data = _group(file, _DATA, path)
        return StoredWeights({name: _layer(name, group, path) for name, group in data.items()}, path, hdf5=True)


def write(
    path: str,
    layers: Iterable[tuple[Any, Sequence[Array]]],
    diffs: Iterable[Sequence[Array]] | None = None,
    shared: Collection[tuple[str, int]] = (),
) -> None:
    """Write the weights of a net: pairs of a LayerParameter and its arrays in Caffe's stored shape.

    `diffs` are the arrays of `snapshot_diff`, layer by layer; `shared` the (layer, index) of blobs that another layer
    owns.

    Raises:
        WeightsError: a layer's name cannot name a group, as in Caffe.
        RunError: the file cannot be written.
    """

    def fill(file: Any) -> None:
        data = file.create_group(_DATA)
        diff = file.create_group(_DIFF) if diffs is not None else None
        changes = iter(diffs) if diffs is not None else None
        for message, blobs in layers:
            _check_name(message.name, data, path)
            _put(data.create_group(message.name), blobs, {i for layer, i in shared if layer == message.name})
            if diff is not None and changes is not None:
                _put(diff.create_group(message.name), next(changes), set())

    create(path, fill)


def create(path: str, fill: Callable[[Any], None]) -> None:
    """Write an HDF5 file whole or not at all: `fill` is given the open h5py.File.

    It is made in memory and written as bytes: HDF5 itself does not survive a disk that fills up under it.
    """
    with files.atomic(path) as temporary:
        with h5py.File(temporary.name, "w", driver="core", backing_store=False) as file:
            fill(file)
            file.flush()
            image = file.id.get_file_image()
        temporary.write_bytes(image)


@contextmanager
def opened(path: str, kind: type[Proto2TorchError]) -> Iterator[Any]:
    """The h5py.File to read; whatever h5py says of a broken file becomes `kind`."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        unreadable(path, error, kind)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except Proto2TorchError:
        raise
    except _FAILURES as error:
        raise kind(f"broken HDF5 file: {error}", where=Where(file=path)) from error


def values(group: Any, name: str, path: str, kind: type[Proto2TorchError]) -> Array:
    """A dataset as a float32 array.

    Refuses what Caffe never writes and a hostile file could: links out of the file, and sizes that the file's own
    bytes cannot hold.
    """

    def refuse(message: str) -> Proto2TorchError:
        return kind(f"dataset {group.name}/{name} {message}", where=Where(file=path))

    dataset = member(group, name)
    if not isinstance(dataset, h5py.Dataset):
        raise refuse("is expected. Received: a group or a link")
    if dataset.is_virtual or dataset.external:
        raise refuse("keeps its values in another file")
    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise refuse(f"must hold numbers. Received: {dataset.dtype}")
    if dataset.size * dataset.dtype.itemsize > _MOST_COMPRESSED * dataset.id.get_storage_size():
        raise refuse(f"claims shape {dataset.shape}, and the file holds {dataset.id.get_storage_size()} bytes of it")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(dataset[()]).astype(np.float32, copy=False).reshape(dataset.shape)


def _group(file: Any, name: str, path: str) -> Mapping[str, Any]:
    """The members of a group of groups by name."""
    group = member(file, name)
    if not isinstance(group, h5py.Group):
        hint = "it is a solverstate, whose weights lie in the file that it names" if "history" in file else None
        raise WeightsError(f"expected a group {name!r} with a group for each layer", where=Where(file=path), hint=hint)
    members = {key: member(group, key) for key in group}
    for key, layer in members.items():
        if not isinstance(layer, h5py.Group):
            message = f"expected the group of layer {key!r}. Received: a dataset or a link"
            raise WeightsError(message, where=Where(file=path))
    return members


def _layer(name: str, group: Any, path: str) -> StoredLayer:
    blobs: list[StoredBlob | None] = []
    for key in group:
        if not _INDEX.fullmatch(key):
            message = f"expected datasets '0', '1', … in {group.name}. Received: {key!r}"
            raise WeightsError(message, where=Where(file=path, layer=name))
        index = int(key)
        blobs += [None] * (index + 1 - len(blobs))
        blobs[index] = StoredBlob(values(group, key, path, WeightsError))
    return StoredLayer(name, tuple(blobs))


def put_text(group: Any, name: str, text: bytes) -> None:
    """A string as Caffe writes one: a scalar of fixed length, ended by a zero byte."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(text) + 1)
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(text + b"\0"), kind)


def member(group: Any, name: str) -> Any:
    """What `name` is within the group; None where it is not there or is a link to elsewhere."""
    if name not in group or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    return group[name]


def _put(group: Any, blobs: Sequence[Array], left_out: set[int]) -> None:
    for index, blob in enumerate(blobs):
        if index not in left_out:
            group.create_dataset(str(index), data=np.asarray(blob, dtype="<f4"))


def _check_name(name: str, group: Any, path: str) -> None:
    reason = refusal(name, group)
    if reason is not None:
        raise WeightsError(reason, where=Where(file=path, layer=name), hint=BINARY_CAN)


BINARY_CAN = "write a binary .caffemodel instead (snapshot_format: BINARYPROTO)"


def refusal(name: str, taken: Container[str]) -> str | None:
    """Why HDF5 cannot hold a layer of this name beside those of the names `taken`; None where it can."""
    if "/" in name or name in ("", "."):
        return f"HDF5 cannot hold a layer of this name, as in Caffe. Received: {name!r}"
    return "HDF5 cannot hold two layers of one name, as in Caffe" if name in taken else None
