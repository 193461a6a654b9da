from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

from proto2torch.data.leveldb.records import LevelDBRecords
from proto2torch.data.records import LEVELDB, open_records
from proto2torch.errors import DataError, Where

from ..leveldbs import LEVELDB_ITSELF, Records, ours, random_records, write
from ..records import GOLDEN

CAFFE = GOLDEN / "tools" / "leveldb_raw"
HERE = Where(file="net.prototxt", line=1, layer="digits", type="Data")


def copy_of_caffes(folder: Path) -> Path:
    shutil.copytree(CAFFE, folder / "db")
    for path in [folder / "db", *(folder / "db").iterdir()]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    return folder / "db"


def test_caffes_leveldb_holds_the_records_of_its_lmdb() -> None:
    folder = str(GOLDEN / "tools" / "lmdb_raw")
    with lmdb.open(folder, readonly=True, lock=False) as environment, environment.begin() as transaction:
        assert ours(CAFFE) == list(transaction.cursor())


def test_over_and_over_from_any_record() -> None:
    expected, count = ours(CAFFE), 12
    for first, number in ((5, 3), (11, 26), (40, 4), (0, 1), (23, 2), (3 * count, 1)):
        for records in (LevelDBRecords(str(CAFFE), HERE), known := LevelDBRecords(str(CAFFE), HERE)):
            if records is known:
                assert len(records) == count
            got = [(bytes(k), bytes(v)) for k, v in records.take(first, number)]
            assert got == [expected[(first + i) % count] for i in range(number)]


def test_a_folder_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    folder = copy_of_caffes(tmp_path)
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    folder.chmod(0o555)
    assert len(ours(folder)) == 12
    folder.chmod(0o755)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


@LEVELDB_ITSELF
def test_what_leveldb_wrote_overwrote_deleted_and_compressed(tmp_path: Path) -> None:
    import plyvel

    draw = np.random.default_rng(0)
    expected: dict[bytes, bytes] = {}
    with plyvel.DB(str(tmp_path / "db"), create_if_missing=True, write_buffer_size=1 << 17) as db:
        for number in range(6000):
            key = b"%05d" % draw.integers(0, 2500)
            if draw.random() < 0.1:
                db.delete(key)
                expected.pop(key, None)
            else:
                expected[key] = b"%d and " % number * int(draw.integers(0, 40)) + draw.bytes(20)
                db.put(key, expected[key])
        assert dict(db) == expected
    assert ours(tmp_path / "db") == sorted(expected.items())
    assert sum(p.suffix == ".ldb" for p in (tmp_path / "db").iterdir()) > 1


@LEVELDB_ITSELF
def test_records_that_are_only_in_the_log_yet(tmp_path: Path) -> None:
    import plyvel

    records = random_records(5, 40000)  # each longer than a block of the log
    with plyvel.DB(str(tmp_path / "db"), create_if_missing=True) as db:
        for key, value in records:
            db.put(key, value)
        db.put(b"zz", b"gone")
        db.delete(b"zz")
    assert ours(tmp_path / "db") == records


@LEVELDB_ITSELF
def test_a_log_cut_off_in_its_last_record_has_the_others(tmp_path: Path) -> None:
    import plyvel

    records = random_records(5, 40000)
    with plyvel.DB(str(tmp_path / "db"), create_if_missing=True) as db:
        for key, value in records:
            db.put(key, value)
    log = max((tmp_path / "db").glob("*.log"))
    log.write_bytes(log.read_bytes()[:-100])
    expected = ours(tmp_path / "db")
    assert expected == records[:4]
    with plyvel.DB(str(tmp_path / "db")) as db:
        assert list(db) == expected


@LEVELDB_ITSELF
def test_a_database_that_another_process_has_open(tmp_path: Path) -> None:
    script = "import plyvel, sys\ndb = plyvel.DB(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()"
    folder = str(copy_of_caffes(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(DataError, match=r"another process has the LevelDB .* open, and may be writing"):
            open_records(folder, LEVELDB, HERE)
        other.stdin.close()
    open_records(folder, LEVELDB, HERE).close()


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        records = open_records(str(folder), LEVELDB, HERE)
        list(records.take(0, 12))
    assert (caught.value.layer, caught.value.exit_status) == ("digits", 2)
    return caught.value.message


def test_damaged_bytes_all_over_a_table_are_found(tmp_path: Path) -> None:
    folder = copy_of_caffes(tmp_path)
    table = folder / "000005.ldb"
    whole = bytearray(table.read_bytes())
    for at in [*range(3, len(whole) - 48, 3001), len(whole) - 60, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[at] ^= 4
        table.write_bytes(damaged)
        message = refusal(folder)
        assert "000005.ldb: " in message and "damaged" in message
    table.write_bytes(whole)
    assert len(ours(folder)) == 12


def test_the_checksum_names_the_file_and_the_block(tmp_path: Path) -> None:
    folder = copy_of_caffes(tmp_path)
    table = folder / "000005.ldb"
    contents = bytearray(table.read_bytes())
    contents[100] ^= 1
    table.write_bytes(contents)
    assert refusal(folder) == (
        f"the LevelDB '{folder}' is damaged: 000005.ldb: the checksum of the block at byte 0 is wrong: the file is"
        " damaged"
    )


def test_a_table_cut_short(tmp_path: Path) -> None:
    folder = copy_of_caffes(tmp_path)
    table = folder / "000005.ldb"
    whole = table.read_bytes()
    for length in (0, 40, 4096, 65536, len(whole) - 1):
        table.write_bytes(whole[:length])
        assert f"000005.ldb is cut short: expected 69651 bytes. Received: {length}" in refusal(folder)


def test_a_table_that_is_missing(tmp_path: Path) -> None:
    folder = copy_of_caffes(tmp_path)
    (folder / "000005.ldb").unlink()
    assert "its file 000005.ldb is missing" in refusal(folder)


def test_a_damaged_manifest(tmp_path: Path) -> None:
    folder = copy_of_caffes(tmp_path)
    manifest = folder / "MANIFEST-000004"
    whole = bytearray(manifest.read_bytes())
    whole[20] ^= 1
    manifest.write_bytes(whole)
    assert "MANIFEST-000004: the checksum at byte 0 is wrong" in refusal(folder)
    manifest.unlink()
    assert "cannot read MANIFEST-000004 of the LevelDB" in refusal(folder)
    (folder / "CURRENT").write_text("../other\n")
    assert "CURRENT must name a MANIFEST. Received: '../other'" in refusal(folder)


def test_an_empty_database(tmp_path: Path) -> None:
    write(tmp_path / "db", [])
    assert refusal(tmp_path / "db").endswith("db' is empty")


def test_no_database(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == f"no database is there. Received: '{tmp_path}/nowhere'"
    assert refusal(tmp_path).endswith("a folder without CURRENT")
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file").endswith("file', a file")


def test_few_files_are_open_however_many_there_are(tmp_path: Path) -> None:
    records: Records = random_records(60, 300)
    write(tmp_path / "db", records, table=1000)
    assert sum(p.suffix == ".ldb" for p in (tmp_path / "db").iterdir()) > 10
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    opened = LevelDBRecords(str(tmp_path / "db"), HERE)
    assert [(bytes(k), bytes(v)) for k, v in opened.take(0, 60)] == records
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    opened.close()
