from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proto2torch.data.lmdb.records import LMDBRecords
from proto2torch.errors import DataError, Where

from ..records import write_lmdb

HOLD = """
import lmdb, sys
with lmdb.open(sys.argv[1]) as environment, environment.begin(write=sys.argv[2] == "write") as transaction:
    print("open", flush=True)
    sys.stdin.read()
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says who holds a lock")


@contextmanager
def held(folder: str, how: str) -> Iterator[None]:
    """Another process has the database open, to write or to read."""
    arguments = [sys.executable, "-c", HOLD, folder, how]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        yield
        process.stdin.close()


@linux
def test_a_database_that_another_process_is_writing(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a"])
    with (
        held(folder, "write"),
        pytest.raises(DataError, match=r"net.prototxt: another process, \d+, is writing to the database '.*db'"),
    ):
        LMDBRecords(folder, Where(file="net.prototxt"))
    LMDBRecords(folder, Where()).close()


@linux
def test_a_database_that_another_process_reads(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a"])
    with held(folder, "read"):
        records = LMDBRecords(folder, Where())
        assert [bytes(value) for _, value in records.take(0, 1)] == [b"a"]
        records.close()


@linux
def test_a_lock_that_a_dead_process_left(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a"])
    arguments = [sys.executable, "-c", HOLD, folder, "write"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    LMDBRecords(folder, Where()).close()
