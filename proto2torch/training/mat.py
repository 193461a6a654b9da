"""MATLAB files of single-precision arrays: version 5, which scipy reads too, and 7.3 (HDF5) for arrays above 2 GB.

Version 5 is a header of 128 bytes and one element an array; an element is a type, a number of bytes, and contents
padded to 8 bytes. An array's contents: flags (its class), dimensions, name, values in column-major order.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**31 - 1
"""Bytes of an array that version 5 can hold."""
_BLOCK = 4 << 20  # values put into column-major order at once
_HEADER = b"MATLAB %s MAT-file, Platform: any, Created by: proto2torch"
_MATRIX, _INT8, _INT32, _UINT32, _SINGLE = 14, 1, 5, 6, 7
_CLASS_SINGLE = 7
_LONGEST = 63
_KEYWORDS = re.compile(
    "break|case|catch|classdef|continue|else|elseif|end|for|function|global|if|otherwise|parfor|persistent|return|spmd|"
    "switch|try|while"
)


def variables(names: Sequence[str]) -> dict[str, str]:
    """A name that MATLAB accepts for each: a letter, then letters, digits and underscores, 63 at most, no keyword."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not base[:1].isalpha() or _KEYWORDS.fullmatch(base):
            base = f"x{base}"
        variable, number = base[:_LONGEST], 1
        while variable in taken:
            number += 1
            variable = f"{base[: _LONGEST - len(str(number)) - 1]}_{number}"
        taken.add(variable)
        given[name] = variable
    return given


def write(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> str:
    """Write arrays by variable name, mapped ones without reading them whole; gives the version, "5" or "7.3".

    One of a single axis becomes a column.
    """
    shaped = {name: array.reshape(-1, 1) if array.ndim == 1 else array for name, array in arrays.items()}
    if any(array.nbytes + 256 > LARGEST for array in shaped.values()):
        _write_73(path, shaped)
        return "7.3"
    with open(path, "wb") as file:
        file.write((_HEADER % b"5.0").ljust(116) + bytes(8) + struct.pack("<H2s", 0x0100, b"IM"))
        for name, array in shaped.items():
            _element(file, name, array)
    return "5"


def _element(file: BinaryIO, name: str, array: NDArray[np.float32]) -> None:
    flags = struct.pack("<4I", _UINT32, 8, _CLASS_SINGLE, 0)
    dims = _padded(struct.pack(f"<2I{array.ndim}i", _INT32, 4 * array.ndim, *array.shape))
    title = _padded(struct.pack("<2I", _INT8, len(name)) + name.encode())
    values = struct.pack("<2I", _SINGLE, array.nbytes)
    tail = -array.nbytes % 8
    size = len(flags) + len(dims) + len(title) + len(values) + array.nbytes + tail
    file.write(struct.pack("<2I", _MATRIX, size) + flags + dims + title + values)
    for block in _columns(array):
        file.write(block.data)
    file.write(bytes(tail))


def _columns(array: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The values in column-major order, some columns (the first axis, for every index of the others) at a time."""
    rows = len(array)
    flat = array.reshape(rows, -1)
    order = np.arange(flat.shape[1]).reshape(array.shape[1:]).transpose().reshape(-1)
    width = max(1, _BLOCK // max(1, rows))
    for start in range(0, len(order), width):
        yield np.ascontiguousarray(flat[:, order[start : start + width]].T, "<f4")


def _padded(element: bytes) -> bytes:
    return element + bytes(-len(element) % 8)


def _write_73(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """HDF5 behind a block of 512 bytes that names MATLAB. Its dimensions run the other way, so that a data set holds
    what version 5 does: each is given its place by h5py, and its values go there in order."""
    import h5py

    places: dict[str, int] = {}
    with h5py.File(path, "w", userblock_size=512) as file:
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        for name, array in arrays.items():
            space = h5py.h5s.create_simple(array.shape[::-1])
            made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, early)
            h5py.Dataset(made).attrs["MATLAB_class"] = np.bytes_("single")
            places[name] = made.get_offset() or 0  # none where it holds nothing
    with open(path, "r+b") as raw:
        raw.write((_HEADER % b"7.3").ljust(116) + bytes(8) + struct.pack("<H2s", 0x0200, b"IM"))
        for name, array in arrays.items():
            raw.seek(places[name])
            for block in _columns(array):
                raw.write(block.data)
