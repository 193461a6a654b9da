"""A net is a value: pickled or copied it computes the same, by itself."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import UsageError
from proto2torch.net import Net
from proto2torch.prototxt.style import written_as

NET = """
name: "N"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" } bias_filler { type: "constant" value: 1 } } }
"""
COUNTING = """
layer { name: "d" type: "DummyData" top: "x"
  dummy_data_param { shape { dim: 1 dim: 2 } data_filler { type: "uniform" min: 0 max: 1 } } }
layer { name: "p" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }
"""

Copy = Callable[[Net], Net]


def by_pickle(net: Net) -> Net:
    copied: Net = pickle.loads(pickle.dumps(net))
    return copied


@pytest.fixture(params=[copy.deepcopy, by_pickle])
def copied(request: pytest.FixtureRequest) -> Copy:
    way: Copy = request.param
    return way


def test_a_copy_computes_the_same(copied: Copy) -> None:
    net = p2t.load(text=NET)
    x = torch.arange(6.0).reshape(2, 3)
    weight, bias = (blob.data for blob in net.params["ip"])
    assert torch.equal(copied(net)(x)["y"], x @ weight.t() + bias)


def test_a_copy_has_its_own_weights(copied: Copy) -> None:
    net = p2t.load(text=NET)
    other = copied(net)
    other.params["ip"][0].data.zero_()
    assert net.params["ip"][0].data.abs().sum() > 0
    assert other(torch.ones(1, 3))["y"].tolist() == [[1.0, 1.0]]


def test_a_copy_keeps_phase_type_and_what_is_frozen(copied: Copy) -> None:
    net = p2t.load(text=NET, phase="TRAIN").double().eval()
    net.params["ip"][0].tensor.requires_grad_(False)
    other = copied(net)
    assert (other.phase, other.dtype, other.training) == ("TRAIN", torch.float64, False)
    assert [blob.tensor.requires_grad for blob in other.params["ip"]] == [False, True]


def test_a_copy_is_of_the_same_fork_and_is_written_alike(copied: Copy) -> None:
    text = """
    layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
    layer { name: "bn" type: "BN" bottom: "x" top: "y" }
    """
    with written_as(memory_format="channels_last"):
        net = p2t.load(text=text, fork="segnet")
    assert "channels_last" in net.source
    assert copied(net).source == net.source


def test_the_data_layers_of_a_copy_stand_where_the_nets_do(copied: Copy, tmp_path: Path) -> None:
    batches = [{"x": torch.full((1, 2), float(i))} for i in range(4)]
    net = p2t.load(text=COUNTING, feeds={"d": batches})
    net()
    other = copied(net)
    assert [net()["y"][0, 0].item(), net()["y"][0, 0].item()] == [2.0, 4.0]
    assert [other()["y"][0, 0].item(), other()["y"][0, 0].item()] == [2.0, 4.0]


def test_a_recurrent_layers_memory_is_copied(copied: Copy) -> None:
    text = """
    layer { name: "in" type: "Input" top: "x" top: "cont"
      input_param { shape { dim: 1 dim: 1 dim: 2 } shape { dim: 1 dim: 1 } } }
    layer { name: "r" type: "RNN" bottom: "x" bottom: "cont" top: "y"
      recurrent_param { num_output: 2 weight_filler { type: "constant" value: 0.5 } } }
    """
    net = p2t.load(text=text)
    x, on = torch.ones(1, 1, 2), torch.ones(1, 1)
    net(x, on)
    other = copied(net)
    assert torch.equal(other(x, on)["y"], net(x, on)["y"])
    assert not torch.equal(other(x, 0 * on)["y"], net(x, on)["y"])


def test_a_python_layer_cannot_be_copied(copied: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "doubles.py").write_text(
        "import caffe\n"
        "class Doubles(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        NET
        + 'layer { name: "py" type: "Python" bottom: "y" top: "z" python_param { module: "doubles" layer: "Doubles" } }'
    )
    net = p2t.load(text=text, allow_python_layers=True)
    with pytest.raises(UsageError, match=r"Python layers cannot be copied or pickled\. Received: layer 'py'"):
        copied(net)
