"""No HDF5 file may make us read another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from proto2torch.data import hdf5_file
from proto2torch.errors import DataError, Where


def external_link(file: Any, other: str) -> None:
    file["data"] = h5py.ExternalLink(other, "/data")


def external_storage(file: Any, other: str) -> None:
    file.create_dataset("data", (4, 2), "f4", external=[(other, 0, 32)])


def virtual(file: Any, other: str) -> None:
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource(other, "data", (4, 2))
    file.create_virtual_dataset("data", layout)


def soft_link_to_an_external_one(file: Any, other: str) -> None:
    file["away"] = h5py.ExternalLink(other, "/data")
    file["data"] = h5py.SoftLink("/away")


def soft_link_beside_an_external_one(file: Any, other: str) -> None:
    file["group/away"] = h5py.ExternalLink(other, "/data")
    file["group/near"] = h5py.SoftLink("away")
    file["data"] = h5py.SoftLink("/group/near")


def soft_link_with_dots(file: Any, other: str) -> None:
    file["away"] = h5py.ExternalLink(other, "/")
    file["data"] = h5py.SoftLink("./away//./data")


@pytest.mark.parametrize(
    "make",
    [
        external_link,
        external_storage,
        virtual,
        soft_link_to_an_external_one,
        soft_link_beside_an_external_one,
        soft_link_with_dots,
    ],
)
def test_files_that_point_outside_themselves(tmp_path: Path, make: Callable[[Any, str], None]) -> None:
    other, path = str(tmp_path / "other.h5"), str(tmp_path / "a.h5")
    with h5py.File(other, "w") as file:
        file["data"] = np.ones((4, 2), np.float32)
    with h5py.File(path, "w") as file:
        make(file, other)
    with hdf5_file.opened(path, Where()) as file, pytest.raises(DataError, match="not read"):
        hdf5_file.dataset(file, "data", path, Where())


def test_a_link_within_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rows/data"] = np.ones((4, 2))
        file["data"] = h5py.SoftLink("/rows/data")
    with hdf5_file.opened(str(tmp_path / "a.h5"), Where()) as file:
        assert hdf5_file.dataset(file, "data", "a.h5", Where()).shape == (4, 2)
        assert hdf5_file.rows(file, ["data", "rows/data"], "a.h5", Where()) == 4


def test_a_link_that_is_no_utf8(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[b"\xff"] = np.ones((4, 2))
        file.id.links.create_soft(b"data", b"\xff")
    with hdf5_file.opened(str(tmp_path / "a.h5"), Where()) as file:
        assert hdf5_file.dataset(file, "data", "a.h5", Where()).shape == (4, 2)


def test_values_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).random((50, 30))
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, chunks=(50, 30), fletcher32=True)
        file.create_dataset("vast", (1 << 40,), "f4", chunks=(1 << 20,))
    contents = bytearray(path.read_bytes())
    contents[contents.index(values.tobytes()) + 100] ^= 1
    path.write_bytes(contents)
    with hdf5_file.opened(str(path), Where()) as file:
        with pytest.raises(DataError, match=r"cannot read the data set 'data' of 'a.h5', shape \(50, 30\): "):
            hdf5_file.read(file["data"], "a.h5", Where(), 49)
        with pytest.raises(DataError, match=r"cannot read the data set 'vast' of 'a.h5', shape \(1099511627776,\): "):
            hdf5_file.read(file["vast"], "a.h5", Where())


def test_links_in_a_circle(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/data")
    with hdf5_file.opened(str(tmp_path / "a.h5"), Where()) as file, pytest.raises(DataError, match="has no data set"):
        hdf5_file.dataset(file, "data", "a.h5", Where())
