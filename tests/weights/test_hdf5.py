"""HDF5 weight files: Caffe's own, ours, and broken ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from proto2torch import weights
from proto2torch.errors import Proto2TorchError, WeightsError
from proto2torch.prototxt import schema
from proto2torch.weights import hdf5

from .golden import SOLVERS, TOOLS, parsed

NET = TOOLS / "net.caffemodel.h5"
SNAPSHOTS = [path for folder in SOLVERS for path in folder.glob("*.caffemodel.h5")]


def layer(name: str) -> Any:
    message = schema.new("LayerParameter")
    message.name = name
    return message


def layout(path: Path) -> dict[str, Any]:
    """Every object of a file with its type, shape and bytes."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        is_data = isinstance(item, h5py.Dataset)
        found[name] = (item.dtype.str, item.shape, item[()].tobytes()) if is_data else "group"

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda p: p.parent.name)
def test_a_snapshot_of_caffe_holds_the_weights_after_ten_updates(path: Path) -> None:
    expected = np.load(path.parent / "expected.npz")
    stored = weights.read_stored(str(path))
    assert stored.hdf5
    assert sorted(stored.layers) == ["act", "conv", "data", "ip1", "ip2", "loss", "pool", "relu"]
    for name in ("conv", "ip1", "ip2"):
        for index, blob in enumerate(stored.layers[name].blobs):
            assert blob is not None
            assert np.array_equal(blob.array, expected[f"w10_{name}_{index}"])
    assert stored.layers["relu"].blobs == ()


def test_what_is_written_has_the_groups_datasets_and_bytes_of_caffes_file(tmp_path: Path) -> None:
    binary, copy = parsed(TOOLS / "net.caffemodel", "NetParameter"), tmp_path / "w.caffemodel.h5"
    arrays = weights.read(str(TOOLS / "net.caffemodel"))
    hdf5.write(str(copy), [(message, arrays.get(message.name, [])) for message in binary.layer])
    assert layout(copy) == layout(NET)


def test_shared_blobs_are_left_out_of_data_and_not_of_diff(tmp_path: Path) -> None:
    path = str(tmp_path / "w.h5")
    one, two = np.ones((2, 2), np.float32), np.full((), 2, np.float32)
    hdf5.write(path, [(layer("a"), [one, two]), (layer("b"), [one, two])], [[two, one], [two, one]], shared={("b", 0)})
    found = layout(Path(path))
    assert sorted(name for name, value in found.items() if value != "group") == [
        "data/a/0",
        "data/a/1",
        "data/b/1",
        "diff/a/0",
        "diff/a/1",
        "diff/b/0",
        "diff/b/1",
    ]
    assert found["data/a/1"] == ("<f4", (), two.tobytes())
    assert found["diff/b/0"] == ("<f4", (), two.tobytes())
    gap, blob = hdf5.read(path).layers["b"].blobs
    assert gap is None
    assert blob is not None and blob.array.tolist() == 2


@pytest.mark.parametrize("name", ["inception/1x1", "", "."])
def test_a_name_that_caffe_cannot_write_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="HDF5 cannot hold a layer of this name") as raised:
        hdf5.write(str(tmp_path / "w.h5"), [(layer(name), [])])
    assert raised.value.hint is not None and "BINARYPROTO" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot hold two layers of one name"):
        hdf5.write(str(tmp_path / "w.h5"), [(layer("a"), []), (layer("a"), [])])


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(Proto2TorchError, match="no such file or directory"):
        hdf5.write(str(tmp_path / "no" / "w.h5"), [])


def broken(path: Path, fill: Callable[[Any], None]) -> str:
    with h5py.File(path, "w") as file:
        fill(file)
    return str(path)


def _data_file(file: Any) -> None:
    file["data"], file["label"] = np.zeros((4, 2)), np.zeros(4)


def _state(file: Any) -> None:
    file.create_group("history")


def _dataset_for_layer(file: Any) -> None:
    file["data/conv"] = np.zeros(3)


def _other_name(file: Any) -> None:
    file["data/conv/weight"] = np.zeros(3)


def _text(file: Any) -> None:
    file["data/conv/0"] = "weights"


def _group_for_blob(file: Any) -> None:
    file.create_group("data/conv/0")


def _external(file: Any) -> None:
    file.create_group("data/conv")["0"] = h5py.ExternalLink("/etc/other.h5", "/x")


def _outside(file: Any) -> None:
    group = file.create_group("data/conv")
    group.create_dataset("0", (10,), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def _bomb(file: Any) -> None:
    file.create_group("data/conv").create_dataset("0", (2**20, 2**20), "f4", chunks=(1, 1024))


@pytest.mark.parametrize(
    "fill, message",
    [
        (_data_file, "expected a group 'data' with a group for each layer"),
        (_state, "expected a group 'data'"),
        (_dataset_for_layer, "expected the group of layer 'conv'. Received: a dataset"),
        (_other_name, "expected datasets '0', '1', … in /data/conv. Received: 'weight'"),
        (_text, "dataset /data/conv/0 must hold numbers"),
        (_group_for_blob, "dataset /data/conv/0 is expected. Received: a group"),
        (_external, "dataset /data/conv/0 is expected. Received: a group or a link"),
        (_outside, "dataset /data/conv/0 keeps its values in another file"),
        (_bomb, "dataset /data/conv/0 claims shape (1048576, 1048576), and the file holds 0 bytes of it"),
    ],
)
def test_what_is_no_weight_file_is_refused(tmp_path: Path, fill: Callable[[Any], None], message: str) -> None:
    path = broken(tmp_path / "w.h5", fill)
    with pytest.raises(WeightsError) as raised:
        weights.read(path)
    assert message in raised.value.message
    assert raised.value.file == path


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = NET.read_bytes()
    path = tmp_path / "w.h5"
    for end in range(8, len(content) - 1, 501):
        path.write_bytes(content[:end])
        with pytest.raises(WeightsError):
            weights.read(str(path))


def test_integers_and_doubles_become_float32(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file["data/a/0"], file["data/a/1"] = np.arange(3), np.array([0.1, 1e300])

    arrays = weights.read(broken(tmp_path / "w.h5", fill))["a"]
    assert [a.dtype for a in arrays] == [np.float32] * 2
    assert arrays[0].tolist() == [0, 1, 2]
    assert arrays[1].tolist() == [np.float32(0.1), np.inf]


def test_a_full_disk_is_told_in_the_systems_words(tmp_path: Path) -> None:
    program = (
        "import signal, resource, sys, numpy\n"
        "from proto2torch import errors\n"
        "from proto2torch.weights import hdf5\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    hdf5.create(sys.argv[1], lambda file: file.create_dataset('x', data=numpy.zeros(100_000)))\n"
        "except errors.RunError as error:\n"
        "    print(error)\n"
    )
    path = str(tmp_path / "w.h5")
    run = subprocess.run([sys.executable, "-B", "-c", program, path], capture_output=True, text=True)
    assert run.stdout == f"{path}: cannot write it: file too large\n", run.stderr
    assert list(tmp_path.iterdir()) == []
