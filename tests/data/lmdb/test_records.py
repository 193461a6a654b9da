from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proto2torch.data.lmdb.records import LMDBRecords
from proto2torch.errors import DataError, Where

from ..records import mapped, write_lmdb

HERE = Where(file="net.prototxt", line=1, layer="digits", type="Data")


def taken(records: LMDBRecords, first: int, count: int) -> list[tuple[bytes, bytes]]:
    return [(bytes(key), bytes(value)) for key, value in records.take(first, count)]


def test_in_the_order_of_the_keys_bytes_over_and_over(tmp_path: Path) -> None:
    keys = [b"10", b"2", b"\xff", b"A"]
    folder = write_lmdb(tmp_path / "db", [b"v" + key for key in keys], keys)
    records = LMDBRecords(folder, HERE)
    in_order = [(key, b"v" + key) for key in sorted(keys)]
    assert len(records) == 4
    assert taken(records, 0, 11) == (in_order * 3)[:11]
    assert taken(records, 11, 3) == (in_order * 4)[11:14]
    assert taken(records, 2, 1) == in_order[2:3]
    records.close()


def test_one_database_read_twice_and_closed_once(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a", b"b"])
    (tmp_path / "link").symlink_to(folder)
    one, two = LMDBRecords(folder, HERE), LMDBRecords(str(tmp_path / "link"), HERE)
    one.close()
    one.close()
    assert taken(two, 0, 2) == [(b"00000000", b"a"), (b"00000001", b"b")]
    two.close()
    assert not mapped(tmp_path)


def test_nothing_is_written_beside_the_data(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a"])
    before = (tmp_path / "db" / "data.mdb").read_bytes()
    records = LMDBRecords(folder, HERE)
    taken(records, 0, 2)
    records.close()
    assert [p.name for p in Path(folder).iterdir()] == ["data.mdb"]
    assert (tmp_path / "db" / "data.mdb").read_bytes() == before


def test_an_empty_database(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [])
    with pytest.raises(DataError, match=r"layer 'digits' \(Data\), net.prototxt:1: the database .*db' is empty"):
        LMDBRecords(folder, HERE)
    assert not mapped(tmp_path)


def test_a_database_that_another_process_writes_to(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a", b"b"])
    records = LMDBRecords(folder, HERE)
    taken(records, 0, 1)
    script = "import lmdb, sys\nwith lmdb.open(sys.argv[1]) as e, e.begin(write=True) as t: t.put(b'9', b'c')"
    subprocess.run([sys.executable, "-c", script, folder], check=True)
    with pytest.raises(DataError, match="was changed while it was read"):
        taken(records, 0, 1)
    records.close()


def test_a_database_that_was_replaced(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"old"])
    old = LMDBRecords(folder, HERE)
    (tmp_path / "db").rename(tmp_path / "gone")
    write_lmdb(tmp_path / "new", [b"new"])
    (tmp_path / "new").rename(folder)
    new = LMDBRecords(folder, HERE)
    assert taken(new, 0, 1) == [(b"00000000", b"new")]
    assert taken(old, 0, 1) == [(b"00000000", b"old")]
    new.close()
    old.close()
