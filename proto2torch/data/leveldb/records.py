"""The records of a LevelDB in the order of their keys, over and over, read without LevelDB's own library.

Nothing is written: LevelDB itself rewrites its log and its list of files whenever it opens a database, so that one on
a medium that cannot be written to cannot even be read with it. Every block's checksum is verified; Caffe takes a
damaged block for the end of the data.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from proto2torch.data.leveldb import log as leveldb_log
from proto2torch.data.leveldb.log import TableFile, Version
from proto2torch.data.leveldb.table import DELETION, Corrupt, Record, Table
from proto2torch.errors import DataError, Where, why

_OPEN = 8
_ENDINGS = (".ldb", ".sst")


class LevelDBRecords:
    """Keys and values of the LevelDB in `folder`; `len()` is their number, which takes a pass over the whole."""

    def __init__(self, folder: str, where: Where) -> None:
        self._folder, self._where = folder, where
        self._count: int | None = None
        with self._named():
            self._runs = _runs(folder, _version(folder))
            if next(self._records(), None) is None:
                raise DataError(f"the database {folder!r} is empty", where=where)
        self._begin()

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self)
        return self._count

    def __iter__(self) -> Iterator[tuple[memoryview, memoryview]]:
        """All records once."""
        with self._named():
            for record in self._records():
                yield memoryview(record.key), record.value

    def take(self, first: int, count: int) -> Iterator[tuple[memoryview, memoryview]]:
        """Records `first`, `first + 1`, … `count` of them, the last followed by the first again."""
        with self._named():
            self._seek(first)
            for _ in range(count):
                record = self._advance() or self._advance()
                assert record is not None  # a database has one record at least
                yield memoryview(record.key), record.value

    def keys(self) -> list[bytes]:
        """All keys in order, which takes a pass over the whole."""
        with self._named():
            keys = [record.key for record in self._records()]
        self._count = len(keys)
        return keys

    def get(self, key: bytes) -> memoryview | None:
        """The value of a key, None where there is none."""
        with self._named():
            found = [record for run in self._runs if (record := run.find(key)) is not None]
        newest = max(found, key=lambda record: record.sequence, default=None)
        return None if newest is None or newest.kind == DELETION else newest.value

    def close(self) -> None:
        """Let go of the files; a second call does nothing."""
        self._runs = []
        self._iterator = self._records()

    def _begin(self) -> None:
        self._pid, self._at = os.getpid(), 0
        self._iterator = self._records()

    def _seek(self, number: int) -> None:
        if self._count is not None:
            number %= self._count
        if number < self._at or self._pid != os.getpid():  # a fork may have caught the iterator at work
            self._begin()
        while self._at < number:
            if self._advance() is None:
                return self._seek(number)

    def _advance(self) -> Record | None:
        """The next record; None after the last one, whose number is known from then on."""
        record = next(self._iterator, None)
        if record is None:
            self._count = self._at
            self._begin()
        else:
            self._at += 1
        return record

    def _records(self) -> Iterator[Record]:
        """The newest record of each key, those that are gone left out."""
        if len(self._runs) == 1:
            merged = iter(self._runs[0])
        else:
            merged = heapq.merge(*self._runs, key=lambda record: (record.key, -record.sequence))
        before: bytes | None = None
        for record in merged:
            if record.key != before and record.kind != DELETION:
                yield record
            before = record.key

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Corrupt as error:
            raise DataError(f"the LevelDB {self._folder!r} is damaged: {error}", where=self._where) from error
        except OSError as error:
            reason = why(error)
            name = os.path.basename(os.fsdecode(error.filename)) if error.filename else "a file"
            message = f"cannot read {name} of the LevelDB {self._folder!r}: {reason}"
            raise DataError(message, where=self._where) from error


class Run(Protocol):
    """Records in order, each key once or with its newest sequence number first."""

    def __iter__(self) -> Iterator[Record]:
        """All of them."""

    def find(self, key: bytes) -> Record | None:
        """The newest record of a key."""


class Tables:
    """Tables that follow one another; a few are open at a time."""

    def __init__(self, files: list[tuple[TableFile, str]]) -> None:
        self._files = files
        self._open = lru_cache(maxsize=_OPEN)(Table)

    def __iter__(self) -> Iterator[Record]:
        for _, path in self._files:
            yield from Table(path)

    def find(self, key: bytes) -> Record | None:
        place = bisect_left(self._files, key, key=lambda file: file[0].largest)
        if place == len(self._files) or key < self._files[place][0].smallest:
            return None
        return self._open(self._files[place][1]).find(key)


class Recent:
    """Records that are only in a log yet."""

    def __init__(self, records: list[Record]) -> None:
        self._records = sorted(records, key=lambda record: (record.key, -record.sequence))

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def find(self, key: bytes) -> Record | None:
        place = bisect_left(self._records, key, key=lambda record: record.key)
        return self._records[place] if self._records[place : place + 1] and self._records[place].key == key else None


def check_unlocked(folder: str, where: Where) -> None:
    """Refuse a LevelDB that another process has open: it may be writing to it.

    Raises:
        DataError: another process has it open.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return
    try:
        with open(os.path.join(folder, "LOCK"), "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except OSError as error:
        if isinstance(error, PermissionError) and error.filename:
            return
        message = f"another process has the LevelDB {folder!r} open, and may be writing to it"
        raise DataError(message, where=where, hint="end that process, or read a copy") from error


def _version(folder: str) -> Version:
    with open(os.path.join(folder, "CURRENT"), "rb") as file:
        name = os.fsdecode(file.read().rstrip(b"\n"))
    if not name.startswith("MANIFEST-") or os.path.basename(name) != name:
        raise Corrupt(f"CURRENT must name a MANIFEST. Received: {name!r}")
    return leveldb_log.manifest(os.path.join(folder, name))


def _runs(folder: str, version: Version) -> list[Run]:
    files = [sorted(tables.values(), key=lambda t: t.smallest) for tables in version.levels.values() if tables]
    tables = sorted((table for level in files for table in level), key=lambda t: (t.smallest, t.largest))
    paths = {table.number: _table_path(folder, table) for table in tables}
    if all(a.largest < b.smallest for a, b in pairwise(tables)):
        groups = [tables] if tables else []
    else:
        groups = [[table] for table in version.levels.get(0, {}).values()]
        groups += [sorted(version.levels[n].values(), key=lambda t: t.smallest) for n in version.levels if n]
    runs: list[Run] = [Tables([(table, paths[table.number]) for table in group]) for group in groups]
    recent = [record for path in _logs(folder, version) for record in leveldb_log.batches(path)]
    if recent:
        runs.append(Recent(recent))
    return runs


def _table_path(folder: str, table: TableFile) -> str:
    for ending in _ENDINGS:
        path = os.path.join(folder, f"{table.number:06d}{ending}")
        if os.path.exists(path):
            if os.path.getsize(path) < table.size:
                received = os.path.getsize(path)
                raise Corrupt(
                    f"{os.path.basename(path)} is cut short: expected {table.size} bytes. Received: {received}"
                )
            return path
    raise Corrupt(f"its file {table.number:06d}{_ENDINGS[0]} is missing")


def _logs(folder: str, version: Version) -> list[str]:
    """The logs whose records are not yet in a table, oldest first."""
    numbers = []
    for name in os.listdir(folder):
        stem, ending = os.path.splitext(name)
        if ending == ".log" and stem.isdigit() and (int(stem) >= version.log or int(stem) == version.previous_log):
            numbers.append((int(stem), name))
    return [os.path.join(folder, name) for _, name in sorted(numbers)]
