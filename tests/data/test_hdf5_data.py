from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from proto2torch import data
from proto2torch.errors import DataError
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.prototxt.read import read_net

from .records import GOLDEN, layer


def write(folder: Path, **files: dict[str, Any]) -> None:
    """HDF5 files of these data sets, and the list that names them."""
    for name, datasets in files.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for key, values in datasets.items():
                file[key] = values
    (folder / "list.txt").write_text(" ".join(f"{folder}/{name}.h5\n" for name in files))


def rows(first: int, end: int) -> dict[str, np.ndarray]:
    """A data set `x` of rows (2, 3) that hold their own numbers, and `y` of the numbers as integers."""
    numbers = np.arange(first, end)
    return {"x": np.broadcast_to(numbers[:, None, None], (end - first, 2, 3)).astype(np.float64), "y": numbers}


def hdf5_layer(
    folder: Path, batch: str = "batch_size: 3", more: str = "", tops: str = 'top: "x" top: "y"'
) -> LayerDefinition:
    fields = f'source: "list.txt" {batch}'
    return layer(folder, f'layer {{ name: "rows" type: "HDF5Data" {tops}\nhdf5_data_param {{ {fields} {more} }} }}')


def labels(feed: data.Feed, batches: int) -> list[int]:
    return [int(label) for _ in range(batches) for label in feed.next()[1]]


def test_a_file_that_caffe_trained_on() -> None:
    folder = GOLDEN / "solvers" / "00-SGD-fixed"
    feed = data.open(read_net(str(folder / "train.prototxt")).layers[0], "TRAIN")
    with h5py.File(folder / "train.h5") as file:
        expected = [file[top][()] for top in ("data", "label")]
    count = len(expected[0])
    assert feed.shapes == [(8, *values.shape[1:]) for values in expected]
    for step in range(2 * count // 8 + 1):
        numbers = np.arange(step * 8, step * 8 + 8) % count
        for tensor, values in zip(feed.next(), expected, strict=True):
            assert tensor.dtype == torch.float32
            assert np.array_equal(tensor.numpy(), values[numbers].astype(np.float32))


def test_batches_run_across_files_and_the_end(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 4), b=rows(4, 5), c=rows(5, 7))
    feed = data.open(hdf5_layer(tmp_path), "TRAIN")
    assert feed.shapes == [(3, 2, 3), (3,)]
    images, numbers = feed.next()
    assert images.dtype == numbers.dtype == torch.float32
    assert images.tolist() == [[[n] * 3] * 2 for n in range(3)]
    assert labels(feed, 6) == [n % 7 for n in range(3, 21)]


def test_a_batch_larger_than_all_files(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 2))
    assert labels(data.open(hdf5_layer(tmp_path, "batch_size: 5"), "TEST"), 1) == [0, 1, 0, 1, 0]


def test_shuffled_rows_stay_in_their_files_and_files_in_their_pass(tmp_path: Path) -> None:
    parts = [range(0, 5), range(5, 9), range(9, 12)]
    write(tmp_path, **{f"f{i}": rows(part.start, part.stop) for i, part in enumerate(parts)})
    feed = data.open(hdf5_layer(tmp_path, more="shuffle: true"), "TRAIN", seed=1)
    passes = [labels(feed, 4) for _ in range(6)]
    orders = set()
    for one in passes:
        assert sorted(one) == list(range(12))
        owner = [next(i for i, part in enumerate(parts) if n in part) for n in one]
        assert sum(a != b for a, b in pairwise(owner)) == 2
        orders.add(tuple(dict.fromkeys(owner)))
    assert len(set(map(tuple, passes))) == 6
    assert len(orders) > 1


def test_a_shuffle_goes_on_from_its_state(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 5), b=rows(5, 9))
    definition = hdf5_layer(tmp_path, more="shuffle: true")
    one, two = data.open(definition, "TRAIN", seed=3), data.open(definition, "TRAIN", seed=3)
    assert labels(one, 5) == labels(two, 5)
    state = one.state()
    expected = labels(one, 7)
    other = data.open(definition, "TRAIN", seed=4)
    assert labels(other, 12)[15:] != expected
    other.load_state(state)
    assert labels(other, 7) == expected


def refused(definition: LayerDefinition, message: str) -> DataError:
    with pytest.raises(DataError, match=message) as caught:
        data.open(definition, "TRAIN")
    assert caught.value.layer == "rows" and caught.value.line is not None and caught.value.exit_status == 2
    return caught.value


def test_the_list_is_missing(tmp_path: Path) -> None:
    refused(hdf5_layer(tmp_path), "cannot read 'list.txt': no such file or directory")


def test_the_list_is_empty(tmp_path: Path) -> None:
    write(tmp_path)
    refused(hdf5_layer(tmp_path), "list.txt' lists no file")


def test_the_list_is_an_hdf5_file(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 2))
    (tmp_path / "a.h5").rename(tmp_path / "list.txt")
    assert refused(hdf5_layer(tmp_path), "a text file that lists HDF5 files").hint is not None


def test_a_file_of_the_list_is_missing(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("nowhere.h5")
    refused(hdf5_layer(tmp_path), "the HDF5 file 'nowhere.h5' does not exist")


def test_a_file_of_the_list_is_no_hdf5(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 2))
    (tmp_path / "a.h5").write_text("text")
    refused(hdf5_layer(tmp_path), "cannot read the HDF5 file '.*a.h5'")


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"x": np.zeros((2, 1))}, "has no data set 'y'; it holds x"),
        (
            {"x": np.zeros((2, 1)), "y": np.zeros(3)},
            r"same number of rows, at least 1. Received: shapes \(2, 1\) and \(3,\)",
        ),
        ({"x": np.zeros((0, 1)), "y": np.zeros(0)}, "same number of rows, at least 1"),
        ({"x": np.zeros((2, 1)), "y": np.array([b"a", b"b"])}, "'y' of .* must hold rows of numbers. Received: "),
        ({"x": np.zeros((2, 1)), "y": 3.0}, r"must hold rows of numbers. Received: float64, shape \(\)"),
    ],
)
def test_data_sets_that_do_not_fit(tmp_path: Path, datasets: dict[str, Any], message: str) -> None:
    write(tmp_path, a=datasets)
    refused(hdf5_layer(tmp_path), message)


def test_files_whose_rows_differ(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 2), b={"x": np.zeros((2, 3)), "y": np.zeros(2)})
    refused(hdf5_layer(tmp_path), r"Expected: \(2, 3\) and \(\), as in '.*a.h5'. Received: \(3,\) and \(\) in '.*b.h5'")


def test_fields_that_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a=rows(0, 2))
    refused(hdf5_layer(tmp_path, "batch_size: 0"), "batch_size must be at least 1. Received: 0")
    refused(hdf5_layer(tmp_path, ""), "batch_size must be at least 1. Received: none")
    refused(hdf5_layer(tmp_path, tops=""), "expected 1 or more tops. Received: 0")
    transformed = hdf5_layer(tmp_path, tops='top: "x" transform_param { scale: 2 }')
    refused(transformed, "HDF5Data does not transform")
