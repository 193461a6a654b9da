"""Times of layers: each listed once, data without a backward, and layers by themselves give what the net gives."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.measure.timing import alone, lines, measure

NET = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 4 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "quiet" type: "Silence" bottom: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "sum" type: "Reduction" bottom: "ip" top: "sum" loss_weight: 1 }
"""


def test_every_layer_is_timed_once_in_order():
    told = []
    times = measure(p2t.load(text=NET, phase="TRAIN"), 2, lambda i, ms: told.append(i))
    assert [name for name, _, _ in times.layers] == ["data", "conv", "relu", "quiet", "ip", "sum"]
    by_name = {name: (ahead, behind) for name, ahead, behind in times.layers}
    assert by_name["data"] == (0, 0) and by_name["quiet"][1] == 0
    assert all(min(by_name[name]) > 0 for name in ("conv", "relu", "ip", "sum"))
    assert times.both == pytest.approx(times.forward + times.backward) == pytest.approx(times.total / 2)
    assert told == [0, 1]
    assert lines(times, 2)[3] == f"      conv\tforward: {by_name['conv'][0]:.6g} ms."


def test_a_layer_alone_computes_what_it_does_in_the_net():
    net = p2t.load(text=NET, phase="TRAIN")
    x = torch.rand(2, 3, 8, 8)
    one = alone(net.selected.layers[1], {"x": x}, net)
    one.params["conv"][0].data.copy_(net.params["conv"][0].data)
    assert torch.equal(one(x=x)["conv"].relu(), net.features("conv", x=x)["conv"])


def test_json(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    result = CliRunner().invoke(main, ["time", str(tmp_path / "net.prototxt"), "--iterations", "1", "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [layer["name"] for layer in found["layers"]] == ["data", "conv", "relu", "quiet", "ip", "sum"]
    assert found["total_ms"] == pytest.approx(found["forward_ms"] + found["backward_ms"])
