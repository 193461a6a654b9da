"""Binary weight files: what Caffe wrote is read, written back byte for byte, and a broken file is told as one."""

from __future__ import annotations

import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch import weights
from proto2torch.errors import RunError, WeightsError
from proto2torch.prototxt import schema
from proto2torch.weights import caffemodel, wire
from proto2torch.weights.stored import StoredBlob

from .golden import BINARY, DATA, SOLVERS, TOOLS, parsed

Read = Callable[[bytes], Any]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads bytes as a weight file."""

    def read(content: bytes) -> Any:
        path = tmp_path / "w.caffemodel"
        path.write_bytes(content)
        return caffemodel.read(str(path))

    return read


def blob(layer: Any, name: str = "blobs", **fields: Any) -> Any:
    """A new blob of a layer message; a shape is a tuple."""
    message = getattr(layer, name).add()
    message.shape.dim.extend(fields.pop("shape", ()))
    for field, value in fields.items():
        if isinstance(value, list):
            getattr(message, field).extend(value)
        else:
            setattr(message, field, value)
    return message


@pytest.mark.parametrize("path", BINARY, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_what_caffe_wrote_is_read_and_written_back_byte_for_byte(path: Path, tmp_path: Path) -> None:
    net, stored = parsed(path, "NetParameter"), caffemodel.read(str(path))
    assert stored.name == net.name
    assert list(stored.layers) == [layer.name for layer in net.layer]
    for layer in net.layer:
        found = stored.layers[layer.name]
        assert found.type == layer.type
        assert [b.array.shape for b in found.blobs if b] == [tuple(b.shape.dim) for b in layer.blobs]
        for have, want in zip(found.blobs, layer.blobs, strict=True):
            assert have is not None and not have.legacy
            assert have.array.tobytes() == np.array(want.data, np.float32).tobytes()
    copy = tmp_path / "copy.caffemodel"
    arrays = [[b.array for b in stored.layers[layer.name].blobs if b] for layer in net.layer]
    caffemodel.write(str(copy), net.name, zip(net.layer, arrays, strict=True))
    assert copy.read_bytes() == path.read_bytes()


def test_the_public_arrays_are_caffes_after_ten_updates() -> None:
    expected = np.load(SOLVERS[0] / "expected.npz")
    arrays = weights.read(str(SOLVERS[0] / "snap_iter_10.caffemodel"))
    assert sorted(arrays) == ["conv", "ip1", "ip2"]
    for layer, blobs in arrays.items():
        for index, array in enumerate(blobs):
            assert np.array_equal(array, expected[f"w10_{layer}_{index}"])
            assert array.flags.aligned and array.flags.writeable and array.flags.owndata


def test_packed_values_are_views_and_never_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(BINARY[0].read_bytes())
    array = next(layer.blobs[0].array for layer in caffemodel.read(str(path)).layers.values() if layer.blobs)
    assert not array.flags.owndata
    array[...] = 0
    assert path.read_bytes() == BINARY[0].read_bytes()


def test_diffs_and_scalars_go_there_and_back(tmp_path: Path) -> None:
    layer = schema.new("LayerParameter")
    layer.name, layer.type, layer.phase = "s", "Scale", 1
    layer.top.append("y")
    values, diff = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 0.5, np.float32)
    scalar = np.array(2.5, np.float32)
    path = str(tmp_path / "w.caffemodel")
    caffemodel.write(path, "n", [(layer, [values, scalar])], diffs=[[diff, scalar]])
    expected = schema.new("NetParameter")
    expected.name = "n"
    added = expected.layer.add()
    added.CopyFrom(layer)
    blob(added, shape=(2, 3), data=values.ravel().tolist(), diff=diff.ravel().tolist())
    one = added.blobs.add()
    one.data.append(2.5)
    one.diff.append(2.5)
    assert Path(path).read_bytes() == expected.SerializeToString(deterministic=True)
    first, second = caffemodel.read(path).layers["s"].blobs
    assert first is not None and first.diff is not None and second is not None
    assert np.array_equal(first.diff, diff)
    assert second.array.shape == ()


def test_v2_legacy_double_and_unpacked_values(read: Read) -> None:
    net = schema.new("NetParameter")
    layer = net.layer.add(name="a", type="InnerProduct")
    blob(layer, num=1, channels=1, height=2, width=3, data=[1, 2, 3, 4, 5, 6])
    blob(layer, shape=(2,), double_data=[0.1, 1e300], data=[7, 8])
    content = net.SerializeToString()
    unpacked = b"".join(b"\x2d" + struct.pack("<f", v) for v in range(200)) + b"\x3a\x03\x0a\x01\x14"  # dim: 20
    unpacked += b"\x3a\x02\x08\x0a"  # dim: 10, not packed
    body = b"\x0a\x01b" + b"\x3a" + _length(unpacked) + unpacked
    stored = read(content + b"\xa2\x06" + _length(body) + body)
    first, second = stored.layers["a"].blobs
    assert first.legacy and first.array.tolist() == [[[[1, 2, 3], [4, 5, 6]]]]
    assert not second.legacy and second.array.tolist() == [np.float32(0.1), np.inf]
    assert np.array_equal(stored.layers["b"].blobs[0].array, np.arange(200).reshape(20, 10))


def test_packed_parts_and_runs_are_joined_in_order(read: Read) -> None:
    def floats(*values: float) -> bytes:
        return struct.pack(f"<{len(values)}f", *values)

    body = (
        b"\x2a\x08"
        + floats(1, 2)
        + b"\x2d"
        + floats(3)
        + b"\x08\x01\x10\x01\x18\x01"
        + b"\x2d"
        + floats(4)
        + b"\x20\x04"
    )
    layer = b"\x0a\x01b\x3a" + _length(body) + body
    stored = read(b"\xa2\x06" + _length(layer) + layer)
    assert stored.layers["b"].blobs[0].array.tolist() == [[[[1, 2, 3, 4]]]]


def test_v1_and_v0_files(read: Read) -> None:
    v1 = schema.new("NetParameter")
    blob(v1.layers.add(name="c", type=4), num=1, channels=1, height=1, width=2, data=[1, 2])
    v1.layers.add(name="r", type=18)
    stored = read(v1.SerializeToString())
    assert list(stored.layers) == ["c", "r"]
    assert stored.layers["c"].blobs[0].array.ravel().tolist() == [1, 2]
    v0 = schema.new("NetParameter")
    outer = v0.layers.add(name="outer")
    outer.layer.name, outer.layer.type = "c0", "conv"
    blob(outer.layer, num=1, channels=1, height=1, width=1, data=[9])
    v0.layers.add(name="plain v1")
    stored = read(v0.SerializeToString())
    assert list(stored.layers) == ["c0"]
    assert stored.layers["c0"].type == "conv"
    assert stored.layers["c0"].blobs[0].array.ravel().tolist() == [9]


def test_of_two_layers_of_one_name_the_first_counts(read: Read) -> None:
    net = schema.new("NetParameter")
    blob(net.layer.add(name="a"), shape=(1,), data=[1])
    blob(net.layer.add(name="a"), shape=(1,), data=[2])
    assert read(net.SerializeToString()).layers["a"].blobs[0].array.tolist() == [1]


def test_half_floats_of_nvidias_fork(read: Read) -> None:
    values = np.array([0.5, -2, 65504], "<f2")
    raw = b"\x3a\x03\x0a\x01\x03" + b"\x50\x02" + b"\x62\x06" + values.tobytes()
    layer = b"\x0a\x01a\x3a" + _length(raw) + raw
    assert read(b"\xa2\x06" + _length(layer) + layer).layers["a"].blobs[0].array.tolist() == [0.5, -2, 65504]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b'name: "x"\nlayer { name: "a" }\n', "Received: text, such as a prototxt"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Received: a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html></html>", "Received: a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "Received: an HDF5 file"),
        (b"PK\x03\x04" + bytes(100), "Received: a zip archive"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"a":{}}        ', "Received: a safetensors file"),
        (b"\x0a\x01n", "it has no layers"),
        (bytes(50), "no field has the tag 0x0"),
        (b"\xff" * 50, "a number is too long"),
        (b"\xa2\x06\x7f\x0a", "field 100 has 127 bytes, but 1 are left: the file is cut short"),
        (b"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x0a", "but 1 are left"),
        (b"\x0b\x0b\x0b\xff", "no field has the tag 0xb"),
    ],
)
def test_another_file_is_called_by_its_name(read: Read, content: bytes, message: str) -> None:
    with pytest.raises(WeightsError) as raised:
        read(content)
    assert message in str(raised.value)
    assert raised.value.file is not None and raised.value.file.endswith("w.caffemodel")


def test_a_solverstate_is_recognised() -> None:
    with pytest.raises(WeightsError) as raised:
        caffemodel.read(str(SOLVERS[0] / "snap_iter_10.solverstate"))
    assert raised.value.hint is not None and "it may be a .solverstate" in raised.value.hint


def test_layers_of_two_generations_are_refused(read: Read) -> None:
    net = schema.new("NetParameter")
    net.layer.add(name="a")
    net.layers.add(name="b")
    with pytest.raises(WeightsError, match="`layers` and `layer` cannot stand in one file"):
        read(net.SerializeToString())


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"shape": (2, 3), "data": [1.0]}, "shape (2, 3) needs 6 values. Received: 1 in data"),
        ({"shape": (2**62, 2**62), "data": [1.0]}, f"needs {2**124} values. Received: 1"),
        ({"shape": (-1, -1), "data": [1.0]}, "no extent of a blob can be negative. Received: shape (-1, -1)"),
        ({"shape": (1,) * 33, "data": [1.0]}, "a blob has at most 32 axes"),
        ({"num": 2, "data": [1.0, 2.0]}, "shape (2, 0, 0, 0) needs 0 values. Received: 2"),
        ({"data": [1.0, 2.0]}, "shape () needs 1 values. Received: 2"),
        ({"shape": (1,)}, "shape (1,) needs 1 values. Received: 0"),
        ({"shape": (1,), "data": [1.0], "diff": [1.0, 2.0]}, "Received: 2 in diff"),
    ],
)
def test_a_shape_that_does_not_fit_names_layer_and_blob(read: Read, fields: dict[str, Any], message: str) -> None:
    net = schema.new("NetParameter")
    layer = net.layer.add(name="conv1", type="Convolution")
    blob(layer, shape=(1,), data=[1.0])
    blob(layer, **fields)
    with pytest.raises(WeightsError) as raised:
        read(net.SerializeToString())
    assert message in raised.value.message
    assert raised.value.message.startswith("blob 1, byte ")
    assert raised.value.layer == "conv1"


def test_every_truncation_is_an_error_or_fewer_layers(read: Read) -> None:
    content = (TOOLS / "net.caffemodel").read_bytes()
    whole = len(read(content).layers)
    for end in range(0, len(content), 37):
        try:
            assert len(read(content[:end]).layers) < whole
        except WeightsError as error:
            assert "w.caffemodel" in str(error)


def test_a_hostile_file_is_refused_at_once(read: Read) -> None:
    nested = b""
    for _ in range(2000):
        nested = b"\x12" + _length(nested) + nested
    groups = b"\xa3\x06" * 100_000  # protobuf nests so
    claims = b"\x3a\x0b\x0a\x09" + b"\xff" * 8 + b"\x7f"
    layer = b"\x0a\x01a\x3a" + _length(claims) + claims
    started = time.perf_counter()
    assert list(read(nested).layers) == [""]  # what lies deeper is no blob and is never entered
    with pytest.raises(WeightsError):
        read(b"\xa2\x06" + _length(layer) + layer)
    with pytest.raises(WeightsError):
        read(b"\xa2\x06" + b"\xff" * 9 + b"\x01")
    with pytest.raises(WeightsError, match="no field has the tag 0x323"):
        read(groups)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("tiny", [b"\x3a\x00", b"\x3a\x05\x2a\x03abc", b"\x3a\x06\x2a\x04\0\0\0\0"])
def test_a_million_tiny_blobs_are_refused_before_they_are_objects(read: Read, tiny: bytes) -> None:
    blobs = b"\x0a\x01a" + tiny * 1_000_000
    started = time.perf_counter()
    with pytest.raises(WeightsError, match="a layer has at most 1000 blobs"):
        read(b"\xa2\x06" + _length(blobs) + blobs)
    with pytest.raises(WeightsError, match="it has more than 100000 layers"):
        read((b"\xa2\x06" + _length(tiny) + tiny) * 1_000_000)
    assert time.perf_counter() - started < 3


def test_more_than_protobuf_reads_is_read(tmp_path: Path) -> None:
    """A layer of 2.2 GiB of zeros, which take no room on the disk, but for its last value; and one behind it."""
    path, size = tmp_path / "large.caffemodel", 4 * 600_000_000
    dims = wire.encode(30_000) + wire.encode(20_000)
    shape = b"\x0a" + _length(dims) + dims
    values, shape = b"\x2a" + wire.encode(size), b"\x3a" + _length(shape) + shape
    held = len(values) + size + len(shape)
    layer = b"\x0a\x05large\x3a" + wire.encode(held)
    behind = schema.new("NetParameter")
    blob(behind.layer.add(name="behind"), shape=(2,), data=[1.0, 2.0])
    with open(path, "wb") as file:
        file.write(b"\xa2\x06" + wire.encode(len(layer) + held) + layer + values)
        file.seek(size - 4, 1)
        file.write(struct.pack("<f", 7.5) + shape + behind.SerializeToString())
    stored = caffemodel.read(str(path))
    large = stored.layers["large"].blobs[0]
    assert large is not None and large.array.shape == (30_000, 20_000)
    assert large.array[0, 0] == 0 and large.array[-1, -1] == 7.5
    behind_blob = stored.layers["behind"].blobs[0]
    assert behind_blob is not None and behind_blob.array.tolist() == [1, 2]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 3300))
def test_mutated_files_are_read_or_refused(mutations: list[tuple[int, int]], end: int) -> None:
    content = bytearray((SOLVERS[0] / "init.caffemodel").read_bytes())
    for at, value in mutations:
        content[at] = value
    _survives(bytes(content[:end]) if mutations[0][1] % 2 else bytes(content))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_layers_are_read_or_refused(body: bytes) -> None:
    blob = b"\x3a" + _length(body) + body
    _survives(b"\xa2\x06" + _length(blob) + blob)
    _survives(body)


def _survives(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            stored = weights.read_stored(file.name)
        except WeightsError:
            return
        assert sum(b.array.size for layer in stored.layers.values() for b in layer.blobs if b) <= len(content)


@pytest.mark.parametrize("path, reason", [("nothing.caffemodel", "no such file"), (".", "is a directory")])
def test_a_path_that_is_no_file(path: str, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        weights.read(path)


def test_more_than_protobuf_reads_is_refused_before_it_is_written(tmp_path: Path) -> None:
    layer = schema.new("LayerParameter")
    layer.name = "huge"
    with pytest.raises(WeightsError, match="layer 'huge'") as raised:
        caffemodel.write(str(tmp_path / "w.caffemodel"), "n", [(layer, [np.zeros(2**29, np.float32)])])
    assert raised.value.hint is not None and "HDF5" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def layers() -> Any:
        yield schema.new("LayerParameter"), [np.zeros(3, np.float32)]
        raise RunError("diverged")

    with pytest.raises(RunError, match="diverged"):
        caffemodel.write(str(tmp_path / "w.caffemodel"), "n", layers())
    assert list(tmp_path.iterdir()) == []


def test_arrays_can_stand_for_a_file() -> None:
    stored = weights.read_stored({"ip": [[[1, 2]], np.zeros(1)]})
    blobs = stored.layers["ip"].blobs
    assert all(isinstance(b, StoredBlob) and b.array.dtype == np.float32 for b in blobs)
    assert [b.array.shape for b in blobs if b] == [(1, 2), (1,)]


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5"])
def test_save_writes_what_the_ending_says(tmp_path: Path, ending: str) -> None:
    net = parsed(TOOLS / "net.caffemodel", "NetParameter")
    arrays = weights.read(str(TOOLS / "net.caffemodel"))
    path = str(tmp_path / f"w{ending}")
    weights.save(path, net.name, [(layer, arrays.get(layer.name, [])) for layer in net.layer])
    again = weights.read(path)
    assert sorted(again) == sorted(arrays)
    for name, blobs in arrays.items():
        assert all(np.array_equal(a, b) for a, b in zip(blobs, again[name], strict=True))
    if ending == ".caffemodel":
        content, seal = Path(path).read_bytes()[:-12], Path(path).read_bytes()[-12:]
        assert content == (TOOLS / "net.caffemodel").read_bytes()
        assert seal.startswith(wire.tag(7_433_001, wire.FIXED64))  # the checksum, which Caffe skips


def test_save_refuses_an_ending_that_names_no_format(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"must be \.caffemodel, \.caffemodel\.h5 or \.safetensors"):
        weights.save(str(tmp_path / "w.bin"), "n", [])


def test_published_weights_are_read() -> None:
    zoo = DATA.parents[2].parent / "shared" / "zoo"
    if not zoo.is_dir():
        pytest.skip("shared/zoo, with published caffemodels, is not beside this checkout")
    for path in sorted(zoo.rglob("*.caffemodel")):
        net = parsed(path, "NetParameter")
        arrays = weights.read(str(path))
        for layer in net.layer:
            for want, have in zip(layer.blobs, arrays.get(layer.name, []), strict=True):
                assert np.array_equal(np.array(want.data, np.float32), have.ravel())
        assert arrays


def _length(content: bytes) -> bytes:
    return wire.encode(len(content))
