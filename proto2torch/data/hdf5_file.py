"""HDF5 files, read without trust: nothing in one may make us read another file.

External links, data stored in other files and virtual data sets are refused; so are data sets of other things than
numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from proto2torch.errors import DataError, Where

_LONGEST_CHAIN = 16  # of links to links; HDF5 follows as many


def open_file(path: str, where: Where) -> Any:
    """The open file.

    Raises:
        DataError: it does not exist, or is no HDF5 file.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise DataError(f"the HDF5 file {path!r} does not exist", where=where) from error
        raise DataError(f"cannot read the HDF5 file {path!r}: {error}", where=where) from error


@contextmanager
def opened(path: str, where: Where) -> Iterator[Any]:
    """The file, closed at the end."""
    file = open_file(path, where)
    try:
        yield file
    finally:
        file.close()


def dataset(file: Any, name: str, path: str, where: Where) -> Any:
    """A data set of rows of numbers.

    Raises:
        DataError: there is none of that name, it holds something else, or what it holds lies outside the file.
    """
    _refuse_links(file, name, path, where)
    try:
        found = file.get(name)
    except RuntimeError:  # links in a circle
        found = None
    if not isinstance(found, h5py.Dataset):
        held = ", ".join(sorted(file)) or "nothing"
        raise DataError(f"{path!r} has no data set {name!r}; it holds {held}", where=where)
    if found.is_virtual or found.external:
        raise DataError(f"the data set {name!r} of {path!r} lies in other files, which are not read", where=where)
    if found.dtype.kind not in "fiu" or not found.shape:
        message = f"the data set {name!r} of {path!r} must hold rows of numbers."
        raise DataError(f"{message} Received: {found.dtype}, shape {found.shape}", where=where)
    return found


def rows(file: Any, names: Sequence[str], path: str, where: Where) -> int:
    """The number of rows that all these data sets have.

    Raises:
        DataError: they have different numbers, or none.
    """
    shapes = [dataset(file, name, path, where).shape for name in names]
    counts = {shape[0] for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        message = f"the data sets of {path!r} must have the same number of rows, at least 1."
        raise DataError(f"{message} Received: shapes {' and '.join(map(str, shapes))}", where=where)
    return int(counts.pop())


def read(found: Any, path: str, where: Where, row: int | None = None) -> NDArray[np.float32]:
    """The values of a data set as float32, or those of one row.

    Raises:
        DataError: they are damaged, of a filter that is not there, or more than there is memory for.
    """
    try:
        return np.asarray(found[() if row is None else row]).astype(np.float32, copy=False)
    except (OSError, MemoryError) as error:
        message = f"cannot read the data set {found.name.strip('/')!r} of {path!r}, shape {found.shape}"
        raise DataError(f"{message}: {str(error) or 'out of memory'}", where=where) from error


def _refuse_links(file: Any, name: str, path: str, where: Where, depth: int = 0) -> None:
    """No part of the way to a data set may lead out of the file; what is linked is not opened to find out."""
    links = file.id.links
    parts = [part for part in name.split("/") if part not in ("", ".")]  # HDF5 passes over these
    for end in range(1, len(parts) + 1):
        place = "/".join(parts[:end])
        try:
            kind = links.get_info(os.fsencode(place)).type
        except (KeyError, RuntimeError):  # nothing is there
            return
        if kind == h5py.h5l.TYPE_EXTERNAL:
            other = os.fsdecode(links.get_val(os.fsencode(place))[0])
            message = f"{place!r} of {path!r} is a link to another file, {other!r}, which is not read"
            raise DataError(message, where=where)
        if kind == h5py.h5l.TYPE_SOFT and depth < _LONGEST_CHAIN:
            target = os.fsdecode(links.get_val(os.fsencode(place)))
            target = target if target.startswith("/") else "/".join([*parts[: end - 1], target])
            _refuse_links(file, target, path, where, depth + 1)
