from __future__ import annotations

import gzip
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from proto2torch.data.convert import mnist as module
from proto2torch.data.convert.mnist import convert_mnist
from proto2torch.errors import DataError, RunError
from proto2torch.prototxt.schema import new

from ..records import GOLDEN, pictures


def contents(folder: Path | str) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def idx(folder: Path, images: np.ndarray, labels: Any, name: str = "train") -> tuple[str, str]:
    """MNIST's two files, and their paths."""
    paths = folder / f"{name}-images-idx3-ubyte", folder / f"{name}-labels-idx1-ubyte"
    paths[0].write_bytes(struct.pack(">4I", 2051, *images.shape) + images.tobytes())
    paths[1].write_bytes(struct.pack(">2I", 2049, len(labels)) + bytes(labels))
    return str(paths[0]), str(paths[1])


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_database_that_caffe_made_comes_back(tmp_path: Path, part: str) -> None:
    made_by_caffe = tmp_path / "made_by_caffe"  # a copy: a process may open a database once only
    shutil.copytree(GOLDEN / "runs" / f"digits_{part}_lmdb", made_by_caffe)
    expected = contents(made_by_caffe)
    data = [new("Datum").FromString(value) for value in expected.values()]
    images = np.stack([np.frombuffer(d.data, np.uint8).reshape(d.height, d.width) for d in data])
    count = convert_mnist(*idx(tmp_path, images, [d.label for d in data]), str(tmp_path / "db"))
    assert count == len(expected) == {"train": 1437, "test": 360}[part]
    assert contents(tmp_path / "db") == expected


def test_more_records_than_one_transaction_and_large_ones(tmp_path: Path) -> None:
    images, labels = pictures(2500, (1, 64, 80))[:, 0], [i % 256 for i in range(2500)]
    assert convert_mnist(*idx(tmp_path, images, labels), str(tmp_path / "db")) == 2500
    made = contents(tmp_path / "db")
    assert list(made) == [b"%08d" % i for i in range(2500)]
    for index in (0, 999, 1000, 2499):
        record = new("Datum").FromString(made[b"%08d" % index])
        assert (record.channels, record.height, record.width, record.label) == (1, 64, 80, index % 256)
        assert record.data == images[index].tobytes()


def test_gzipped_files(tmp_path: Path) -> None:
    plain = idx(tmp_path, pictures(3, (1, 4, 5))[:, 0], [1, 2, 3])
    packed = [f"{path}.gz" for path in plain]
    for path, target in zip(plain, packed, strict=True):
        Path(target).write_bytes(gzip.compress(Path(path).read_bytes()))
    convert_mnist(*plain, str(tmp_path / "one"))
    convert_mnist(*packed, str(tmp_path / "two"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_nothing_is_printed_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert_mnist(*idx(tmp_path, pictures(1, (1, 2, 2))[:, 0], [1]), str(tmp_path / "db"))
    assert capsys.readouterr() == ("", "")
    assert sorted(p.name for p in (tmp_path / "db").iterdir()) == ["data.mdb"]


def test_progress_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = idx(tmp_path, pictures(1500, (1, 1, 1))[:, 0], [0] * 1500)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    convert_mnist(*paths, str(tmp_path / "db"))
    shown = capsys.readouterr().err
    assert re.search(r"\r\[#{24}\] 1500 of 1500 images, \d+ a second *\n$", shown)


GOOD = struct.pack(">4I", 2051, 2, 1, 3) + b"abcdef", struct.pack(">2I", 2049, 2) + b"\1\2"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GOOD[0][:-1], GOOD[1], "cut short: expected 22 bytes for 2 x 1 x 3 images. Received: 21"),
        (GOOD[0] + b"x", GOOD[1], "goes on after its end: expected 22 bytes for 2 x 1 x 3 images. Received: 23"),
        (GOOD[0], GOOD[1][:-2], "cut short: expected 10 bytes for 2 labels. Received: 8"),
        (GOOD[0], struct.pack(">2I", 2049, 1) + b"\1", "expected as many labels as there are images"),
        (GOOD[1], GOOD[0], r"expected images \(magic number 2051\). Received: labels \(2049\)"),
        (GOOD[0], GOOD[0], r"expected labels \(magic number 2049\). Received: images \(2051\)"),
        (b"PK\3\4 and more", GOOD[1], "not an idx file: expected the magic number 2051. Received: 1347093252"),
        (b"", GOOD[1], "not an idx file: expected the magic number 2051. Received: 0 bytes"),
        (GOOD[0][:9], GOOD[1], "cut short: its header has 16 bytes. Received: 9"),
        (struct.pack(">4I", 2051, 0, 28, 28), struct.pack(">2I", 2049, 0), "it holds no images"),
        (struct.pack(">4I", 2051, 2, 0, 3), GOOD[1], "at least 1 x 1 pixels. Received: 0 x 3"),
        (gzip.compress(GOOD[0])[:-9], GOOD[1], "the gzip file is damaged"),
        (
            struct.pack(">4I", 2051, 2**32 - 1, 2**31, 2**31),
            GOOD[1],
            f"cut short: expected {(2**32 - 1) * 2**62 + 16} bytes",
        ),
    ],
    ids=range(13),
)
def test_files_that_are_refused(tmp_path: Path, images: bytes, labels: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(DataError, match=message) as caught:
        convert_mnist(str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "db"))
    assert caught.value.exit_status == 2
    assert caught.value.file in (str(tmp_path / "images"), str(tmp_path / "labels"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "labels"]


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot read it: no such file or directory"):
        convert_mnist(str(tmp_path / "nowhere"), "labels", str(tmp_path / "db"))


def test_a_database_that_exists_stays(tmp_path: Path) -> None:
    paths = idx(tmp_path, pictures(1, (1, 2, 2))[:, 0], [1])
    convert_mnist(*paths, str(tmp_path / "db"))
    before = contents(tmp_path / "db")
    with pytest.raises(DataError, match="there is something already"):
        convert_mnist(*paths, str(tmp_path / "db"))
    assert contents(tmp_path / "db") == before


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = idx(tmp_path, pictures(3, (1, 2, 2))[:, 0], [1, 2, 3])
    before = sorted(tmp_path.iterdir())

    def full(*_: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.datum, "write", full)
    with pytest.raises(RunError, match=r"cannot write .*db: no space left on device") as caught:
        convert_mnist(*paths, str(tmp_path / "db"))
    assert caught.value.exit_status == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    paths = idx(tmp_path, pictures(1, (1, 2, 2))[:, 0], [1])
    with pytest.raises(DataError, match=r"cannot write .*: no such file or directory\n  the folder .*nowhere does not"):
        convert_mnist(*paths, str(tmp_path / "nowhere" / "db"))
