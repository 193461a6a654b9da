"""Weights on their way from a mapped file into tensors: in pieces, whatever the layout, and without the file in memory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.data import workers
from proto2torch.errors import WeightsError
from proto2torch.net import copying
from proto2torch.weights import caffemodel

NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3000 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4000 %s } }
"""


def _copied(array: np.ndarray, into: np.ndarray) -> None:
    np.copyto(into, array)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces, so that small arrays are cut."""
    monkeypatch.setattr(copying, "_IN_MEMORY", 256)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1000,), (33, 5), (2, 3, 4, 5), (1, 900), (0, 3)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_every_element_comes_to_its_place(shape: tuple[int, ...], kind: torch.dtype, pieces: None) -> None:
    array = np.random.default_rng(1).integers(0, 200, shape).astype(np.float32)  # whole numbers that bfloat16 holds
    tensor = torch.full(shape, -1.0, dtype=kind)
    heard: list[int] = []

    def read(part: np.ndarray, into: np.ndarray) -> None:
        heard.append(part.size)
        np.copyto(into, part)

    copying.copy([(tensor, array)], read)
    assert torch.equal(tensor.float(), torch.from_numpy(array))
    assert sum(heard) == array.size


def test_a_strided_tensor_and_an_unaligned_array(pieces: None) -> None:
    array = np.frombuffer(b"x" + np.arange(600, dtype="<f4").tobytes(), "<f4", 600, 1).reshape(20, 30)
    tensor = torch.zeros(30, 20)
    copying.copy([(tensor.t(), array)], _copied)
    assert torch.equal(tensor, torch.arange(600.0).reshape(20, 30).t())


def test_of_two_arrays_for_one_tensor_the_last_counts(pieces: None) -> None:
    tensor = torch.zeros(500)
    copying.copy([(tensor, np.full(500, value, np.float32)) for value in range(20)], _copied)
    assert torch.equal(tensor, torch.full((500,), 19.0))


def test_the_last_counts_however_long_the_first_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "workers", lambda: 2)
    tensor = torch.zeros(5)

    def read(array: np.ndarray, into: np.ndarray) -> None:
        time.sleep(0.2 if array[0] == 1 else 0)
        np.copyto(into, array)

    copying.copy([(tensor, np.full(5, value, np.float32)) for value in (1, 2)], read)
    assert tensor.tolist() == [2.0] * 5


def test_torch_knows_that_the_tensor_has_changed() -> None:
    tensor = torch.zeros(3)
    before = tensor._version
    copying.copy([(tensor, np.ones(3, np.float32))], _copied)
    assert tensor._version > before


@pytest.mark.parametrize("source", [None, 5, [np.ones(2)], b"w.caffemodel"])
def test_what_is_no_file_and_no_mapping(source: object) -> None:
    net = p2t.load(text=NET % "")
    with pytest.raises(p2t.Proto2TorchError, match=r"takes a file of weights, or arrays by layer\. Received: "):
        net.load_weights(source)  # type: ignore[arg-type]


def test_a_file_that_is_cut_short_meanwhile_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    net = p2t.load(text=NET % "")
    net.save(path)
    stored = caffemodel.read(str(path), check=False)
    array = stored.layers["ip"].blobs[0].array
    os.truncate(path, 1000)
    with pytest.raises(WeightsError, match="it has become shorter while it was read: the file ends at byte 1000"):
        stored.read(array, np.empty(array.shape, np.float32))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="the pages in memory are counted as Linux tells them")
def test_the_file_does_not_stay_in_memory(transposed: bool, tmp_path: Path) -> None:
    net = p2t.load(text=NET % ("transpose: true" if transposed else ""))
    weight = np.random.default_rng(2).random(net.params["ip"][0].shape, np.float32)
    path = tmp_path / "w.caffemodel"
    messages = [
        (message, [weight, np.ones(4000, np.float32)] if blobs else []) for message, blobs in net.layer_messages()
    ]
    caffemodel.write(str(path), "net", messages)
    before = _mapped()
    report = net.load_weights(path)
    assert np.array_equal(net.params["ip"][0].data.numpy(), weight)
    assert _mapped() - before < path.stat().st_size / 4  # of 48 MB; the report, and with it the map, is still there
    assert np.array_equal(report.matched["ip"][0], weight)  # and comes back when it is asked for


def _mapped() -> int:
    """Bytes of files that are in this process's memory."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("RssFile")).split()[1])
