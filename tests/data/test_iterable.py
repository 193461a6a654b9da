"""Batches from Python in place of what data layers read: in a net, in a solver, and into MemoryData."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import proto2torch as p2t
from proto2torch import data
from proto2torch.errors import DataError, NetError, SolverError
from proto2torch.training.log import Log

CASE = Path(__file__).parents[1] / "golden/data/solvers/00-SGD-fixed"
SUMS = """
layer { name: "sum" type: "Reduction" bottom: "data" top: "sum" reduction_param { axis: 1 } }
layer { name: "quiet" type: "Silence" bottom: "label" }
"""
DATA = 'layer { name: "in" type: "Data" top: "data" top: "label" data_param { source: "none" batch_size: 2 } }' + SUMS
INPUT = (
    'layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }'
    + SUMS
)
MEMORY = (
    """layer { name: "in" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } }"""
    + SUMS
)


def batches() -> list[tuple[torch.Tensor, list[int]]]:
    return [(torch.full((2, 3), float(i)), [i, i]) for i in range(3)]


def sums(net: p2t.net.Net, count: int) -> list[float]:
    return [float(net()["sum"][0]) for _ in range(count)]


@pytest.mark.parametrize("text", [DATA, INPUT], ids=["Data", "Input"])
@pytest.mark.parametrize(
    "given",
    [
        batches,
        lambda: [{"label": labels, "data": images.numpy(), "more": 1} for images, labels in batches()],
        lambda: DataLoader(
            TensorDataset(torch.arange(3.0).repeat_interleave(2)[:, None].expand(6, 3), torch.zeros(6)), 2
        ),
        lambda: data.from_iterable(batches()),
    ],
    ids=["sequences", "mappings", "DataLoader", "feed"],
)
def test_batches_of_an_iterable_over_and_over(text: str, given: Callable[[], Any]) -> None:
    net = p2t.load(text=text, feeds={"in": given()})
    assert net.inputs["data"] == (2, 3)
    assert sums(net, 4) == [0, 3, 6, 0]


def test_batches_may_differ_in_size() -> None:
    net = p2t.load(text=DATA, feeds={"in": [(torch.ones(2, 3), [0, 0]), (torch.ones(5, 4), [0] * 5)]})
    assert net.inputs["data"] == (2, 3)
    assert net()["sum"].tolist() == [3, 3]
    assert net()["sum"].tolist() == [4] * 5


def test_a_generator_ends() -> None:
    def once() -> Iterator[Any]:
        yield from batches()

    net = p2t.load(text=DATA, feeds={"in": once()})
    assert sums(net, 3) == [0, 3, 6]
    with pytest.raises(DataError, match=r"layer 'in' \(Data\).*gives no batch \(any more\)[^$]*give a list"):
        net()


@pytest.mark.parametrize(
    ("feeds", "kind", "message"),
    [
        ({"on": batches()}, NetError, r"the net has no layer 'on' to feed\s+layers that can be fed: in"),
        ({"sum": batches()}, NetError, "the net has no layer 'sum' to feed"),
        ({"in": 3}, DataError, "expected an iterable of batches, or a feed. Received: int"),
        ({"in": []}, DataError, "gives no batch"),
        ({"in": [(torch.ones(2, 3),)]}, DataError, r"layer 'in'.* must have 2 parts, one a top. Received: 1"),
        ({"in": [{"data": torch.ones(2, 3)}]}, DataError, "must have data, label. Received: data"),
        ({"in": data.from_iterable([[1.0]], ["x"])}, DataError, "a feed of 2 tops, data, label. Received: 1"),
    ],
)
def test_what_cannot_feed(feeds: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        p2t.load(text=DATA, feeds=feeds)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"data": "text", "label": [0]}, r"layer 'in' \(Data\).*: 'data' must be an array of numbers. Received: str"),
        ({"data": [[1.0]], "label": None}, "'label' must be an array of numbers. Received: NoneType"),
        ({"data": np.array([[None]]), "label": [0]}, "'data' must be an array of numbers. Received: ndarray"),
        (7, "a batch must have 2 parts, one a top. Received: int"),
    ],
)
def test_batches_that_hold_no_numbers(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        p2t.load(text=DATA, feeds={"in": [batch]})


def test_memory_data_is_filled_through_the_net() -> None:
    net = p2t.load(text=MEMORY)
    with pytest.raises(DataError, match=r"no images to give[^$]*net\.feeds\['in'\]\.set\(images, labels\)"):
        net()
    feed: Any = net.feeds["in"]
    feed.set(np.arange(12).reshape(4, 3, 1, 1), [0, 1, 2, 3])
    assert [net()["sum"].tolist() for _ in range(3)] == [[3, 12], [21, 30], [3, 12]]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A golden solver whose net names a database that is not there; Caffe's records, and its weights, are at hand."""
    shutil.copy(CASE / "solver.prototxt", tmp_path)
    (tmp_path / "train.prototxt").write_text((CASE / "train.prototxt").read_text().replace("train_h5.txt", "none.txt"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records() -> list[dict[str, Any]]:
    """Caffe's records in batches of 8, as its HDF5Data layer gave them: over and over, across the end."""
    with h5py.File(CASE / "train.h5") as file:
        found = {name: file[name][()] for name in ("data", "label")}
    count = len(found["label"])
    return [{n: a[np.arange(i, i + 8) % count] for n, a in found.items()} for i in range(0, 8 * count, 8)]


def test_a_solver_trains_from_python_as_caffe_did_from_its_file(case: Path) -> None:
    solver = p2t.Solver("solver.prototxt", data={"data": records()}, log=Log(io.StringIO()))
    solver.step(20)
    with np.load(CASE / "expected.npz") as expected:
        for layer, blobs in solver.net.params.items():
            for i, blob in enumerate(blobs):
                caffe = expected[f"w20_{layer}_{i}"]
                assert float(np.linalg.norm(blob.data.numpy() - caffe) / np.linalg.norm(caffe)) < 1e-4
    solver.close()


def test_each_test_net_has_its_own_feed(case: Path) -> None:
    nets = 'test_net: "train.prototxt" test_net: "train.prototxt" test_iter: 1 test_iter: 1 test_interval: 100\n'
    path = case / "solver.prototxt"
    path.write_text(nets + path.read_text())
    first = records()
    other = [{**batch, "data": batch["data"] * 0} for batch in first]
    log = Log(io.StringIO())
    solver = p2t.Solver("solver.prototxt", data={"data": first}, test_data=[{"data": first}, {"data": other}], log=log)
    losses = [float(outputs["loss"]) for outputs in solver.test()]
    assert losses[0] != losses[1]
    both = p2t.Solver("solver.prototxt", data={"data": first}, test_data={"data": other}, log=log)
    assert [float(outputs["loss"]) for outputs in both.test()] == [losses[1]] * 2
    with pytest.raises(SolverError, match=r"once, or for each of 2 test nets. Received: 1"):
        p2t.Solver("solver.prototxt", data={"data": first}, test_data=[{"data": first}], log=log)
    with pytest.raises(DataError, match=r"none\.txt"):
        p2t.Solver("solver.prototxt", data={"data": first}, log=log)


def test_the_datasets_are_there_without_an_import_and_import_nothing_before() -> None:
    check = (
        "import sys, proto2torch as p2t; print('torch' in sys.modules, 'numpy' in sys.modules, p2t.data.LMDB.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout == "False False LMDBDataset\n"
