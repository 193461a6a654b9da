"""A new LevelDB, written as LevelDB would leave it after a full compaction: tables in order, all in the last level."""

from __future__ import annotations

import os

from proto2torch.data.leveldb import log as leveldb_log
from proto2torch.data.leveldb.log import TableFile
from proto2torch.data.leveldb.table import TableWriter

_LEVEL = 6  # the last one, which LevelDB never rewrites
_TABLE = 32 << 20  # bytes, about, of a table
_MANIFEST = 1


class LevelDBWriter:
    """Writes records, in ascending order of their keys, into `folder`; complete when `finish` has been called."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._tables: list[TableFile] = []
        self._table: TableWriter | None = None
        self._number = _MANIFEST + 1
        self._sequence = 0

    def put(self, key: bytes, value: bytes | memoryview) -> None:
        """Add a record."""
        if self._table is None:
            self._table = TableWriter(os.path.join(self._folder, f"{self._number:06d}.ldb"))
        self._sequence += 1
        self._table.add(key, self._sequence, value)
        if self._table.size >= _TABLE:
            self._end_table()

    def finish(self) -> None:
        """Write what makes the tables a database."""
        self._end_table()
        name = f"MANIFEST-{_MANIFEST:06d}"
        path = os.path.join(self._folder, name)
        leveldb_log.write_manifest(path, self._tables, _LEVEL, self._number, self._number + 1, self._sequence)
        with open(os.path.join(self._folder, "CURRENT"), "w", newline="\n") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close what is open, finished or not."""
        if self._table is not None:
            self._table.close()

    def _end_table(self) -> None:
        if self._table is not None:
            self._table.finish()
            table = self._table
            self._tables.append(TableFile(self._number, table.size, table.smallest, table.largest))
            self._number += 1
            self._table = None
