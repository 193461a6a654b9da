from __future__ import annotations

from pathlib import Path

import pytest

from ..leveldbs import LEVELDB_ITSELF, ours, random_records, write


@pytest.mark.parametrize(("count", "length", "table"), [(1, 1, None), (300, 2000, 50000), (30, 200000, 1 << 20)])
def test_we_read_what_we_write(tmp_path: Path, count: int, length: int, table: int | None) -> None:
    records = random_records(count, length)
    write(tmp_path / "db", records, table)
    assert ours(tmp_path / "db") == records


@LEVELDB_ITSELF
@pytest.mark.parametrize(("count", "length", "table"), [(1, 1, None), (300, 2000, 50000), (4000, 40, 500)])
def test_leveldb_reads_and_changes_what_we_write(tmp_path: Path, count: int, length: int, table: int | None) -> None:
    import plyvel

    records = random_records(count, length)
    write(tmp_path / "db", records, table)
    with plyvel.DB(str(tmp_path / "db"), paranoid_checks=True) as db:
        assert list(db.iterator(verify_checksums=True)) == records
        assert db.get(records[count // 2][0]) == records[count // 2][1]
        db.put(b"0", b"new")
        db.delete(records[0][0])
        db.compact_range()
    assert ours(tmp_path / "db") == [(b"0", b"new"), *records[1:]]
