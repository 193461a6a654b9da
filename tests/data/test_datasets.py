from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from proto2torch import data
from proto2torch.data.datasets import Database
from proto2torch.data.datum import parse, write_encoded
from proto2torch.errors import DataError

from .records import GOLDEN, datum, pictures, write_lmdb

TOOLS = GOLDEN / "tools"
RAW = {"lmdb_raw": data.LMDB, "leveldb_raw": data.LevelDB}


def expected() -> tuple[np.ndarray, list[int]]:
    """The images of the list as OpenCV reads them, and their labels."""
    lines = (TOOLS / "list.txt").read_text().split()
    return (
        np.stack([cv2.imread(str(TOOLS / "images" / name)).transpose(2, 0, 1) for name in lines[::2]]),
        [int(label) for label in lines[1::2]],
    )


@pytest.mark.parametrize("name", RAW)
def test_databases_of_caffe(name: str) -> None:
    images, labels = expected()
    found = RAW[name](TOOLS / name)
    assert len(found) == 12
    assert [found[i][1] for i in range(12)] == labels == [found[i - 12][1] for i in range(12)]
    assert np.array_equal(np.stack([found[i][0] for i in range(12)]), images)
    assert np.array_equal(RAW[name](TOOLS / name, rgb=True)[5][0], images[5, ::-1])
    assert found.keys[3] == b"00000003_im03.png"
    with pytest.raises(IndexError):
        found[12]


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_and_torchvision_transforms(name: str, start: str) -> None:
    images, labels = expected()
    found = RAW[name](TOOLS / name, transform=v2.Compose([v2.CenterCrop(32), v2.ToDtype(torch.float32)]))
    loader: DataLoader[object] = DataLoader(found, batch_size=5, num_workers=2, multiprocessing_context=start)
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [5, 5, 2]
    assert torch.equal(torch.cat([label for _, label in batches]), torch.tensor(labels))
    assert np.array_equal(torch.cat([image for image, _ in batches]), images[:, :, 4:36, 8:40].astype(np.float32))


def test_a_pickled_database_carries_no_records() -> None:
    found = data.LMDB(TOOLS / "lmdb_raw")
    pickled = pickle.dumps(found)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    assert len(again) == 12 and torch.equal(again[7][0], found[7][0])


def test_encoded_and_grey() -> None:
    found = data.LMDB(TOOLS / "lmdb_encoded", how="grey")
    records = found._records
    for index in (0, 1, 11):
        value = records.get(found.keys[index])
        assert value is not None
        pixels = cv2.imdecode(np.frombuffer(parse(value).data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(found[index][0][0], pixels)


def test_float_data(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 1, 4)).astype(np.float32)
    found = data.LMDB(write_lmdb(tmp_path / "db", [datum(value) for value in values]))
    assert torch.equal(found[1][0], torch.from_numpy(values[1]))


def test_alpha_stays_the_last(tmp_path: Path) -> None:
    pixels = pictures(1, (4, 6, 5))[0]
    encoded = cv2.imencode(".png", pixels.transpose(1, 2, 0))[1].tobytes()
    write_lmdb(tmp_path / "db", [write_encoded(encoded, 0)])
    assert np.array_equal(data.LMDB(tmp_path / "db", rgb=True)[0][0], pixels[[2, 1, 0, 3]])


@pytest.mark.parametrize("name", RAW)
def test_a_closed_database(name: str) -> None:
    found = RAW[name](TOOLS / name)
    found.close()
    with pytest.raises(DataError, match=f"{name}: the database is closed"):
        found[0]


def test_a_file_without_data_sets(tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.h5", "w").close()
    with pytest.raises(DataError, match=r"a\.h5: expected the name of a data set"):
        data.HDF5(tmp_path / "a.h5")


def test_the_tensor_is_its_own(tmp_path: Path) -> None:
    found = data.LMDB(write_lmdb(tmp_path / "db", [datum(pictures(1)[0])]))
    found[0][0].zero_()
    assert np.array_equal(found[0][0], pictures(1)[0])


def test_a_record_that_is_no_datum_is_named(tmp_path: Path) -> None:
    found = data.LMDB(write_lmdb(tmp_path / "db", [datum(pictures(1)[0]), b"garbage"]))
    with pytest.raises(DataError, match=r"db: the record b'00000001' is not a Datum: byte 0"):
        found[1]


@pytest.mark.parametrize(("kind", "name"), [(data.LMDB, "leveldb_raw"), (data.LevelDB, "lmdb_raw")])
def test_one_kind_is_not_the_other(kind: type[Database], name: str) -> None:
    with pytest.raises(DataError, match=r"expected an? L"):
        kind(TOOLS / name)


def test_an_image_list() -> None:
    images, labels = expected()
    found = data.ImageList(TOOLS / "list.txt", root=f"{TOOLS}/images/")
    assert np.array_equal(np.stack([image for image, _ in found]), images)
    assert [label for _, label in found] == labels
    small, _ = data.ImageList(TOOLS / "list.txt", root=f"{TOOLS}/images/", size=(9, 11), rgb=True)[2]
    assert np.array_equal(small, cv2.resize(images[2].transpose(1, 2, 0), (11, 9)).transpose(2, 0, 1)[::-1])
    with pytest.raises(DataError, match=r"list.txt:1: cannot read the image 'nowhere/im00.jpg'"):
        data.ImageList(TOOLS / "list.txt", root="nowhere/")[0]


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["data"], file["label"] = np.arange(12).reshape(6, 2), np.arange(6.0)
    return folder / "a.h5"


def test_hdf5_rows_also_in_workers(tmp_path: Path) -> None:
    found = data.HDF5(hdf5(tmp_path))
    assert len(found) == 6 and found[-1]["data"].tolist() == [10, 11]
    loader: DataLoader[dict[str, torch.Tensor]] = DataLoader(found, batch_size=4, num_workers=2)
    first, second = loader
    assert first["label"].tolist() == [0, 1, 2, 3] and second["data"].tolist() == [[8, 9], [10, 11]]
    with pytest.raises(IndexError):
        found[6]


def test_a_loader_feeds_a_net_over_and_over(tmp_path: Path) -> None:
    loader = DataLoader(data.HDF5(hdf5(tmp_path)), batch_size=3)
    feed = data.from_iterable(loader)
    assert feed.shapes == [(3, 2), (3,)]
    assert [feed.next()[1].tolist() for _ in range(3)] == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]
    state = feed.state()
    expected = feed.next()[1].tolist()
    feed.load_state(state)
    assert feed.next()[1].tolist() == expected == [3, 4, 5]


def test_tuples_in_the_order_of_the_tops() -> None:
    feed = data.from_iterable([(np.ones((2, 3)), [0, 1])], tops=("a", "b"))
    a, b = feed.next()
    assert a.dtype == b.dtype == torch.float32 and b.tolist() == [0, 1]


def test_iterables_that_cannot_feed() -> None:
    with pytest.raises(DataError, match=r"a batch must have data, label. Received: data, target"):
        data.from_iterable([{"data": 1, "target": 2}])
    with pytest.raises(DataError, match=r"a batch must have 2 parts, one a top. Received: 3"):
        data.from_iterable([(1, 2, 3)])
    with pytest.raises(DataError, match="gives no batch"):
        data.from_iterable([])
    once = data.from_iterable(([i], [i]) for i in range(2))
    once.next(), once.next()
    with pytest.raises(DataError, match="gives no batch") as caught:
        once.next()
    assert caught.value.hint is not None and "give a list" in caught.value.hint
