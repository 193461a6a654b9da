"""The records of an LMDB in the order of their keys, over and over.

A database is opened once in a process, however many nets read it (py-lmdb allows no second time), without LMDB's lock
file: nothing is written beside the data, and databases on media that cannot be written work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lmdb

from proto2torch.data import lmdb_file
from proto2torch.errors import DataError, Where


class LMDBRecords:
    """Keys and values of the LMDB in `folder`; `len()` is their number."""

    def __init__(self, folder: str, where: Where) -> None:
        self._where = where
        self._folder = folder
        self._shared = _acquire(folder, where)
        self._closed = False
        self._begin()
        self._count = int(self._transaction.stat(self._shared.database)["entries"])
        if not self._count:
            self.close()
            raise DataError(f"the database {folder!r} is empty", where=where)

    def __len__(self) -> int:
        return self._count

    def take(self, first: int, count: int) -> Iterator[tuple[memoryview, memoryview]]:
        """Records `first`, `first + 1`, … `count` of them, the last followed by the first again.

        The views are valid as long as the records are open.
        """
        self._own()
        try:
            self._seek(first % self._count)
            for _ in range(count):
                yield self._cursor.key(), self._cursor.value()
                self._next()
        except lmdb.Error as error:
            raise self._damaged(error) from error
        if self._shared.environment.info()["last_txnid"] != self._transaction.id():
            raise DataError(f"the database {self._folder!r} was changed while it was read", where=self._where)

    def keys(self) -> list[bytes]:
        """All keys in order."""
        self._own()
        try:
            return [bytes(key) for key in self._transaction.cursor().iternext(values=False)]
        except lmdb.Error as error:
            raise self._damaged(error) from error

    def get(self, key: bytes) -> memoryview | None:
        """The value of a key, None where there is none."""
        self._own()
        try:
            value: memoryview | None = self._transaction.get(key)
        except lmdb.Error as error:
            raise self._damaged(error) from error
        return value

    def close(self) -> None:
        """Give the database back; the last one to do so closes it. A second call does nothing."""
        if not self._closed:
            self._closed = True
            del self._cursor, self._transaction
            _release(self._shared)

    def _begin(self) -> None:
        self._pid = os.getpid()
        try:
            self._transaction: Any = self._shared.environment.begin(db=self._shared.database, buffers=True)
            self._cursor: Any = self._transaction.cursor()
            self._cursor.first()
        except lmdb.Error as error:
            raise self._damaged(error) from error
        self._at = 0

    def _own(self) -> None:
        if os.getpid() != self._pid:  # a child of a fork: another thread may have left the cursor half way
            self._begin()

    def _seek(self, number: int) -> None:
        if number < self._at:
            self._cursor.first()
            self._at = 0
        while self._at < number:
            self._next()

    def _next(self) -> None:
        if self._cursor.next():
            self._at += 1
        else:
            self._cursor.first()
            self._at = 0

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"cannot read the database {self._folder!r}: {error}", where=self._where)


@dataclass
class _Shared:
    """An environment that is open in this process, and how many read it."""

    path: str
    identity: tuple[int, int]
    environment: Any
    database: Any
    readers: int = 0


_shared: dict[str, _Shared] = {}
_lock = threading.Lock()


def _acquire(folder: str, where: Where) -> _Shared:
    data = lmdb_file.find(folder, where)
    path, status = os.path.realpath(folder), os.stat(data)
    identity = (status.st_dev, status.st_ino)
    with _lock:
        shared = _shared.get(path)
        if shared is None:
            shared = _shared[path] = _open(path, identity, where)
        if shared.identity != identity:
            message = f"the database {folder!r} was replaced while another net of this process reads the old one"
            raise DataError(message, where=where, hint="close that net first")
        shared.readers += 1
        return shared


def _open(path: str, identity: tuple[int, int], where: Where) -> _Shared:
    try:
        environment = lmdb.open(path, readonly=True, lock=False, create=False, max_readers=1)
        return _Shared(path, identity, environment, environment.open_db(None))
    except lmdb.Error as error:
        raise DataError(f"cannot open the database {path!r}: {error}", where=where) from error


def _release(shared: _Shared) -> None:
    with _lock:
        shared.readers -= 1
        if shared.readers == 0:
            shared.environment.close()
            del _shared[shared.path]


def _after_fork() -> None:
    """In the child, no thread is left that could release the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
