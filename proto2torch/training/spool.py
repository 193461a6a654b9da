"""Rows written to a .npy file as they come; its header, which says how many there are, is completed at the end."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNED = 64
_MOST_DIGITS = 10**18


class Spool:
    """A .npy file of float32 rows. `finish` completes it and gives it as a mapped array."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "wb")  # noqa: SIM115  closed by __exit__
        self._shape: tuple[int, ...] | None = None
        self._rows = self._length = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, rows: NDArray[Any]) -> None:
        """Add (n, …) rows, all of one shape."""
        if self._shape is None:
            self._begin(rows.shape[1:])
        if rows.shape[1:] != self._shape:
            raise ValueError(f"rows must have the shape {self._shape}. Received: {rows.shape[1:]}")
        self._rows += len(rows)
        self._file.write(np.ascontiguousarray(rows, "<f4").data)

    def finish(self) -> NDArray[np.float32]:
        """The whole (rows, …), mapped; of no rows an empty array."""
        if self._shape is None:
            self._begin(())
        self._file.seek(0)
        self._file.write(self._header(self._rows))
        self._file.close()
        found: NDArray[np.float32] = np.load(self.path, mmap_mode="r" if self._rows else None)
        return found

    def _begin(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._length = -(-(len(self._text(_MOST_DIGITS)) + 11) // _ALIGNED) * _ALIGNED
        self._file.write(self._header(0))

    def _text(self, rows: int) -> str:
        return f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(rows, *(self._shape or ()))!r}, }}"

    def _header(self, rows: int) -> bytes:
        size = self._length - len(_MAGIC) - 2
        return _MAGIC + size.to_bytes(2, "little") + self._text(rows).ljust(size - 1).encode() + b"\n"
