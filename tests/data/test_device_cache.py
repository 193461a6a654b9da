"""Images that stay on the device: the numbers are those of the host, epoch after epoch, and are read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from proto2torch.data import database, device_cache
from proto2torch.data.database import DatabaseSource
from proto2torch.data.device_cache import Arriving, DeviceCache
from proto2torch.data.on_device import Gathered, Pending, Stored
from proto2torch.errors import DataError

from .leveldbs import write as write_leveldb
from .records import data_layer, datum, pictures, write_lmdb
from .test_on_device import CPU, INTERPRETED, TRANSFORMS, launches, written  # noqa: F401


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU as a device with memory of its own: room for four times the ten pictures, and no byte more."""
    monkeypatch.setattr(device_cache, "free", lambda device: 4 * 10 * 3 * 7 * 9)
    monkeypatch.setattr(database, "settled", lambda *when: True)


def batch(source: DatabaseSource, first: int) -> tuple[torch.Tensor, ...]:
    return source.finish(source.gather(first, CPU), CPU)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_numbers_are_those_of_the_host(
    tmp_path: Path,
    transform: str,
    phase: str,
    launches: list[tuple[int, ...]],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batches of four out of ten, of which the third spans the end; nothing is read after the first epoch."""
    written(tmp_path)
    definition = data_layer(tmp_path, batch=4, transform=transform)
    host, device = (DatabaseSource(definition, phase, 5) for _ in range(2))
    for first in range(0, 24, 4):
        if first == 12:
            monkeypatch.setattr(device._records, "take", None)
        gathered = device.gather(first, CPU)
        assert isinstance(gathered, Pending if first >= 12 else Arriving)
        assert all(map(torch.equal, device.finish(gathered, CPU), host.batch(first)))
    assert len(launches) == (6 if INTERPRETED else 0)
    host.close()


def test_it_goes_on_in_the_middle_and_from_another_seed(tmp_path: Path) -> None:
    written(tmp_path)
    definition = data_layer(tmp_path, batch=4, transform="crop_size: 5 mirror: true")
    host, device = (DatabaseSource(definition, "TRAIN", 5) for _ in range(2))
    for first, seed in ((8, 5), (4, 5), (12, 7), (20, 7), (0, 5)):
        host.reseed(seed)
        device.reseed(seed)
        assert all(map(torch.equal, batch(device, first), host.batch(first)))
    host.close()
    device.close()


def test_what_was_gathered_and_dropped_has_not_come(tmp_path: Path) -> None:
    """As a feed drops what its thread has made ahead, where it is set back."""
    written(tmp_path)
    host, device = (DatabaseSource(data_layer(tmp_path, batch=10), "TRAIN", 5) for _ in range(2))
    device.gather(0, CPU)
    assert isinstance(device.gather(0, CPU), Arriving)
    assert all(map(torch.equal, batch(device, 0), host.batch(0)))
    assert isinstance(device.gather(10, CPU), Pending)
    host.close()
    device.close()


def test_a_batch_larger_than_the_database_and_without_labels(tmp_path: Path) -> None:
    written(tmp_path)
    definition = data_layer(tmp_path, batch=23, tops=("data",), transform="mirror: true")
    host, device = (DatabaseSource(definition, "TRAIN", 5) for _ in range(2))
    for first in (0, 23):
        (ours,), (theirs,) = batch(device, first), host.batch(first)
        assert torch.equal(ours, theirs)
    host.close()
    device.close()


def test_no_copy_of_the_batch_but_the_one_to_the_device(tmp_path: Path) -> None:
    """In the first epoch images move into the memory that they stay in; later ones are but named."""
    written(tmp_path)
    source = DatabaseSource(data_layer(tmp_path, batch=5), "TEST", 5)
    for first in (0, 5):
        batch(source, first)
    gathered = source.gather(10, CPU)
    assert isinstance(gathered, Pending) and isinstance(gathered.images, Stored)
    assert gathered.images.pixels.data_ptr() == source.gather(15, CPU).images.pixels.data_ptr()
    assert np.array_equal(gathered.images.pixels.numpy(), pictures(10))
    source.close()


@pytest.mark.parametrize("odd", [pictures(1, (3, 9, 9))[0], np.ones((3, 7, 9), np.float32)])
def test_a_record_of_another_kind_ends_it(tmp_path: Path, odd: np.ndarray) -> None:
    images = [*pictures(8), odd, pictures(1)[0]]
    write_lmdb(tmp_path / "db", [datum(image, n) for n, image in enumerate(images)])
    definition = data_layer(tmp_path, batch=1, transform="crop_size: 5 mirror: true scale: 0.5")
    host, device = (DatabaseSource(definition, "TRAIN", 5) for _ in range(2))
    for first in range(20):
        assert all(map(torch.equal, batch(device, first), host.batch(first)))
    assert device._cache is None
    host.close()
    device.close()


def test_an_error_names_its_record_as_ever(tmp_path: Path) -> None:
    images = [*pictures(4), *pictures(4, (3, 9, 9))]
    write_lmdb(tmp_path / "db", [datum(image) for image in images])
    source = DatabaseSource(data_layer(tmp_path, batch=3), "TRAIN", 5)
    batch(source, 0)
    with pytest.raises(DataError, match="the record '00000004' of"):
        source.gather(3, CPU)
    source.close()


def test_what_does_not_fit_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    monkeypatch.setattr(device_cache, "free", lambda device: 4 * 10 * 3 * 7 * 9 - 1)
    source = DatabaseSource(data_layer(tmp_path), "TRAIN", 5)
    assert isinstance(source.gather(0, CPU), Pending) and source._cache is None
    source.close()


def test_a_leveldb_which_would_have_to_be_counted_does_not_stay(tmp_path: Path) -> None:
    write_leveldb(tmp_path / "db", [(b"%08d" % n, datum(image)) for n, image in enumerate(pictures(10))])
    param = 'source: "db" batch_size: 4 backend: LEVELDB'
    source = DatabaseSource(data_layer(tmp_path, param=param), "TRAIN", 5)
    assert isinstance(source.gather(0, CPU), Pending) and source._cache is None
    source.close()


def test_the_cpu_has_no_memory_of_its_own_and_cuda_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert device_cache.free(CPU) == 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400, 1000))
    assert device_cache.fits(4, (1, 5, 5), torch.device("cuda"))
    assert not device_cache.fits(4, (1, 5, 6), torch.device("cuda"))


@pytest.mark.parametrize(("phase", "before"), [("TRAIN", 16), ("TEST", 3)])
def test_it_begins_when_a_training_has_taken_its_memory(
    phase: str, before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is after some batches, of a test after a pass; what has passed by comes with the next epoch."""
    monkeypatch.setattr(database, "settled", device_cache.settled)
    written(tmp_path)
    definition = data_layer(tmp_path, batch=4, transform="crop_size: 5 mirror: true")
    host, device = (DatabaseSource(definition, phase, 5) for _ in range(2))
    made = []
    for first in range(0, 4 * (before + 5), 4):
        gathered = device.gather(first, CPU)
        made.append(type(gathered.images) if isinstance(gathered, Pending) else Arriving)
        assert all(map(torch.equal, device.finish(gathered, CPU), host.batch(first)))
    assert made == [Gathered] * before + [Arriving] * 3 + [Stored] * 2
    host.close()
    device.close()


def test_images_are_kept_in_as_few_copies_as_there_are_stretches() -> None:
    cache = DeviceCache(4, (1, 1, 1), (1, 1), True, CPU)
    places = cache.places(3, 6)
    assert places == [3, 0, 1, 2, 3, 0]
    images = torch.tensor([3, 0, 1, 2, 3, 0], dtype=torch.uint8).view(-1, 1, 1, 1)
    assert not cache.has(places)
    cache.keep(places, images, images.flatten().float())
    assert cache.has(range(4))
    kept = cache.batch([0, 1, 2, 3], [])
    assert kept.images.pixels.flatten().tolist() == [0, 1, 2, 3]
    assert kept.labels.tolist() == [0, 1, 2, 3]
