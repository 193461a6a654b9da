"""The HDF5Data layer: rows of the data sets of HDF5 files, one data set a top, one file after the other.

Caffe shuffles with the C library's own generator, which `random_seed` does not reach; here `shuffle` follows from the
seed: the order of the files anew at each pass, and the rows within each file.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import hdf5_file
from proto2torch.data.feed import Batch, Feed, Seed, one
from proto2torch.data.fields import batch_size, new_seed, tops
from proto2torch.errors import DataError, why
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
Rows = list[NDArray[np.float32]]


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """The feed of an HDF5Data layer; Caffe reads its files without a thread, and so do we."""
    return Feed(HDF5Source(definition, seed))


class HDF5Source:
    """Rows as batches, a tensor (N, …) for each top. One file at a time is in memory, as float32."""

    def __init__(self, definition: LayerDefinition, seed: int | None) -> None:
        self._definition = definition
        self._p: Any = definition.message.hdf5_data_param
        if definition.message.HasField("transform_param"):
            raise self._error("HDF5Data does not transform: leave transform_param out", "transform_param")
        tops(definition, 1, None)
        self.batch_size = batch_size(definition, "hdf5_data_param")
        self.seed = new_seed(seed)
        self._files = self._list()
        self._lengths, items = self._survey()
        self.shapes: list[Shape] = [(self.batch_size, *item) for item in items]
        self._loaded: tuple[int, Rows] | None = None

    def reseed(self, seed: Seed) -> None:
        self.seed = one(seed)

    def name(self, number: int) -> str:
        """A row as messages name it."""
        file, rows = self._place(number)
        return f"row {rows[0]} of {self._files[file]!r}"

    def close(self) -> None:
        self._loaded = None

    def batch(self, first: int) -> Batch:
        parts: list[Rows] = []
        missing = self.batch_size
        while missing:
            rows = self._rows(first, missing)
            parts.append(rows)
            first += len(rows[0])
            missing -= len(rows[0])
        return tuple(torch.from_numpy(np.concatenate(pieces)) for pieces in zip(*parts, strict=True))

    def _rows(self, first: int, most: int) -> Rows:
        """Rows from number `first` on, as far as its file goes and not more than `most`."""
        file, within = self._place(first)
        wanted = np.asarray(within[:most])
        return [rows[wanted] for rows in self._load(file)]

    def _place(self, number: int) -> tuple[int, Sequence[int] | NDArray[np.int64]]:
        """The file of row `number`, and which rows of it come from there on."""
        epoch, row = divmod(number, sum(self._lengths))
        order = self._permutation(len(self._files), epoch)
        starts = [0, *np.cumsum([self._lengths[file] for file in order]).tolist()]
        place = bisect.bisect_right(starts, row) - 1
        file = int(order[place])
        return file, self._permutation(self._lengths[file], epoch, file)[row - starts[place] :]

    def _permutation(self, count: int, *what: int) -> Sequence[int] | NDArray[np.int64]:
        if not self._p.shuffle:
            return range(count)
        return np.random.default_rng([self.seed, *what]).permutation(count)

    def _load(self, file: int) -> Rows:
        if self._loaded is None or self._loaded[0] != file:
            self._loaded = None  # not two files in memory at once
            path, where = self._files[file], self._definition.where("hdf5_data_param.source")
            with hdf5_file.opened(path, where) as contents:
                sets = [hdf5_file.dataset(contents, top, path, where) for top in self._definition.message.top]
                rows = [hdf5_file.read(found, path, where) for found in sets]
            self._loaded = file, rows
        return self._loaded[1]

    def _list(self) -> list[str]:
        """The files that the source lists."""
        where = self._definition.where("hdf5_data_param.source")
        if not self._p.source:
            raise self._error("source, the file that lists the HDF5 files, is missing")
        path = resolve(self._p.source, where.file)
        try:
            with open(path, "rb") as file:
                contents = file.read()
        except OSError as error:
            raise self._error(f"cannot read {path!r}: {why(error)}") from error
        if contents.startswith(_SIGNATURE):
            hint = "write its name into a text file and name that"
            raise self._error(
                f"source must be a text file that lists HDF5 files. Received: the HDF5 file {path!r}", hint=hint
            )
        files = [resolve(os.fsdecode(name), where.file) for name in contents.split()]
        if not files:
            raise self._error(f"{path!r} lists no file")
        return files

    def _survey(self) -> tuple[list[int], list[Shape]]:
        """The number of rows of each file, and the shape of a row of each top."""
        lengths, items = [], None
        where, names = self._definition.where("hdf5_data_param.source"), list(self._definition.message.top)
        for path in self._files:
            with hdf5_file.opened(path, where) as contents:
                lengths.append(hdf5_file.rows(contents, names, path, where))
                received = [tuple(contents[name].shape[1:]) for name in names]
            items = items or received
            if received != items:
                message = f"rows must have one shape in all files. Expected: {_join(items)}, as in {self._files[0]!r}."
                raise self._error(f"{message} Received: {_join(received)} in {path!r}")
        return lengths, items or []

    def _error(self, message: str, field: str = "hdf5_data_param.source", hint: str | None = None) -> DataError:
        return DataError(message, where=self._definition.where(field), hint=hint)


def _join(shapes: Iterable[Shape]) -> str:
    return " and ".join(map(str, shapes))
