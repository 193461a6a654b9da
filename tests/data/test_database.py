from __future__ import annotations

from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import torch

from proto2torch import data
from proto2torch.errors import DataError, Proto2TorchError, UnsupportedError
from proto2torch.prototxt.read import read_net
from proto2torch.prototxt.schema import new

from .records import GOLDEN, data_layer, datum, pictures, write_lmdb

TOOLS = GOLDEN / "tools"
UNCOVERED = {}
"""Cases of layers and backends that are refused, and how; a case leaves this table when it is no longer refused."""


@pytest.mark.parametrize("path", sorted(TOOLS.glob("data_*.prototxt")), ids=lambda path: path.stem)
def test_batches_are_those_of_caffe(path: Path) -> None:
    definition = read_net(str(path)).layers[0]
    if path.stem in UNCOVERED:
        with pytest.raises(UnsupportedError, match=UNCOVERED[path.stem]):
            data.open(definition, "TEST")
        return
    feed = data.open(definition, "TEST")
    with np.load(path.with_suffix(".npz")) as stored:
        expected = dict(stored)
    for batch in range(2):
        images, labels = feed.next()
        assert images.dtype == labels.dtype == torch.float32
        assert [tuple(images.shape), tuple(labels.shape)] == feed.shapes
        assert np.array_equal(images.numpy(), expected[f"data{batch}"])
        assert np.array_equal(labels.numpy(), expected[f"label{batch}"].ravel())
    feed.close()


def numbers(folder: Path, count: int) -> None:
    """A database of 1x1 images, each holding its own number, with a label a hundred higher."""
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    write_lmdb(folder / "db", [datum(image, 100 + i) for i, image in enumerate(images)])


def test_batches_run_across_the_end(tmp_path: Path) -> None:
    numbers(tmp_path, 5)
    feed = data.open(data_layer(tmp_path, batch=3), "TRAIN")
    got = [feed.next() for _ in range(4)]
    assert [images.flatten().tolist() for images, _ in got] == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]
    assert got[1][1].tolist() == [103, 104, 100]
    feed.close()


def test_a_batch_larger_than_the_database(tmp_path: Path) -> None:
    numbers(tmp_path, 2)
    feed = data.open(data_layer(tmp_path, batch=5), "TRAIN")
    assert feed.next()[0].flatten().tolist() == [0, 1, 0, 1, 0]
    feed.close()


def test_one_top_has_no_labels(tmp_path: Path) -> None:
    numbers(tmp_path, 2)
    feed = data.open(data_layer(tmp_path, tops=("data",)), "TEST")
    assert feed.shapes == [(4, 1, 1, 1)]
    assert len(feed.next()) == 1
    feed.close()


