from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proto2torch.data.mean import channel_means, mean
from proto2torch.errors import DataError
from proto2torch.weights import blobproto

from .records import GOLDEN, datum, pictures, write_lmdb

TOOLS = GOLDEN / "tools"


@pytest.mark.parametrize("name", ["lmdb_raw", "leveldb_raw"])
def test_caffes_mean_file_byte_for_byte(tmp_path: Path, name: str) -> None:
    blobproto.write(str(tmp_path / "mean.binaryproto"), mean(str(TOOLS / name))[None])
    assert (tmp_path / "mean.binaryproto").read_bytes() == (TOOLS / "mean.binaryproto").read_bytes()


def test_sums_are_float32_one_image_after_another(tmp_path: Path) -> None:
    values = np.array([3e7, 1, 1, 1, -3e7], np.float32).reshape(5, 1, 1, 1)  # 1 is lost beside 3e7
    write_lmdb(tmp_path / "db", [datum(value) for value in values])
    assert mean(str(tmp_path / "db")).item() == 0


def test_channels(tmp_path: Path) -> None:
    images = pictures(4)
    write_lmdb(tmp_path / "db", [datum(image) for image in images])
    assert np.allclose(channel_means(mean(str(tmp_path / "db"))), images.mean((0, 2, 3)), rtol=1e-6)


def test_records_that_do_not_fit(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", [datum(pictures(1)[0]), datum(pictures(1, (3, 7, 8))[0])])
    with pytest.raises(DataError, match=r"one shape, \(3, 7, 9\) .* Received: \(3, 7, 8\) of the record b'00000001'"):
        mean(str(tmp_path / "a"))
    write_lmdb(tmp_path / "b", [b"garbage"])
    with pytest.raises(DataError, match="the record b'00000000' is no image: byte 0"):
        mean(str(tmp_path / "b"))
