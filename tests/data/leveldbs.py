"""LevelDBs to test with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from proto2torch.data.leveldb import write as leveldb_write
from proto2torch.data.leveldb.records import LevelDBRecords
from proto2torch.data.leveldb.write import LevelDBWriter
from proto2torch.errors import Where

Records = list[tuple[bytes, bytes]]

LEVELDB_ITSELF = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="plyvel, LevelDB itself, has no wheel for Python 3.13 and later"
)
"""A test that compares with LevelDB's own library."""


def ours(folder: Path) -> Records:
    """All records of a LevelDB, as we read them."""
    records = LevelDBRecords(str(folder), Where())
    found = [(bytes(key), bytes(value)) for key, value in records.take(0, len(records))]
    records.close()
    return found


def random_records(count: int, length: int) -> Records:
    draw = np.random.default_rng(0)
    return [(b"%08d" % i, draw.bytes(int(draw.integers(length // 2, length * 2)))) for i in range(count)]


def write(folder: Path, records: Records, table: int | None = None) -> None:
    """A LevelDB as we write it; a table ends after `table` bytes."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        if table is not None:
            patch.setattr(leveldb_write, "_TABLE", table)
            patch.setattr(leveldb_write.TableWriter, "BLOCK", table // 2)
        writer = LevelDBWriter(str(folder))
        for key, value in records:
            writer.put(key, value)
        writer.finish()