def test_float_data(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((3, 2, 1, 4)).astype(np.float32)
    write_lmdb(tmp_path / "db", [datum(value) for value in values])
    feed = data.open(data_layer(tmp_path, batch=3), "TEST")
    assert np.array_equal(feed.next()[0].numpy(), values)
    feed.close()


def test_train_and_test_feeds_of_one_database(tmp_path: Path) -> None:
    numbers(tmp_path, 9)
    train = data.open(data_layer(tmp_path, batch=2), "TRAIN")
    test = data.open(data_layer(tmp_path, batch=3), "TEST")
    train.next()
    assert test.next()[0].flatten().tolist() == [0, 1, 2]
    assert train.next()[0].flatten().tolist() == [2, 3]
    train.close()
    assert test.next()[0].flatten().tolist() == [3, 4, 5]
    test.close()


def test_the_phase_of_the_layer_goes_before_that_of_the_net(tmp_path: Path) -> None:
    images = pictures(1, (1, 9, 9))
    write_lmdb(tmp_path / "db", [datum(images[0])])
    definition = data_layer(tmp_path, batch=1, transform="crop_size: 3")
    definition.message.phase = 1
    feed = data.open(definition, "TRAIN", seed=0)
    assert np.array_equal(feed.next()[0].numpy(), images[:, :, 3:6, 3:6])
    feed.close()


def test_batches_may_differ_in_shape_and_their_images_may_not(tmp_path: Path) -> None:
    shapes = [(1, 2, 2), (1, 2, 3), (1, 2, 3)]
    write_lmdb(tmp_path / "db", [datum(pictures(1, shape)[0]) for shape in shapes])
    one = data.open(data_layer(tmp_path, batch=1), "TEST")
    assert [tuple(one.next()[0].shape[1:]) for _ in shapes] == shapes
    one.close()
    two = data.open(data_layer(tmp_path, batch=2), "TEST")
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            two.next()
    assert caught.value.message == (
        "all images of a batch must have one shape, but the record '00000001' of 'db' differs."
        " Expected: (1, 2, 2). Received: (1, 2, 3)"
    )
    assert caught.value.layer == "digits"
    two.close()


def test_a_value_that_is_no_datum(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [datum(pictures(1)[0]), b"garbage"], [b"good", b"na\xefve"])
    feed = data.open(data_layer(tmp_path, batch=1), "TEST")
    feed.next()
    with pytest.raises(DataError, match=r"the record 'na\\\\xefve' of 'db' is not a Datum: byte 0: ") as caught:
        feed.next()
    assert (caught.value.layer, caught.value.line) == ("digits", 4)
    feed.close()


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"param": 'source: "db" backend: LMDB'}, DataError, "batch_size must be at least 1. Received: none"),
        (
            {"param": 'source: "db" batch_size: 0 backend: LMDB'},
            DataError,
            "batch_size must be at least 1. Received: 0",
        ),
        ({"param": "batch_size: 3 backend: LMDB"}, DataError, "source, the folder of the database, is missing"),
        ({"param": 'source: "db" batch_size: 1 backend: LMDB prefetch: 0'}, DataError, "prefetch must be at least 1"),
        ({"param": 'source: "db" batch_size: 1'}, DataError, "expected a LevelDB. Received: .*, an LMDB"),
        (
            {"param": 'source: "other" batch_size: 1 backend: LEVELDB'},
            DataError,
            "no database is there. Received: 'other'",
        ),
        ({"source": "nowhere"}, DataError, "no database is there. Received: 'nowhere'"),
        ({"transform": "crop_size: 8"}, DataError, "crop_size must not exceed the image, 7 x 9. Received: 8"),
        ({"transform": "scale: 2 crop_h: 8"}, UnsupportedError, "transform_param.crop_h, a field of a fork"),
        (
            {"param": 'source: "db" batch_size: 1 backend: LMDB shuffle: true'},
            UnsupportedError,
            "data_param.shuffle, a",
        ),
        ({"tops": ("a", "b", "c")}, DataError, "expected 1 to 2 tops. Received: 3"),
        ({"tops": ()}, DataError, "expected 1 to 2 tops. Received: 0"),
    ],
)
def test_refused(tmp_path: Path, more: dict[str, str], error: type[Proto2TorchError], message: str) -> None:
    write_lmdb(tmp_path / "db", [datum(pictures(1)[0])])
    with pytest.raises(error, match=message) as caught:
        data.open(data_layer(tmp_path, **more), "TEST")
    assert caught.value.exit_status == 2
    assert caught.value.layer == "digits"
    assert caught.value.file == str(tmp_path / "net.prototxt")
    assert caught.value.line is not None


def test_an_encoded_image_that_is_damaged(tmp_path: Path) -> None:
    record = b"\x22\x04\xff\xd8\xff\xe0\x28\x01\x38\x01"
    write_lmdb(tmp_path / "db", [record])
    with pytest.raises(DataError, match="the record '00000000' of 'db' has an image that cannot be decoded"):
        data.open(data_layer(tmp_path), "TEST")


def test_encoded_images_as_grey_ones(tmp_path: Path) -> None:
    folder = str(TOOLS / "lmdb_encoded")
    with lmdb.open(folder, readonly=True, lock=False) as environment, environment.begin() as transaction:
        data_of = [new("Datum").FromString(value).data for value in transaction.cursor().iternext(keys=False)]
    feed = data.open(data_layer(tmp_path, source=folder, transform="force_gray: true", batch=1), "TEST")
    for encoded in data_of:
        expected = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(feed.next()[0][0, 0].numpy(), expected)
    feed.close()


def test_colour_and_grey_at_once(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [datum(pictures(1)[0])])
    with pytest.raises(DataError, match="force_color and force_gray exclude each other"):
        data.open(data_layer(tmp_path, transform="force_color: true force_gray: true"), "TEST")
