"""Caffe's checks where weights are copied into a net, or written from it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import proto2torch as p2t
from proto2torch.errors import WeightsError

from .rows import data, ip

NET = data("x", "2 3") + ip("l", outputs=2)
MODERN, LEGACY = "shape { dim: %d dim: %d }", "num: 1 channels: 1 height: %d width: %d"


def model(path: Path, *blobs: str) -> str:
    """A weight file of layer `l`, its blobs as text."""
    from google.protobuf import text_format

    from proto2torch.prototxt.schema import new

    text = 'layer { name: "l" type: "InnerProduct" ' + " ".join(f"blobs {{ {b} }}" for b in blobs) + " }"
    path.write_bytes(text_format.Parse(text, new("NetParameter")).SerializeToString())
    return str(path)


WEIGHT = MODERN % (2, 3) + " data: [1, 2, 3, 4, 5, 6]"
BIAS = "shape { dim: 2 } data: [1, 2]"


@pytest.mark.parametrize(
    "blobs, says",
    [
        ([WEIGHT], "1 blob in the file and 2 blobs in the net"),
        ([], "0 blobs in the file and 2 blobs in the net"),
        ([WEIGHT, BIAS, BIAS], "3 blobs in the file and 2 blobs in the net"),
        ([MODERN % (3, 2) + " data: [1, 2, 3, 4, 5, 6]", BIAS], "blob 0 has shape (3, 2) in the file and (2, 3)"),
        (["shape { dim: 1 dim: 1 dim: 2 dim: 3 } data: [1, 2, 3, 4, 5, 6]", BIAS], "(1, 1, 2, 3)"),
        (["num: 2 channels: 3 height: 1 width: 1 data: [1, 2, 3, 4, 5, 6]", BIAS], "(2, 3, 1, 1)"),
        ([MODERN % (2, 3) + " data: [1, 2]", BIAS], "needs 6 values"),
        ([MODERN % (2, 3) + " double_data: [1, 2]", BIAS], "needs 6 values"),
    ],
)
def test_caffemodels(tmp_path: Path, blobs: list[str], says: str) -> None:
    path = model(tmp_path / "w.caffemodel", *blobs)
    with pytest.raises(WeightsError) as caught:
        p2t.load(text=NET).load_weights(path)
    assert says in str(caught.value)
    assert "'l'" in str(caught.value) or " l " in str(caught.value)
    assert caught.value.file == path


def test_an_older_shape_with_ones_before_it_fits(tmp_path: Path) -> None:
    """Caffe's leniency, beside its refusals."""
    path = model(
        tmp_path / "w.caffemodel", LEGACY % (2, 3) + " data: [1, 2, 3, 4, 5, 6]", LEGACY % (1, 2) + " data: [7, 8]"
    )
    net = p2t.load(text=NET, weights=path)
    assert net.params["l"][0].data.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "blobs, says",
    [
        ({"0": (2, 3), "1": (2,), "2": (1,)}, "3 blobs in the file and 2 blobs in the net"),
        ({"0": (2, 3)}, "blob 1 is not in the file"),
        ({"0": (1, 1, 2, 3), "1": (2,)}, "(1, 1, 2, 3)"),
    ],
)
def test_hdf5(tmp_path: Path, blobs: dict[str, tuple[int, ...]], says: str) -> None:
    path = tmp_path / "w.caffemodel.h5"
    with h5py.File(path, "w") as file:
        for index, shape in blobs.items():
            file[f"data/l/{index}"] = np.zeros(shape, np.float32)
    with pytest.raises(WeightsError) as caught:
        p2t.load(text=NET).load_weights(str(path))
    assert says in str(caught.value)


def test_a_slash_in_a_name_cannot_be_written_to_hdf5(tmp_path: Path) -> None:
    net = p2t.load(text=data("x", "2 3") + ip("conv/1x1"))
    path = tmp_path / "w.caffemodel.h5"
    with pytest.raises(WeightsError, match="conv/1x1"):
        net.save(str(path))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(WeightsError):
        p2t.load(text=NET).load_weights(str(path))
