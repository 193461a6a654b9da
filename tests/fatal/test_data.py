"""Caffe's checks of data layers: their fields, and what they read."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import lmdb
import numpy as np
import pytest

import proto2torch as p2t
from proto2torch.prototxt.schema import message_class


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases, means, lists and images to get wrong."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    _lmdb(folder / "db", [_datum((3, 6, 8))] * 3)
    _lmdb(folder / "mixed", [_datum((3, 6, 8)), _datum((3, 6, 7))])
    deep = cv2.imencode(".png", rng.integers(0, 65536, (6, 8, 3)).astype(np.uint16))[1].tobytes()
    _lmdb(folder / "deep", [_encoded(deep)])
    _lmdb(folder / "broken", [_encoded(b"no image")])
    _lmdb(folder / "empty", [])
    _mean(folder / "mean.binaryproto", (3, 6, 8))
    _mean(folder / "other.binaryproto", (3, 6, 7))
    cv2.imwrite(str(folder / "a.png"), rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
    (folder / "a.txt").write_text("a.png 1\n")
    (folder / "missing.txt").write_text("b.png 1\n")
    (folder / "none.txt").write_text("")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((4, 3), np.float32), np.zeros(3, np.float32)
    (folder / "h5.txt").write_text("a.h5\n")
    (folder / "h5missing.txt").write_text("b.h5\n")
    window = "# {}\na.png\n3\n6\n8\n1\n{} {} 0 0 3 3\n"
    (folder / "windows.txt").write_text(window.format(0, 1, 0.9) + window.format(1, 0, 0.1))
    (folder / "index.txt").write_text(window.format(1, 1, 0.9))
    (folder / "label.txt").write_text(window.format(0, 0, 0.9))
    (folder / "foreground.txt").write_text(window.format(0, 1, 0.9))
    return folder


def _datum(shape: tuple[int, int, int]) -> bytes:
    channels, height, width = shape
    return _bytes("Datum", channels=channels, height=height, width=width, data=bytes(channels * height * width))


def _encoded(data: bytes) -> bytes:
    return _bytes("Datum", encoded=True, data=data)


def _bytes(message: str, **fields: object) -> bytes:
    return bytes(message_class(message)(**fields).SerializeToString())


def _lmdb(path: Path, values: list[bytes]) -> None:
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for i, value in enumerate(values):
            transaction.put(b"%08d" % i, value)


def _mean(path: Path, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    zeros = [0.0] * (channels * height * width)
    path.write_bytes(_bytes("BlobProto", num=1, channels=channels, height=height, width=width, data=zeros))


def db(source: str = "db", transform: str = "", more: str = "batch_size: 2 backend: LMDB") -> str:
    return f'type: "Data" top: "x" transform_param {{ {transform} }} data_param {{ source: "{source}" {more} }}'


def images(source: str = "a.txt", more: str = "batch_size: 1") -> str:
    return f'type: "ImageData" top: "x" top: "y" image_data_param {{ source: "{source}" {more} }}'


def hdf5(source: str = "h5.txt", tops: str = 'top: "x"', more: str = "batch_size: 2") -> str:
    return f'type: "HDF5Data" {tops} hdf5_data_param {{ source: "{source}" {more} }}'


def windows(source: str = "windows.txt", transform: str = "crop_size: 4") -> str:
    transform = f"transform_param {{ {transform} }}"
    return f'type: "WindowData" top: "x" top: "y" {transform} window_data_param {{ source: "{source}" batch_size: 2 }}'


def memory(fields: str) -> str:
    return f'type: "MemoryData" top: "x" top: "y" memory_data_param {{ {fields} }}'


def dummy(fields: str, tops: str = 'top: "x" top: "y"') -> str:
    return f'type: "DummyData" {tops} dummy_data_param {{ {fields} }}'


DIMS = "num: 1 channels: 1 height: 1 width: 1"


# fmt: off
ROWS = [
    ("a database that is missing", "'nowhere'", db("nowhere")),
    ("a database of the other kind", "backend: LMDB", db(more="batch_size: 2")),
    ("a database without records", "empty", db("empty")),
    ("no batch_size", "batch_size", db(more="backend: LMDB")),
    ("images of two shapes", "Expected: (3, 6, 8). Received: (3, 6, 7)", db("mixed")),
    ("an image of 16 bits", "16", db("deep")),
    ("an image that cannot be decoded", "cannot be decoded", db("broken")),
    ("force_color and force_gray", "force_color and force_gray", db(transform="force_color: true force_gray: true")),
    ("a crop larger than the image", "crop_size must not exceed the image, 6 x 8", db(transform="crop_size: 7")),
    ("a mean of another shape", "(3, 6, 7)", db(transform='mean_file: "other.binaryproto"')),
    ("a mean that is missing", "nomean", db(transform='mean_file: "nomean"')),
    ("two mean_values for three channels", "Received: 2", db(transform="mean_value: 1 mean_value: 2")),
    ("mean_file and mean_value", "exclude each other", db(transform='mean_file: "mean.binaryproto" mean_value: 1')),
    ("a list that is missing", "nolist.txt", images("nolist.txt")),
    ("an image that is missing", "b.png", images("missing.txt")),
    ("a list of no images", "none.txt", images("none.txt")),
    ("new_height alone", "new_width", images(more="batch_size: 1 new_height: 4")),
    ("a list of HDF5 files that is missing", "nolist.txt", hdf5("nolist.txt")),
    ("an HDF5 file that is missing", "b.h5", hdf5("h5missing.txt")),
    ("a dataset that is missing", "'z'", hdf5(tops='top: "z"')),
    ("datasets of two lengths", "3", hdf5(tops='top: "x" top: "y"')),
    ("transform_param of HDF5Data", "transform_param", hdf5() + " transform_param { scale: 2 }"),
    ("no channels of MemoryData", "channels", memory("batch_size: 1 height: 1 width: 1")),
    ("shape and num", "not both", dummy("shape { dim: 1 } " + DIMS)),
    ("two shapes for three tops", "shape", dummy("shape { dim: 1 } shape { dim: 1 }", 'top: "x" top: "y" top: "z"')),
    ("two fillers for three tops", "data_filler", dummy("shape { dim: 1 } data_filler { } data_filler { }", 'top: "x" top: "y" top: "z"')),
    ("two heights for three tops", "height", dummy(DIMS + " height: 2", 'top: "x" top: "y" top: "z"')),
    ("no crop_size of WindowData", "crop_size", windows(transform="")),
    ("foreground of label 0", "label", windows("label.txt")),
    ("no background", "background", windows("foreground.txt")),
    ("a top too many", "top", db() + ' top: "y" top: "z"'),
    ("a bottom", "bottom", db() + ' bottom: "w"'),
]
# fmt: on


@pytest.mark.parametrize("what, says, text", ROWS, ids=[what for what, *_ in ROWS])
def test_data(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, says: str, text: str) -> None:
    monkeypatch.chdir(folder)
    (folder / "net.prototxt").write_text('name: "n"\n' + f'layer {{ name: "l" {text} }}')
    with pytest.raises(p2t.Proto2TorchError) as caught:
        p2t.load("net.prototxt", phase="TRAIN")()
    assert says in str(caught.value)
    assert caught.value.layer == "l"
    assert (caught.value.file, caught.value.line) == ("net.prototxt", 2)
    assert caught.value.exit_status == 2


def test_arrays_that_are_no_multiple_of_the_batch(folder: Path) -> None:
    net = p2t.load(text=f'layer {{ name: "l" {memory("batch_size: 2 channels: 1 height: 1 width: 1")} }}')
    with pytest.raises(p2t.Proto2TorchError, match="multiple"):
        net.feeds["l"].set(np.zeros((3, 1, 1, 1), np.float32), np.zeros(3, np.float32))  # type: ignore[attr-defined]


def test_windows_whose_images_are_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(p2t.Proto2TorchError, match=r"expected the number of the image, 0\. Received: '1'") as caught:
        p2t.load(text=f'layer {{ name: "l" {windows("index.txt")} }}')
    assert (caught.value.file, caught.value.line) == ("index.txt", 1)
