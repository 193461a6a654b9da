"""A short run of the fuzz of the readers, and what it has found before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proto2torch.weights import blobproto

from . import fuzz_readers


@pytest.mark.parametrize("kind", fuzz_readers.KINDS)
def test_what_is_read_is_what_protobuf_reads(kind: str) -> None:
    found = fuzz_readers.run(kind, seed=7, count=1500)
    assert found.total() == 1500
    assert found["read, the same"] > 100 and found["refused by both"] > 100


def test_broken_hdf5_files_are_read_or_refused() -> None:
    found = fuzz_readers.hdf5(7, seconds=20, count=150)
    assert found.total() > 0 and found["refused"] > 0


@pytest.mark.parametrize(
    "content, shape, values",
    [
        (b"\x08\x81\x80\x80\x80\x10\x10\x01\x18\x01\x20\x01\x2a\x04\0\0\x80\x3f", (1, 1, 1, 1), [1.0]),  # 2^32 + 1
        (b"\x2a\x04\0\0\x80\x3f\x32\x00", (), [1.0]),  # a diff of no values
        (b"\x2a\x00\x3a\x03\x0a\x01\x01\x50\x01\x62\x04\0\0\x80\x3f", (1,), [1.0]),  # no data, and NVIDIA's raw_data
    ],
)
def test_found_before(content: bytes, shape: tuple[int, ...], values: list[float], tmp_path: Path) -> None:
    path = tmp_path / "blob.binaryproto"
    path.write_bytes(content)
    array = blobproto.read(str(path))
    assert array.shape == shape
    assert np.array_equal(array.reshape(-1), values)
