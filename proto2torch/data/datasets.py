"""Caffe's sources of data as PyTorch datasets: sized, indexable, and sent to the workers of a DataLoader.

    data = p2t.data.LMDB("ilsvrc12_train_lmdb", transform=v2.RandomCrop(227))
    loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True, num_workers=2)

Images are tensors (C, H, W), uint8 and blue before red as Caffe's nets expect them; `rgb=True` turns them round.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from proto2torch.data import decode, hdf5_file, image_list
from proto2torch.data import records as databases
from proto2torch.data.datum import Image, NotADatum, Parser
from proto2torch.data.decode import COLOUR, GREY, UNCHANGED, Undecodable
from proto2torch.data.records import LEVELDB, LMDB, Records
from proto2torch.data.resize import resize
from proto2torch.errors import DataError, Where

Transformation = Callable[[torch.Tensor], Any]
Item = tuple[Any, int]


class Database(Dataset[Item]):
    """The Datums of an LMDB or a LevelDB in the order of their keys, as (image, label).

    Args:
        path: the folder.
        transform: applied to each image.
        how: of encoded images, "unchanged", "colour" or "grey".
        rgb: red before blue; an alpha stays the last.

    Raises:
        DataError: no such database is there, it is damaged or empty, or (of an item) a record is no Datum or the
            database is closed.
    """

    backend: str | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        transform: Transformation | None = None,
        *,
        how: str = UNCHANGED,
        rgb: bool = False,
    ) -> None:
        if how not in (UNCHANGED, COLOUR, GREY):
            raise DataError(f"how must be 'unchanged', 'colour' or 'grey'. Received: {how!r}")
        self.path = os.fspath(path)
        self.transform = transform
        self.how, self.rgb = how, rgb
        self._open()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Item:
        image, label = self.datum(index)
        tensor = _tensor(image, self.rgb)
        return (tensor if self.transform is None else self.transform(tensor)), label

    @property
    def keys(self) -> Sequence[bytes]:
        """The keys, in order."""
        return self._keys

    def datum(self, index: int) -> tuple[Image, int]:
        """The pixels of a record, (C, H, W), and its label, as they are stored."""
        if not self._finalizer.alive:
            raise DataError("the database is closed", where=Where(file=self.path))
        key = self._keys[index]
        value = self._records.get(key)
        if value is None:
            raise DataError(f"the record {key!r} is gone: the database was changed", where=Where(file=self.path))
        try:
            datum = self._parse(value)
            return datum.decoded(self.how), datum.label
        except (NotADatum, Undecodable) as error:
            what = "is not a Datum" if isinstance(error, NotADatum) else "has an image that cannot be decoded"
            raise DataError(f"the record {key!r} {what}: {error}", where=Where(file=self.path)) from error

    def close(self) -> None:
        """Close the database."""
        self._finalizer()

    def _open(self) -> None:
        self._records: Records = databases.open_records(self.path, self.backend)
        self._finalizer = weakref.finalize(self, self._records.close)  # what is dropped closes itself
        self._keys = self._records.keys()
        self._parse = Parser()

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs to open it again."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


class LMDBDataset(Database):
    """The Datums of an LMDB."""

    backend = LMDB


class LevelDBDataset(Database):
    """The Datums of a LevelDB. Opening it reads it once, to count."""

    backend = LEVELDB


class ImageList(Dataset[Item]):
    """The images of a list as convert_imageset and ImageData read it, as (image, label).

    Args:
        path: the list; a line is a path, a space and a label.
        root: put before every path, as it is.
        transform: applied to each image.
        grey: one channel in place of three.
        size: (height, width) to resize to, as OpenCV does.
        rgb: red before blue.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        root: str = "",
        transform: Transformation | None = None,
        *,
        grey: bool = False,
        size: tuple[int, int] | None = None,
        rgb: bool = False,
    ) -> None:
        self.path, self.root, self.transform = os.fspath(path), root, transform
        self.grey, self.size, self.rgb = grey, size, rgb
        self.listed = image_list.read(self.path)

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, index: int) -> Item:
        listed = self.listed[index]
        where = Where(file=self.path, line=listed.line)
        path, how = self.root + listed.path, GREY if self.grey else COLOUR
        image = decode.read(path, how, where, repr(path))
        tensor = _tensor(resize(image, *self.size) if self.size else image, self.rgb)
        return (tensor if self.transform is None else self.transform(tensor)), listed.label


class HDF5(Dataset[dict[str, torch.Tensor]]):
    """The rows of an HDF5 file as {data set: float32 tensor}; without `names`, of all its data sets."""

    def __init__(self, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> None:
        self.path = os.fspath(path)
        self._pid = -1
        with hdf5_file.opened(self.path, Where(file=self.path)) as file:
            self.names = tuple(sorted(file) if names is None else names)
            if not self.names:
                raise DataError("expected the name of a data set, or a file that has one", where=Where(file=self.path))
            self._length = hdf5_file.rows(file, self.names, self.path, Where(file=self.path))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not -self._length <= index < self._length:
            raise IndexError(index)
        if self._pid != os.getpid():  # HDF5 files do not survive a fork
            self._file = hdf5_file.open_file(self.path, Where(file=self.path))
            self._pid = os.getpid()
        index %= self._length
        where = Where(file=self.path)
        rows = {name: hdf5_file.read(self._file[name], self.path, where, index) for name in self.names}
        return {name: torch.from_numpy(np.asarray(row)) for name, row in rows.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: value for name, value in vars(self).items() if name != "_file"}, "_pid": -1}


def _tensor(image: Image, rgb: bool) -> torch.Tensor:
    """A tensor of its own memory: the database's cannot be written to."""
    if rgb and len(image) in (3, 4):
        image = image[[2, 1, 0, 3][: len(image)]]
    return torch.from_numpy(np.array(image, order="C"))
