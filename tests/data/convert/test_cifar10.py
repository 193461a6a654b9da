from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proto2torch.data.convert.cifar10 import convert_cifar10
from proto2torch.errors import DataError
from proto2torch.prototxt.schema import new

from ..leveldbs import ours
from .test_mnist import contents


def cifar(folder: Path, each: int = 20) -> np.ndarray:
    """The six files, and all their records."""
    records = np.random.default_rng(0).integers(0, 256, (6 * each, 3073), np.uint8)
    records[:, 0] %= 10
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        (folder / name).write_bytes(records[number * each : (number + 1) * each].tobytes())
    return records


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_records_as_protobuf_writes_them(tmp_path: Path, backend: str) -> None:
    records = cifar(tmp_path)
    counts = convert_cifar10(str(tmp_path), str(tmp_path), backend)
    assert list(counts.values()) == [100, 20]
    for name, part in (("train", records[:100]), ("test", records[100:])):
        folder = tmp_path / f"cifar10_{name}_{backend}"
        expected = {}
        for number, record in enumerate(part):
            datum = new("Datum")
            datum.channels, datum.height, datum.width = 3, 32, 32
            datum.data, datum.label = record[1:].tobytes(), int(record[0])
            expected[b"%05d" % number] = datum.SerializeToString()
        assert (contents(folder) if backend == "lmdb" else dict(ours(folder))) == expected


def test_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_batch_1.bin: cannot read it: no such file or directory"):
        convert_cifar10(str(tmp_path), str(tmp_path))
    cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"data_batch_3.bin: expected a multiple of 3073 bytes, .* Received: 61459"):
        convert_cifar10(str(tmp_path), str(tmp_path))
    assert sorted(tmp_path.iterdir()) == before
    cifar(tmp_path)
    (tmp_path / "cifar10_test_lmdb").mkdir()
    with pytest.raises(DataError, match="cifar10_test_lmdb: there is something already"):
        convert_cifar10(str(tmp_path), str(tmp_path))
