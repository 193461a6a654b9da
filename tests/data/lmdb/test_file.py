from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from proto2torch.data.lmdb import file as lmdb_file
from proto2torch.errors import DataError, Where

from ..records import GOLDEN, write_lmdb

TRAIN = GOLDEN / "runs" / "digits_train_lmdb"


def refusal(folder: str, beside: str | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        lmdb_file.find(folder, Where(file=beside))
    return caught.value


def test_a_database_of_caffe_is_found() -> None:
    assert lmdb_file.find(str(TRAIN), Where()) == str(TRAIN / "data.mdb")


def test_absent_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = refusal("some/db", "nets/net.prototxt")
    assert error.message == "no database is there. Received: 'some/db'"
    assert error.hint == f"looked for {tmp_path}/some/db and {tmp_path}/nets/some/db"


def test_the_file_instead_of_its_folder(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a"])
    error = refusal(f"{folder}/data.mdb")
    assert "an LMDB is a folder with a data.mdb. Received: the file" in error.message
    assert error.hint == "name the folder that it lies in"


def test_a_leveldb() -> None:
    error = refusal(str(GOLDEN / "tools" / "leveldb_raw"))
    assert error.message.startswith("expected an LMDB. Received:") and error.message.endswith("a LevelDB")
    assert error.hint is not None and "LEVELDB" in error.hint


def test_another_folder(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)).message.endswith("a folder without data.mdb")


@pytest.mark.parametrize("length", [1490943, 1486848, 745472, 8192, 8191, 4097, 4096])
def test_cut_short(tmp_path: Path, length: int) -> None:
    (tmp_path / "data.mdb").write_bytes((TRAIN / "data.mdb").read_bytes()[:length])
    message = refusal(str(tmp_path)).message
    expected = 1490944 if length >= 4096 + 152 else 4096 * 2  # the meta page that counts is the second
    assert f"is cut short: its pages take {expected} bytes. Received: {length}" in message


@pytest.mark.parametrize("contents", [b"x", b"not a database" * 1000, bytes(9000)])
def test_something_else(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(contents)
    assert "is not the data file of an LMDB of a 64-bit machine, or it is damaged" in refusal(str(tmp_path)).message


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").touch()
    assert refusal(str(tmp_path)).message.endswith("data.mdb' is empty")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_lmdb(tmp_path / "db", [b"a"])

    def refuse(path: str, mode: str) -> Any:
        raise PermissionError(13, os.strerror(13), path)

    monkeypatch.setattr(lmdb_file, "open", refuse, raising=False)
    assert refusal(folder).message == f"no permission to read '{folder}/data.mdb'"
