"""HDF5Output layers: the file that a net's first forward writes, what refuses, and what exports make of them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.codegen.build import build
from proto2torch.codegen.export import export
from proto2torch.errors import NetError, Proto2TorchError, RunError
from proto2torch.prototxt.read import read_net


def net_text(file: str = "out.h5", bottoms: str = 'bottom: "sum" bottom: "label"', more: str = "") -> str:
    return f"""
layer {{ name: "in" type: "DummyData" top: "data" top: "label" dummy_data_param {{
  shape {{ dim: 2 dim: 3 dim: 4 }} shape {{ dim: 2 }} data_filler {{ type: "constant" value: 2 }} }} }}
layer {{ name: "sum" type: "Reduction" bottom: "data" top: "sum" reduction_param {{ axis: 2 }} }}
layer {{ name: "out" type: "HDF5Output" {bottoms} hdf5_output_param {{ file_name: "{file}" }} }}
{more}"""


def held(path: Path | str = "out.h5") -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_forward_writes_one_batch_of_four_axes() -> None:
    net = p2t.load(text=net_text())
    assert not os.path.exists("out.h5")
    data = torch.arange(24.0).reshape(2, 3, 4)
    assert net(data=data, label=[5, 6]) == {}
    found = held()
    assert {name: (a.shape, a.dtype) for name, a in found.items()} == {
        "data": ((2, 3, 1, 1), np.float32),
        "label": ((2, 1, 1, 1), np.float32),
    }
    np.testing.assert_array_equal(found["data"][:, :, 0, 0], [[6, 22, 38], [54, 70, 86]])
    np.testing.assert_array_equal(found["label"].ravel(), [5, 6])


def test_a_second_forward_is_refused_and_the_first_batch_stays() -> None:
    net = p2t.load(text=net_text())
    net()
    with pytest.raises(RunError, match=r"'out.h5' has one batch, and no place for that of a second forward") as caught:
        net(data=torch.zeros(2, 3, 4))
    assert (caught.value.layer, caught.value.line) == ("out", 5)
    assert "`features` gives" in str(caught.value)
    np.testing.assert_array_equal(held()["data"].ravel(), [8] * 6)
    assert net.features("sum")["sum"].shape == (2, 3)  # it writes nothing
    again = p2t.load(text=net_text())  # truncates what is there
    again(data=torch.ones(2, 3, 4), label=[1, 1])
    np.testing.assert_array_equal(held()["data"].ravel(), [4] * 6)


def test_a_forward_that_fails_leaves_no_batch_of_before() -> None:
    p2t.load(text=net_text())()
    net = p2t.load(text=net_text())
    with pytest.raises(NetError):
        net(nothing=1)
    assert held() == {}


def test_where_the_net_goes_on_and_a_blob_is_written_in_place_after() -> None:
    more = """layer { name: "half" type: "Power" bottom: "sum" top: "half" power_param { scale: 0.5 } }
layer { name: "neg" type: "ReLU" bottom: "half" top: "half" relu_param { negative_slope: -1 } }
layer { name: "file" type: "HDF5Output" bottom: "half" bottom: "data" hdf5_output_param { file_name: "b.h5" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "half" bottom: "sum" top: "loss" }"""
    net = p2t.load(text=net_text(more=more))
    outputs = net(data=-torch.ones(2, 3, 4), label=torch.zeros(2))
    assert list(outputs) == ["loss"]
    assert float(outputs["loss"]) == float(net.loss) == pytest.approx(6 * (2 + 4) ** 2 / 4)
    np.testing.assert_array_equal(held()["data"].ravel(), [-4] * 6)
    np.testing.assert_array_equal(held("b.h5")["data"].ravel(), [2] * 6)
    np.testing.assert_array_equal(held("b.h5")["label"], -np.ones((2, 3, 4, 1)))


def test_it_writes_another_size_and_trains_before_it() -> None:
    more = """layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "b" type: "HDF5Output" bottom: "ip" bottom: "label" hdf5_output_param { file_name: "b.h5" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }"""
    net = p2t.load(text=net_text(more=more), phase="TRAIN")
    net(data=torch.ones(5, 3, 7), label=torch.zeros(5))
    net.loss.backward()
    assert net.params["ip"][0].grad is not None
    np.testing.assert_array_equal(held()["data"], np.full((5, 3, 1, 1), 7))
    assert held("b.h5")["data"].shape == (5, 2, 1, 1)


@pytest.mark.parametrize("file", ["no/such/out.h5", "."])
def test_a_file_that_cannot_be_written_is_an_error_before_anything_is_read(file: str, folder: Path) -> None:
    net = p2t.load(text=net_text(file))
    with pytest.raises(Proto2TorchError, match=r"layer 'out' \(HDF5Output\): '.*': cannot write it: ") as caught:
        net()
    assert (caught.value.line, caught.value.exit_status) == (5, 2)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("bottoms", "message"),
    [
        ((2, 3, 1, 1, 1), r"at most 4 axes. Received: \(2, 3, 1, 1, 1\)"),
        ((3,), r"both bottoms must have as many items. Received: \(3,\) and \(2,\)"),
        ((), r"both bottoms must have as many items. Received: \(\) and \(2,\)"),
    ],
)
def test_bottoms_that_do_not_fit(bottoms: tuple[int, ...], message: str) -> None:
    dims = " ".join(f"dim: {extent}" for extent in bottoms)
    x = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n'
    with pytest.raises(NetError, match=message):
        p2t.load(text=x + net_text(bottoms='bottom: "x" bottom: "label"'))


def test_a_scalar_counts_as_one_item() -> None:
    text = """layer { name: "x" type: "Input" top: "x" top: "y" input_param { shape { } shape { dim: 1 dim: 2 } } }
layer { name: "out" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "out.h5" } }"""
    p2t.load(text=text)(x=3.0, y=[[1.0, 2.0]])
    assert {name: array.shape for name, array in held().items()} == {"data": (1, 1, 1, 1), "label": (1, 2, 1, 1)}


def test_from_the_command_line(folder: Path) -> None:
    weight = 'layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 1 } }'
    (folder / "net.prototxt").write_text(net_text(more=weight))
    p2t.load("net.prototxt").save("w.caffemodel")
    test = ["test", "net.prototxt", "--weights", "w.caffemodel", "--iterations"]
    result = CliRunner().invoke(main, [*test, "1"])
    assert result.exit_code == 0, result.stderr
    np.testing.assert_array_equal(held()["data"].ravel(), [8] * 6)
    result = CliRunner().invoke(main, [*test, "2"])
    assert result.exit_code == 1 and "no place for that of a second forward" in result.stderr


def test_exports_give_what_it_would_write_and_say_so() -> None:
    net = read_net(text=net_text())
    source = export(net, lambda layer, phase: [(2, 3, 4), (2,)])
    module = build(source)
    assert source.inputs == ("data",) and source.returns == ("sum",)
    assert module(torch.ones(2, 3, 4)).tolist() == [[4, 4, 4], [4, 4, 4]]
    assert source.notes[-1].startswith("layer 'out' (HDF5Output): the source writes no file")
    more = """layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }"""
    source = export(read_net(text=net_text(more=more)), lambda layer, phase: [(2, 3, 4), (2,)])
    assert source.inputs == ("data",) and source.returns == ("ip",)  # the file's label is the loss's, and both go
