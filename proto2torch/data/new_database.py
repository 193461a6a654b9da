"""A new database, written beside its name and renamed when it is complete."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import lmdb

from proto2torch.data.leveldb.write import LevelDBWriter
from proto2torch.data.records import LMDB
from proto2torch.errors import DataError, RunError, Where, why

_COMMIT = 1000  # records a transaction, as Caffe's tools
_COMMIT_BYTES = 64 << 20
_FIRST_SIZE = 1 << 30  # of the map; doubled when it is full
_LONGEST_KEY = 511  # bytes, in LMDB as it is built everywhere
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Writer(Protocol):
    """Takes records in ascending order of their keys."""

    def put(self, key: bytes, value: bytes | memoryview) -> None:
        """Add a record."""


@contextmanager
def new_database(path: str, backend: str = LMDB) -> Iterator[Writer]:
    """A database at `path` that is not there before the block has ended without an error.

    Raises:
        DataError: something is at `path` already, or its folder is not there or read-only; or a key does not fit.
        RunError: it cannot be written.
    """
    if os.path.lexists(path):
        raise DataError("there is something already: remove it, or choose another name", where=Where(file=path))
    with new_folder(path) as folder:
        writer = LMDBWriter(folder, Where(file=path)) if backend == LMDB else LevelDBWriter(folder)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


class LMDBWriter:
    """Writes an LMDB, a transaction for every thousand records."""

    def __init__(self, folder: str, where: Where) -> None:
        self._where = where
        self._size = _FIRST_SIZE
        self._environment = lmdb.open(folder, map_size=self._size, sync=False, lock=False)
        self._pending: list[tuple[bytes, bytes | memoryview]] = []
        self._bytes = 0

    def put(self, key: bytes, value: bytes | memoryview) -> None:
        if not 0 < len(key) <= _LONGEST_KEY:
            message = f"a key of an LMDB has 1 to {_LONGEST_KEY} bytes. Received: {len(key)}, {bytes(key)!r}"
            raise DataError(message, where=self._where, hint="a LevelDB takes keys of any length")
        self._pending.append((key, value))
        self._bytes += len(value)
        if len(self._pending) >= _COMMIT or self._bytes >= _COMMIT_BYTES:
            self._commit()

    def finish(self) -> None:
        """Write what is left, to the disk."""
        self._commit()
        self._environment.sync(True)

    def close(self) -> None:
        """Close the file, whether it is whole or not."""
        self._environment.close()

    def _commit(self) -> None:
        while self._pending:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value, append=True)
                self._pending, self._bytes = [], 0
            except lmdb.MapFullError:
                self._size *= 2
                self._environment.set_mapsize(self._size)


@contextmanager
def new_folder(path: str) -> Iterator[str]:
    """A folder beside `path` that takes its name at the end, and goes where the block raises."""
    target = os.path.abspath(path)
    parent, name = os.path.split(target)
    if not os.path.isdir(parent):
        hint = f"the folder {parent} does not exist: create it first"
        raise DataError(f"cannot write {path}: no such file or directory", where=Where(file=path), hint=hint)
    temporary = None
    try:
        temporary = tempfile.mkdtemp(prefix=f".{name}.", suffix=".tmp", dir=parent)
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.rename(temporary, target)
        temporary = None
    except (OSError, lmdb.Error) as error:
        reason = why(error)
        read_only = temporary is None and getattr(error, "errno", None) in _READ_ONLY
        raise (DataError if read_only else RunError)(
            f"cannot write {path}: {reason}", where=Where(file=path)
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
