"""The records of a database, whatever it is: an LMDB or a LevelDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from proto2torch.data.lmdb import file as lmdb_file
from proto2torch.errors import DataError, Where

LMDB, LEVELDB = "lmdb", "leveldb"


class Records(Protocol):
    """Keys and values in the order of the keys; after the last record comes the first again."""

    def __len__(self) -> int:
        """The number of records."""

    def __iter__(self) -> Iterator[tuple[memoryview, memoryview]]:
        """All records once. The views are valid as long as the records are open."""

    def take(self, first: int, count: int) -> Iterator[tuple[memoryview, memoryview]]:
        """`count` records from number `first` on. The views are valid as long as the records are open."""

    def keys(self) -> list[bytes]:
        """All keys in order."""

    def get(self, key: bytes) -> memoryview | None:
        """The value of a key, None where there is none."""

    def close(self) -> None:
        """Give back what is open; a second call does nothing."""


def open_records(folder: str, backend: str | None = None, where: Where | None = None) -> Records:
    """Open a database to read; without `backend` (LMDB or LEVELDB), as what it is.

    Raises:
        DataError: it is none, it is damaged or empty, or another process writes to it.
    """
    where = where or Where()
    if (backend or backend_of(folder)) == LMDB:
        from proto2torch.data.lmdb.records import LMDBRecords

        return LMDBRecords(folder, where)
    from proto2torch.data.leveldb.records import LevelDBRecords, check_unlocked

    if not lmdb_file.is_leveldb(folder):
        kind = "a folder without CURRENT" if os.path.isdir(folder) else "a file" if os.path.exists(folder) else ""
        if not kind:
            hint = lmdb_file.searched(folder, where.file)
            raise DataError(f"no database is there. Received: {folder!r}", where=where, hint=hint)
        raise DataError(f"expected a LevelDB, a folder with a file CURRENT. Received: {folder!r}, {kind}", where=where)
    check_unlocked(folder, where)
    return LevelDBRecords(folder, where)


def backend_of(folder: str) -> str:
    """What kind of database a folder holds; LMDB where it holds none."""
    return LEVELDB if lmdb_file.is_leveldb(folder) else LMDB
