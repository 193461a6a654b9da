from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from proto2torch.data import inspect
from proto2torch.data.leveldb.records import LevelDBRecords
from proto2torch.data.leveldb.table import Record
from proto2torch.data.mean import mean
from proto2torch.errors import DataError

from .convert.test_mnist import contents
from .leveldbs import ours
from .records import GOLDEN, datum, pictures, write_lmdb

TOOLS = GOLDEN / "tools"


@pytest.mark.parametrize(
    ("name", "backend", "kind"),
    [("lmdb_raw", "lmdb", "uint8"), ("leveldb_raw", "leveldb", "uint8"), ("lmdb_encoded", "lmdb", "encoded")],
)
def test_what_caffes_databases_hold(name: str, backend: str, kind: str) -> None:
    found = inspect.summary(str(TOOLS / name))
    assert (found.backend, found.count, found.bad) == (backend, 12, [])
    assert (found.first_key, found.last_key) == ("00000000_im00.jpg", "00000011_im11.png")
    assert dict(found.labels) == {0: 3, 1: 5, 2: 3, 3: 1}
    assert sum(found.shapes.values()) == 12 and {shape[3] for shape in found.shapes} == {kind}


def test_features_are_float32() -> None:
    found = inspect.summary(str(TOOLS / "features_fc"))
    assert dict(found.shapes) == {(4, 1, 1, "float32"): 12}


def test_damaged_records_are_listed(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [datum(pictures(1)[0]), b"garbage"])
    found = inspect.summary(str(tmp_path / "db"))
    assert found.bad == ["00000001"] and sum(found.shapes.values()) == 1


def test_records_are_shown_with_their_pixels() -> None:
    shown = inspect.show(str(TOOLS / "lmdb_raw"), first=10, count=5)
    assert [(record.key, record.label) for record in shown] == [("00000010_im10.jpg", 0), ("00000011_im11.png", 0)]
    assert shown[0].image.shape == (3, 40, 48)
    with pytest.raises(DataError, match=r"the records are 0 to 11. Received: 12"):
        inspect.show(str(TOOLS / "lmdb_raw"), first=12)


def test_a_picture_of_images() -> None:
    grey, colour = pictures(1, (1, 4, 5))[0], pictures(1, (3, 6, 3))[0]
    floats = np.array([[[-1.0, 3.0]]], np.float32)
    sheet = inspect.picture([grey, colour, floats])
    assert sheet.shape == (16, 14, 3)
    assert np.array_equal(sheet[:4, :5], np.repeat(grey[0, :, :, None], 3, axis=2))
    assert np.array_equal(sheet[:6, 7:10], colour[::-1].transpose(1, 2, 0))
    assert sheet[8, :2, 0].tolist() == [0, 255]


def test_copied_there_and_back(tmp_path: Path) -> None:
    source = str(TOOLS / "lmdb_encoded")
    assert inspect.copy(source, str(tmp_path / "leveldb")) == 12
    assert dict(ours(tmp_path / "leveldb")) == contents(source)
    assert inspect.copy(str(tmp_path / "leveldb"), str(tmp_path / "lmdb")) == 12
    assert contents(tmp_path / "lmdb") == contents(source)
    inspect.copy(str(tmp_path / "lmdb"), str(tmp_path / "again"), "lmdb")
    assert contents(tmp_path / "again") == contents(source)
    with pytest.raises(DataError, match="there is something already"):
        inspect.copy(source, str(tmp_path / "lmdb"))


def test_a_leveldb_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    walk = LevelDBRecords._records

    def counted(self: LevelDBRecords) -> Iterator[Record]:
        for place, record in enumerate(walk(self)):
            passes.append(place)
            yield record

    source = str(TOOLS / "leveldb_raw")
    monkeypatch.setattr(LevelDBRecords, "_records", counted)
    for read in (inspect.summary, mean, lambda db: inspect.copy(db, str(tmp_path / "db"))):
        passes.clear()
        read(source)
        assert passes.count(11) == 1
