"""The records of an LMDB in the order of their keys, over and over.

The file is mapped and walked here, without LMDB's own library, which a damaged page would bring down with the process.
Nothing is locked and nothing is written beside the data, so databases on media that cannot be written work; a database
that changes while it is read is noticed.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

from proto2torch.data.lmdb import file as lmdb_file
from proto2torch.data.lmdb import lock as lmdb_lock
from proto2torch.data.lmdb.tree import Damaged, Entry, Tree
from proto2torch.errors import DataError, Where, why

_RESIDENT = 256 << 20  # bytes of a larger database that are read before the pages behind are given back


class LMDBRecords:
    """Keys and values of the LMDB in `folder`; `len()` is their number."""

    def __init__(self, folder: str, where: Where) -> None:
        self._where, self._folder = where, folder
        path = lmdb_file.find(folder, where)
        lmdb_lock.check(folder, where)
        self._map, self._data = self._mapped(path)
        meta = lmdb_file.newest(self._data)
        assert meta is not None  # `find` has seen it
        self._transaction, self._page_size, self._count = meta.transaction, meta.page_size, meta.entries
        if not self._count:
            raise DataError(f"the database {folder!r} is empty", where=where)
        with self._named():
            self._tree = Tree(self._data, meta.tree)
        self._read = 0
        self._begin(0)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        """All records once."""
        return self.take(0, self._count)

    def take(self, first: int, count: int) -> Iterator[Entry]:
        """Records `first`, `first + 1`, … `count` of them, the last followed by the first again.

        The views are valid as long as they are held.
        """
        self._seek(first % self._count)
        with self._named():
            for _ in range(count):
                yield self._next()
        self._check_unchanged()
        self._give_back()

    def keys(self) -> list[bytes]:
        """All keys in order."""
        with self._named():
            keys = [bytes(key) for key in self._tree]
        self._check_count(len(keys))
        return keys

    def get(self, key: bytes) -> memoryview | None:
        """The value of a key, None where there is none."""
        with self._named():
            value = self._tree.find(key)
        self._check_unchanged()
        self._read += len(value) if value is not None else 0
        self._give_back()
        return value

    def close(self) -> None:
        """Let go of the file, which closes when no view of it is left; a second call does nothing."""
        for name in ("_entries", "_tree", "_data", "_map"):
            vars(self).pop(name, None)

    def _mapped(self, path: str) -> tuple[mmap.mmap, memoryview]:
        try:
            with open(path, "rb") as file:
                found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            reason = why(error)
            raise DataError(f"cannot read the database {self._folder!r}: {reason}", where=self._where) from error
        return found, memoryview(found)

    def _seek(self, number: int) -> None:
        """Let `number` be the next record; a child of a fork cannot go on where another thread was."""
        if number != self._at or self._pid != os.getpid():
            self._begin(number)

    def _begin(self, number: int) -> None:
        self._entries, self._at, self._pid = self._tree.entries(number), number, os.getpid()

    def _next(self) -> Entry:
        entry = next(self._entries, None)
        if entry is None or self._at == self._count:
            self._check_count(self._at + (entry is not None))
            self._entries, self._at = self._tree.entries(), 0
            entry = next(self._entries)
        self._at += 1
        self._read += len(entry[1])
        return entry

    def _check_count(self, found: int) -> None:
        if found != self._count:
            message = f"its meta page says that it has {self._count} records. Received: {found}"
            raise self._damaged(message)

    def _check_unchanged(self) -> None:
        meta = lmdb_file.newest(self._data, self._page_size)
        if meta is None or meta.transaction != self._transaction:
            raise DataError(f"the database {self._folder!r} was changed while it was read", where=self._where)

    def _give_back(self) -> None:
        """Let go of the pages that were read: they stay in the system's cache, and are this process's no longer."""
        if self._read > _RESIDENT and len(self._data) > _RESIDENT:
            self._read = 0
            if hasattr(self._map, "madvise"):
                self._map.madvise(mmap.MADV_DONTNEED)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> DataError:
        return DataError(f"the database {self._folder!r} is damaged: {reason}", where=self._where)
