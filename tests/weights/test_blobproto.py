"""Mean files, and blobs that a net gives in its own text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from proto2torch.errors import DataError, NetError, Where
from proto2torch.prototxt import schema
from proto2torch.weights import blobproto

from .golden import TOOLS, parsed

HERE = Where(file="net.prototxt", line=2)


def message(text: str) -> object:
    return text_format.Parse(text, schema.new("BlobProto"))


def test_a_mean_file_of_caffe_is_read_and_written_back_byte_for_byte(tmp_path: Path) -> None:
    path = TOOLS / "mean.binaryproto"
    mean = blobproto.read(str(path))
    assert mean.shape == (1, 3, 40, 48)
    assert np.array_equal(mean.ravel(), np.array(parsed(path, "BlobProto").data, np.float32))
    blobproto.write(str(tmp_path / "m"), mean)
    assert (tmp_path / "m").read_bytes() == path.read_bytes()
    blobproto.write(str(tmp_path / "m3"), mean[0])
    assert (tmp_path / "m3").read_bytes() == path.read_bytes()


def test_a_modern_shape_is_written_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "m"
    blobproto.write(str(path), np.arange(6, dtype=np.float32).reshape(2, 3), legacy=False)
    assert list(parsed(path, "BlobProto").shape.dim) == [2, 3]
    assert blobproto.read(str(path)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "the file is empty"),
        (b"shape { dim: 1 } data: 0\n", "Received: text"),
        (b"\x08\x01\x10\x03", r"shape \(1, 3, 0, 0\) needs 0|Received: 0"),
        (b"\x2a\x03abc", "data has 3 bytes, no multiple of 4"),
        (b"\x2a\x08abcd", "field 5 has 8 bytes, but 4 are left"),
        (b"\x28\x01", "data must be coded as 4 bytes. Received: a varint"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(content)
    if content == b"\x08\x01\x10\x03":
        assert blobproto.read(str(path)).shape == (1, 3, 0, 0)
        return
    with pytest.raises(DataError, match=problem) as raised:
        blobproto.read(str(path))
    assert raised.value.file == str(path)


@pytest.mark.parametrize(
    "text, shape",
    [
        ("shape { dim: 2 dim: 2 } data: 1 data: 2 data: 3 data: 4", (2, 2)),
        ("shape { dim: 2 dim: 2 } double_data: 1 double_data: 2 double_data: 3 double_data: 4", (2, 2)),
        ("num: 1 channels: 1 height: 2 width: 2 data: 1 data: 2 data: 3 data: 4", (2, 2)),
        ("num: 1 channels: 1 height: 1 width: 4 data: 1 data: 2 data: 3 data: 4", (4,)),
    ],
)
def test_a_blob_in_a_net_gives_its_values(text: str, shape: tuple[int, ...]) -> None:
    assert np.array_equal(blobproto.array(message(text), shape, HERE), np.arange(1, 5).reshape(shape))


@pytest.mark.parametrize(
    "text, problem",
    [
        ("shape { dim: 4 } data: 1 data: 2 data: 3 data: 4", r"shape \(2, 2\) is expected. Received: \(4,\)"),
        ("shape { dim: 2 dim: 2 } data: 1", r"broken blob: shape \(2, 2\) needs 4 values. Received: 1 in data"),
        ("num: 2 channels: 2 height: 1 width: 1 data: [1, 2, 3, 4]", r"Received: \(2, 2, 1, 1\)"),
    ],
)
def test_a_blob_in_a_net_that_does_not_fit(text: str, problem: str) -> None:
    with pytest.raises(NetError, match=problem) as raised:
        blobproto.array(message(text), (2, 2), HERE)
    assert raised.value.where == HERE
